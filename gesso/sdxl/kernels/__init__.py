"""The operations of SDXL's networks on a GPU, in Triton, where a library's own would not do.

Two things ask for them. A row's bits must not depend on how many rows it shares a call with: libraries split sums by
the size of a call, these kernels by the size of one row only. And what is bound by memory should pass through it once.
"""

from gesso.sdxl.kernels.convolution import convolve
from gesso.sdxl.kernels.eight_bits import in_eight_bits
from gesso.sdxl.kernels.gating import gated
from gesso.sdxl.kernels.norms import group_norm, layer_norm

__all__ = ["convolve", "gated", "group_norm", "in_eight_bits", "layer_norm"]
