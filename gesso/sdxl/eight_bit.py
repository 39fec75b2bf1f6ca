"""Linears that multiply in 8-bit floats (e4m3: Micikevicius et al. 2022, https://arxiv.org/abs/2209.05433).

Each row of a matrix, a token or what makes one output of a weight, has a scale that its largest number decides: so a
token's numbers depend on itself alone. Weights are rounded once, when they are loaded; tokens as they come.
"""

from typing import TypeVar

import torch
from torch import Tensor, nn
from torch.nn import functional

from gesso.errors import SettingsError
from gesso.sdxl import operations

EIGHT_BITS = torch.float8_e4m3fn

STEP = 16
"""Of how many numbers a GPU's products take rows and columns."""

CAPABILITY = (8, 9)
"""NVIDIA's GPUs from Ada on multiply such numbers; the version, as CUDA counts."""

Network = TypeVar("Network", bound=nn.Module)


class TokenLinear(nn.Linear):
    """A Linear in a transformer's block; where it has a `scale`, [outputs] float32, its weight is of 8 bits.

    What reads the prompt is none, its tokens are few; nor what leads into a transformer and out of it: in 8 bits these
    few would bring pictures 0.8 to 1.9 dB further from bfloat16's (measured, docs/exactness.md).
    """

    scale: nn.Parameter | None

    def __init__(self, width: int, outputs: int, bias: bool = True) -> None:
        super().__init__(width, outputs, bias)
        self.register_parameter("scale", None)

    @property
    def may_be_eight_bit(self) -> bool:
        """Whether its widths are such that a GPU can multiply them."""
        return self.in_features % STEP == 0 and self.out_features % STEP == 0

    def forward(self, tokens: Tensor) -> Tensor:
        """[..., width] -> [..., outputs]."""
        return linear(tokens, self.weight, self.scale, self.bias)


def with_eight_bits(network: Network) -> Network:
    """`network`, which has no weights yet, with places for 8-bit ones in each TokenLinear of suitable widths.

    All of SDXL's are; of another network those that are not keep the numbers that everything else has.
    """
    for layer in network.modules():
        if isinstance(layer, TokenLinear) and layer.may_be_eight_bit:
            weight, scale = layer.weight.to(EIGHT_BITS), layer.weight.new_empty(layer.out_features, dtype=torch.float32)
            layer.weight = nn.Parameter(weight, requires_grad=False)
            layer.scale = nn.Parameter(scale, requires_grad=False)
    return network


def scale_name(weight: str) -> str:
    """What the scales of a weight are called beside it."""
    return f"{weight.removesuffix('weight')}scale"


def linear(tokens: Tensor, weight: Tensor, scale: Tensor | None = None, bias: Tensor | None = None) -> Tensor:
    """What a Linear makes of tokens [..., width]; in 8 bits, and bfloat16 out, where its weight has a scale."""
    if scale is None:
        return functional.linear(tokens, weight, bias)
    rows, scales = operations.in_eight_bits(tokens.flatten(0, -2))
    return operations.multiply(rows, scales, weight, scale, bias).view(*tokens.shape[:-1], -1)


def require_eight_bits(device: torch.device) -> None:
    """Raises SettingsError, which says what would be right, unless `device` multiplies 8-bit floats.

    A CPU does it in float32, with the same numbers and no faster.
    """
    if device.type == "cpu":
        return
    if device.type != "cuda":
        raise _refusal(f"the device {device} has no products of 8-bit floats")
    name, capability = torch.cuda.get_device_name(device), torch.cuda.get_device_capability(device)
    if capability < CAPABILITY:
        found, needed = (".".join(map(str, version)) for version in (capability, CAPABILITY))
        raise _refusal(f"products of 8-bit floats need compute capability {needed}, and {name} has {found}")
    try:
        _try(device)
    except RuntimeError as error:  # a build of torch without these products, or a GPU that it knows nothing of yet
        raise _refusal(f"{name} does not make products of 8-bit floats ({str(error).splitlines()[0]})") from None


def _try(device: torch.device) -> None:
    tokens = torch.ones(2 * STEP, 4 * STEP, dtype=torch.bfloat16, device=device)
    weight, scale = operations.in_eight_bits(torch.ones(4 * STEP, 4 * STEP, dtype=torch.bfloat16, device=device))
    for bias in (None, tokens[0]):
        linear(tokens, weight, scale.flatten(), bias)
    torch.cuda.synchronize(device)


def _refusal(what: str) -> SettingsError:
    return SettingsError(f"setting precision = 'fp8': {what}; take bfloat16, or auto")
