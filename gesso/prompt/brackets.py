"""Brackets: what those around a word multiply its weight by.

Round and square brackets are counted apart and may overlap. Their factors multiply in the order in which they close, so
that weights are AUTOMATIC1111's to the last bit. Where more than 16 nest, they multiply from the outermost in, once for
all words within: the last bits may differ there, but time stays linear however deep they nest.
"""

import math
from functools import cached_property
from typing import Final

ROUND: Final = 1.1
SQUARE: Final = 1 / 1.1

_IN_ORDER = 16


class Brackets:
    """All brackets of a text, numbered from 1 as they open, 0 being none; `round` and `square` are the innermost open.

    Columns instead of an object for each: a prompt may consist of nothing else.
    """

    def __init__(self) -> None:
        self.round = 0
        self.square = 0
        self._outer = [0]
        self._depths = [0]
        self._factors = [1.0]
        self._closed: list[float] = [math.inf]
        self._closings = 0

    def open_round(self) -> None:
        self._open(self.round, ROUND)
        self.round = len(self._outer) - 1

    def open_square(self) -> None:
        self._open(self.square, SQUARE)
        self.square = len(self._outer) - 1

    def close_round(self, factor: float) -> None:
        self._factors[self.round] = factor
        self.round = self._close(self.round)

    def close_square(self) -> None:
        self.square = self._close(self.square)

    def weight(self, round_bracket: int, square_bracket: int) -> float:
        """Of a word directly inside these two, once the text is read; infinite or NaN beyond the range of a float."""
        if self._depths[round_bracket] + self._depths[square_bracket] > _IN_ORDER:
            return _scaled(self._products[round_bracket], self._products[square_bracket])
        weight = 1.0
        while round_bracket or square_bracket:
            if round_bracket and (not square_bracket or self._closed[round_bracket] <= self._closed[square_bracket]):
                weight *= self._factors[round_bracket]
                round_bracket = self._outer[round_bracket]
            else:
                weight *= self._factors[square_bracket]
                square_bracket = self._outer[square_bracket]
        return weight

    def _open(self, outer: int, factor: float) -> None:
        self._outer.append(outer)
        self._depths.append(self._depths[outer] + 1)
        self._factors.append(factor)
        self._closed.append(math.inf)

    def _close(self, bracket: int) -> int:
        self._closings += 1
        self._closed[bracket] = self._closings
        return self._outer[bracket]

    @cached_property
    def _products(self) -> list[tuple[float, int]]:
        """From each bracket outwards, as mantissa and exponent of two.

        A thousand nested brackets would leave the range of a float on the way to a product that is well within.
        """
        products = [(0.5, 1)]
        for outer, factor in zip(self._outer[1:], self._factors[1:], strict=True):
            mantissa, exponent = products[outer]
            mantissa, shift = math.frexp(mantissa * factor)
            products.append((mantissa, exponent + shift))
        return products


def _scaled(one: tuple[float, int], other: tuple[float, int]) -> float:
    mantissa, exponent = one[0] * other[0], one[1] + other[1]
    try:
        return math.ldexp(mantissa, exponent)
    except OverflowError:
        return math.copysign(math.inf, mantissa)
