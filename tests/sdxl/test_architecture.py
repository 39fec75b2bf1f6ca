"""What a file states of its own shape is believed only as far as it can be served."""

import json

import pytest

from gesso.errors import ServiceUnavailable
from gesso.sdxl.architecture import METADATA_KEY, read_architecture
from tests.tiny import architecture


@pytest.mark.parametrize(("option", "value"), [("kind", "inpainting"), ("prediction_type", "sample")])
def test_a_kind_or_prediction_that_is_not_served_is_refused_by_its_name(option: str, value: str) -> None:
    stated = json.loads(architecture().to_metadata()[METADATA_KEY]) | {option: value}
    with pytest.raises(ServiceUnavailable, match=f"f says of its shape .*'{value}' is none of "):
        read_architecture("f", {METADATA_KEY: json.dumps(stated)}, frozenset())
