"""What an image costs, in words."""

from math import isqrt

from gesso.accounts.credit import credits_text
from gesso.catalogue.price import Price


def price_text(price: Price) -> str:
    """`0.008 credits for one image of 1024x1024 in 25 steps, in proportion otherwise`."""
    size = f" of {_size(price.pixels)}" if price.pixels else ""
    steps = f" in {price.steps} steps" if price.steps else ""
    otherwise = ", in proportion otherwise" if size or steps else ""
    return f"{credits_text(price.microcredits)} credits for one image{size}{steps}{otherwise}"


def _size(pixels: int) -> str:
    side = isqrt(pixels)
    return f"{side}x{side}" if side * side == pixels else f"{pixels} pixels"
