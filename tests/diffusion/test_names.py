import subprocess
import sys

import pytest

from gesso.diffusion.names import IMAGE_TO_IMAGE, SERVED, TEXT_TO_IMAGE, require_served
from gesso.errors import BadRequest


def test_the_documented_names_are_all_served():
    assert (len(TEXT_TO_IMAGE), len(IMAGE_TO_IMAGE)) == (12, 29)
    assert set(SERVED) == set(TEXT_TO_IMAGE) | set(IMAGE_TO_IMAGE)
    assert len(SERVED) == 33
    for name in SERVED:
        require_served(name)


@pytest.mark.parametrize("name", ["euler", "Euler A", "DPM adaptive", ""])
def test_an_unknown_name_is_refused_and_never_taken_for_another(name):
    with pytest.raises(BadRequest, match=f"there is no scheduler '{name}'; served are: DDIM, .*UniPC"):
        require_served(name)


def test_names_and_spans_are_known_without_torch():
    source = "import sys, gesso.diffusion.names, gesso.diffusion.span; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", source], check=False).returncode == 0
