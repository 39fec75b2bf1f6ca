"""Does the embedded family paint what it is asked? Colour of 95 % and kind of 90 % of single things, relations of 70 %
of pairs, 80 % of negative prompts and weights, renderings told apart in 80 %, looks in 90 %, and what else has a goal.

Pictures come over HTTP from a server of one's own, with the documented defaults but for what a row is about. They are
judged by measurements and by discriminants fitted to true renderings (`gesso/mini/judging`). `--quick` asks for about
100 pictures of 512 x 512, so its shares say little; `--sheet FOLDER` keeps contact sheets of what was painted.
"""

import argparse
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from benchmarks.asking import painting
from benchmarks.contact_sheet import write_sheet
from benchmarks.report import report
from benchmarks.server import KEY, serving
from gesso.mini.judging import comparisons, questions
from gesso.mini.judging.examination import Paint, Row, Size


@dataclass(frozen=True)
class Amounts:
    """How many of each question are put; renderings and looks: of each of them."""

    singles: Mapping[Size, int]
    without_refiner: int
    pairs: int
    counts: int
    renderings: int
    styles: int
    looks: int
    negatives: int
    weights: int
    strengths: int
    refinement: int


FULL = Amounts(
    singles={
        (512, 512): 100,
        (1024, 1024): 40,
        (896, 1152): 40,
        (1152, 896): 40,
        (2048, 512): 10,
        (2048, 2048): 6,
    },
    without_refiner=40,
    pairs=60,
    counts=18,
    renderings=6,
    styles=30,
    looks=10,
    negatives=30,
    weights=45,
    strengths=8,
    refinement=20,
)
QUICK = Amounts(
    singles={(512, 512): 20, (896, 1152): 3},
    without_refiner=6,
    pairs=8,
    counts=3,
    renderings=1,
    styles=3,
    looks=1,
    negatives=6,
    weights=6,
    strengths=1,
    refinement=2,
)


def main() -> None:
    """Ask, judge, report."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="about a minute instead of about ten")
    parser.add_argument("--sheet", type=Path, help="a folder for contact sheets")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder, serving(folder) as url, painting(url, KEY) as paint:
        groups = examine(paint, QUICK if arguments.quick else FULL)
    if arguments.sheet:
        arguments.sheet.mkdir(parents=True, exist_ok=True)
        for name, rows in groups.items():
            write_sheet(arguments.sheet / f"{name}.png", rows)
    report("What the embedded family paints", [_line(row) for rows in groups.values() for row in rows])


def examine(paint: Paint, amounts: Amounts) -> dict[str, Sequence[Row]]:
    """The rows of every group of questions; says on the way how it goes."""
    groups = {}
    for name, put in _questions(paint, amounts).items():
        began = time.monotonic()
        groups[name] = put()
        print(f"{name}: {time.monotonic() - began:.0f} s", file=sys.stderr, flush=True)
    return groups


def _questions(paint: Paint, amounts: Amounts) -> dict[str, Callable[[], Sequence[Row]]]:
    def single(size: Size, count: int) -> Callable[[], Sequence[Row]]:
        return lambda: questions.singles(paint, count, f"{size[0]}x{size[1]}", size)

    return {
        **{
            f"singles {width}x{height}": single((width, height), count)
            for (width, height), count in amounts.singles.items()
        },
        "singles without refiner": lambda: questions.singles(
            paint, amounts.without_refiner, "no refiner", refiner=False
        ),
        "pairs": lambda: questions.pairs(paint, amounts.pairs),
        "counts": lambda: questions.counts(paint, amounts.counts),
        "renderings": lambda: questions.renderings(paint, amounts.renderings),
        "styles": lambda: questions.styles(paint, amounts.styles),
        "looks": lambda: questions.looks(paint, amounts.looks),
        "negative prompts": lambda: comparisons.negatives(paint, amounts.negatives),
        "weights": lambda: comparisons.weights(paint, amounts.weights),
        "strengths": lambda: comparisons.strengths(paint, amounts.strengths),
        "refiner": lambda: comparisons.refinement(paint, amounts.refinement),
    }


def _line(row: Row) -> dict[str, object]:
    met = "" if row.met is None else "yes" if row.met else "no"
    note = "; ".join(filter(None, (row.note, row.faults)))
    goal = "" if row.goal is None else row.goal
    return {"what": row.name, "n": len(row.verdicts), "right": row.share, "goal": goal, "met": met, "note": note}


if __name__ == "__main__":
    main()
