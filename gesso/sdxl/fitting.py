"""Whether a LoRA fits checkpoints of a shape, without any of their weights."""

from gesso.sdxl.architecture import Architecture
from gesso.sdxl.bare import bare_network
from gesso.sdxl.lora import Lora


def require_fit(lora: Lora, architecture: Architecture) -> None:
    """Raises ServiceUnavailable, naming the first change without a place, unless each has one in such a checkpoint.

    Parts that the checkpoint itself lacks, because others lend them, are not looked at.
    """
    for part in sorted(lora.parts):
        if (network := bare_network(part, architecture)) is not None:
            lora.changes(part, network, architecture.unet)
