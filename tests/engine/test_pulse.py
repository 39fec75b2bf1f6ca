from dataclasses import replace

import pytest

from gesso.engine.messages import BEAT, Admitted, Heartbeat, Stage
from gesso.engine.pulse import SLOWNESS, START, Pulse

SILENCE, STUCK = 10.0, 120.0
AT_WORK = Heartbeat(
    ticks=7,
    rows=28,
    images=2,
    waiting=0,
    batches=(),
    loads=0,
    loading=(),
    memory=(),
    stage="denoising",
    stages=20,
    device="cuda:0",
)


def beats(seconds: float) -> range:
    return range(int(seconds / BEAT))


def hear_for(pulse: Pulse, seconds: float, beat: Heartbeat) -> None:
    for _ in beats(seconds):
        pulse.miss()
        pulse.hear(beat)


def test_an_engine_that_says_nothing_hangs() -> None:
    pulse = Pulse(SILENCE, STUCK)
    pulse.hear(AT_WORK)
    for _ in beats(SILENCE):
        assert pulse.complaint is None
        pulse.miss()
    pulse.miss()
    assert pulse.complaint == "not a word for 10 s"


def test_any_word_ends_the_silence() -> None:
    pulse = Pulse(SILENCE, STUCK)
    pulse.hear(AT_WORK)
    for _ in beats(10 * SILENCE):
        pulse.miss()
        pulse.hear(Admitted("one"))
    assert pulse.complaint is None


def test_one_that_starts_may_be_silent_for_longer() -> None:
    pulse = Pulse(SILENCE, STUCK)
    for _ in beats(START):
        pulse.miss()
        assert pulse.complaint is None
    pulse.miss()
    assert pulse.complaint is not None


def test_an_engine_that_stays_at_one_piece_of_work_hangs() -> None:
    pulse = Pulse(SILENCE, STUCK)
    hear_for(pulse, STUCK, AT_WORK)
    assert pulse.complaint is None
    hear_for(pulse, 2 * BEAT, AT_WORK)
    assert pulse.complaint == "at the same piece of work (denoising) for 120.5 s"


def test_one_that_goes_on_to_the_next_does_not() -> None:
    pulse = Pulse(SILENCE, STUCK)
    for stages in range(20):
        hear_for(pulse, 0.9 * STUCK, replace(AT_WORK, stages=stages))
        assert pulse.complaint is None


def test_one_that_has_nothing_to_do_does_not() -> None:
    pulse = Pulse(SILENCE, STUCK)
    hear_for(pulse, 100 * STUCK, replace(AT_WORK, images=0, stage="idle"))
    assert pulse.complaint is None


@pytest.mark.parametrize(("stage", "device"), [("preparing", "cuda:0"), ("denoising", "cpu"), ("decoding", "cpu")])
def test_loading_and_a_slow_processor_get_more_time_and_not_all_of_it(stage: Stage, device: str) -> None:
    pulse = Pulse(SILENCE, STUCK)
    beat = replace(AT_WORK, stage=stage, device=device)
    hear_for(pulse, STUCK * SLOWNESS, beat)
    assert pulse.complaint is None
    hear_for(pulse, 2 * BEAT, beat)
    assert pulse.complaint is not None
