"""The styles by name, from a file in the widespread form `[{"name", "prompt", "negative_prompt"}]`."""

from pathlib import Path

from gesso.catalogue.entries import Style
from gesso.catalogue.forms import read_styles
from gesso.errors import SettingsError


def load_styles(path: Path) -> dict[str, Style]:
    """Exactly as worded in the file. Raises SettingsError naming the file and what is wrong in it."""
    styles: dict[str, Style] = {}
    for style in read_styles(path):
        if style.name in styles:
            raise SettingsError(f"{path}: the style {style.name!r} is there twice")
        if "{prompt}" not in style.prompt:
            raise SettingsError(f"{path}: the prompt of the style {style.name!r} has no place for {{prompt}}")
        styles[style.name] = style
    return styles
