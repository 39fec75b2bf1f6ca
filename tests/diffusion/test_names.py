import re
import subprocess
import sys

import pytest

from gesso.diffusion.names import IMAGE_TO_IMAGE, NOT_YET_SERVED, SERVED, TEXT_TO_IMAGE, require_served
from gesso.errors import BadRequest


def test_the_documented_names_are_all_known():
    assert (len(TEXT_TO_IMAGE), len(IMAGE_TO_IMAGE)) == (12, 29)
    assert set(SERVED) | NOT_YET_SERVED == set(TEXT_TO_IMAGE) | set(IMAGE_TO_IMAGE)
    assert len(SERVED) == len(set(SERVED)) == 29


def test_text_to_image_is_served_completely():
    assert set(TEXT_TO_IMAGE) <= set(SERVED)


@pytest.mark.parametrize("name", ["DPM fast", "DPM++ 2S a", "DPM++ 2S a Karras", "Restart"])
def test_a_name_not_served_yet_is_refused_with_what_is(name):
    with pytest.raises(BadRequest, match=rf"'{re.escape(name)}' is not served yet; served are: DDIM, .*UniPC"):
        require_served(name)


@pytest.mark.parametrize("name", ["euler", "Euler A", "DPM adaptive", ""])
def test_an_unknown_name_is_refused_and_never_taken_for_another(name):
    with pytest.raises(BadRequest, match=f"there is no scheduler '{name}'; served are: "):
        require_served(name)


def test_names_and_spans_are_known_without_torch():
    source = "import sys, gesso.diffusion.names, gesso.diffusion.span; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", source], check=False).returncode == 0
