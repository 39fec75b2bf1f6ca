"""The page about the schedulers tells of those that are served, and what is so."""

from pathlib import Path

import pytest

from gesso.diffusion.names import SERVED

from .figures import COLUMNS, known
from .test_solver_table import PARITY

# Diffusers' schedulers hand numpy torch's tensors in ways that numpy 2 calls deprecated.
pytestmark = pytest.mark.filterwarnings("ignore:__array_:DeprecationWarning")

PAGE = Path(__file__).parents[2] / "docs" / "schedulers.md"


def table() -> list[list[str]]:
    """The page's rows that are as long as `COLUMNS`, the head among them."""
    lines = [line.strip("| ").split(" | ") for line in PAGE.read_text().splitlines() if line.startswith("|")]
    return [cells for cells in lines if len(cells) == len(COLUMNS) and cells[0] != "---"]


def test_the_page_lists_exactly_the_served_names():
    head, *rows = table()
    assert head == COLUMNS
    assert [row[0] for row in rows] == sorted(SERVED)


@pytest.mark.parametrize("name", SERVED)
def test_the_page_says_what_a_scheduler_does(name):
    (row,) = [row for row in table() if row[0] == name]
    assert row[:5] == known(name)
    assert all(0 < float(figure) <= PARITY for figure in row[5:])
