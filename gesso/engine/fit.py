"""Whether checkpoints fit a device's memory, and what an engine does where they do not. Knows no torch."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace

LARGEST = 2048 * 2048
"""Pixels."""


@dataclass(frozen=True, slots=True)
class Need:
    """What one kind of request needs: networks by their names, with their bytes. `encoders` are needed first and then
    `painters`, which are the UNets of its runs and the VAE; each pixel of a picture takes `a_pixel` bytes there."""

    encoders: Mapping[str, int]
    painters: Mapping[str, int]
    a_pixel: int = 0


@dataclass(frozen=True, slots=True)
class Fit:
    """`works` is False where requests would have to do with more memory than there is."""

    works: bool
    sentence: str


def fit(budget: int, needs: Collection[Need], streams: bool, computing: int | None = None) -> Fit:
    """How `needs` fit a memory of so many bytes, of which requests take some for themselves, with `computing` beside it
    for what networks make meanwhile, if that has bounds. To a device that `streams` UNets' weights come from the host's
    memory as it uses them, where there is no room for them.
    """
    found = _fit(budget, needs, streams)
    a_pixel = max((need.a_pixel for need in needs), default=0)
    if computing is None or a_pixel * LARGEST <= computing:
        return found
    most = computing / a_pixel / 1e6
    return replace(found, sentence=f"{found.sentence}; pictures of more than {most:.1f} million pixels go in strips")


def _fit(budget: int, needs: Collection[Need], streams: bool) -> Fit:
    everything: dict[str, int] = {}
    for need in needs:
        everything |= {**need.encoders, **need.painters}
    largest = max((sum({**need.encoders, **need.painters}.values()) for need in needs), default=0)
    painting = max((max(sum(need.encoders.values()), sum(need.painters.values())) for need in needs), default=0)
    total = sum(everything.values())
    if total <= budget:
        return Fit(True, f"everything that is bound stays loaded: {_gigabytes(total)} of {_gigabytes(budget)}")
    if largest <= budget:
        what = f"{_gigabytes(total)} are bound and {_gigabytes(budget)} may be taken"
        return Fit(True, f"checkpoints take turns, the one that was longest not used leaves: {what}")
    if painting <= budget:
        what = f"a request needs {_gigabytes(largest)} and {_gigabytes(budget)} may be taken"
        return Fit(True, f"text encoders leave when prompts are encoded, and checkpoints take turns: {what}")
    if streams:
        what = f"a request needs {_gigabytes(painting)} at once and {_gigabytes(budget)} may be taken"
        return Fit(True, f"UNets' weights are streamed from the host's memory, which is slow: {what}")
    return Fit(
        False,
        f"a request needs {_gigabytes(painting)} at once and {_gigabytes(budget)} may be taken: "
        "bind checkpoints without a refiner, or smaller ones",
    )


def _gigabytes(size: int) -> str:
    return f"{size / 1e9:.1f} GB" if size >= 1e8 else f"{size / 1e6:.1f} MB"
