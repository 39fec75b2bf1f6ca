"""The page on prompts: every example prints what it says there."""

import re
import shlex
from pathlib import Path

import pytest

from gesso.cli.main import app

PAGE = (Path(__file__).parents[2] / "docs" / "prompts.md").read_text()
EXAMPLES = re.findall(r"^```console\n\$ gesso ([^\n]*)\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)


def test_there_are_examples_and_no_other_blocks() -> None:
    assert len(EXAMPLES) == PAGE.count("\n```\n") >= 6


@pytest.mark.parametrize(("command", "said"), EXAMPLES, ids=[command for command, _ in EXAMPLES])
def test_an_example_prints_what_the_page_says(
    command: str, said: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    app(shlex.split(command), result_action="return_value")
    assert capsys.readouterr().out == said
