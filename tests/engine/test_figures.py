"""The page about the schedulers has the whole engine's figures, of exactly those that are served."""

from pathlib import Path

from gesso.diffusion.names import SERVED
from tests.engine.figures import COLUMNS

PAGE = Path(__file__).parents[2] / "docs" / "schedulers.md"


def test_the_page_has_a_worst_figure_for_every_scheduler() -> None:
    lines = [line.strip("| ").split(" | ") for line in PAGE.read_text().splitlines() if line.startswith("|")]
    head, rule, *rows = [cells for cells in lines if len(cells) == len(COLUMNS)]
    assert head == COLUMNS
    assert set(rule) == {"---"}
    assert [name for name, *_ in rows] == sorted(SERVED)
    for _, *deviations, close in rows:
        assert all(0 < float(deviation) <= 1e-4 for deviation in deviations)
        assert float(close.rstrip("%")) >= 99.9
