"""What the server's own pictures show, small: `python -m benchmarks.meaning` asks the same questions by the hundred.

No network judges; see `gesso/mini/judging`. The files that ship do not meet every goal of that benchmark
yet: where they do, the goal is tested; where not, that they are no worse than when they were shipped (floors).
"""

import math
from collections.abc import Iterator, Mapping, Sequence

import pytest

from benchmarks.asking import painting
from gesso.mini.judging import comparisons, questions
from gesso.mini.judging.examination import Paint, Row, together
from tests.serving import install

STEPS = 20


@pytest.fixture(scope="module")
def paint(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Paint]:
    installation = install(tmp_path_factory.mktemp("meaning"))
    with installation.serving() as server, painting(server.url, server.key, num_inference_steps=STEPS) as paint:
        yield paint


def check(row: Row) -> None:
    """At least as many are right as the goal asks for, less the standard deviation of so few: of 15 that are each right
    with a chance of 80 %, 12 are right give or take 1.5, and 11 do not tell such a family from a better one. Equal
    requests give equal pictures, so that what passes once on a machine passes always."""
    assert row.goal is not None
    count = len(row.verdicts)
    least = math.floor(count * row.goal - math.sqrt(count * row.goal * (1 - row.goal)))
    assert sum(verdict.finding.right for verdict in row.verdicts) >= max(least, 1), f"{row.name}: {row.faults}"


def check_those_with_goals(rows: Sequence[Row]) -> None:
    goals = [row for row in rows if row.goal is not None]
    assert goals
    for row in goals:
        check(row)


def check_floors(rows: Sequence[Row], floors: Mapping[str, float]) -> None:
    """Rows by the beginning of their names; several with the same beginning are counted together."""
    for beginning, floor in floors.items():
        verdicts = [verdict for row in rows if row.name.startswith(beginning) for verdict in row.verdicts]
        assert verdicts, beginning
        share = sum(verdict.finding.right for verdict in verdicts) / len(verdicts)
        assert share >= floor, f"{beginning}: {share:.0%}"


def test_single_things_are_of_the_kind_colour_ground_and_place_that_was_asked_for(paint: Paint) -> None:
    rows = questions.singles(paint, 20, "512x512")
    check_those_with_goals(rows)
    check_floors(rows, {"ground": 0.95, "place": 0.95})


def test_two_things_stand_where_they_were_told_to(paint: Paint) -> None:
    check_those_with_goals(questions.pairs(paint, 8))


def test_looks_are_told_apart(paint: Paint) -> None:
    check(together("looks", questions.looks(paint, 1), questions.LOOK_GOAL))


def test_renderings_are_told_apart(paint: Paint) -> None:
    check_floors(questions.renderings(paint, 1), {"rendering": 0.6})


def test_weights_move_what_they_weigh(paint: Paint) -> None:
    # Those of sizes; what docs/mini.md says of colours' and renderings' no floor of a few pictures can hold.
    check_floors(comparisons.weights(paint, 6), {"weights: size": 1.0, "weights": 0.5})


def test_what_a_negative_prompt_names_is_gone(paint: Paint) -> None:
    check_those_with_goals(comparisons.negatives(paint, 6))


def test_a_greater_strength_moves_further_from_the_start_image(paint: Paint) -> None:
    check_those_with_goals(comparisons.strengths(paint, 1))


def test_the_refiner_leaves_less_noise(paint: Paint) -> None:
    check_those_with_goals(comparisons.refinement(paint, 3))
