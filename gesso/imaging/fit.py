"""Which size a start image is painted at."""

from gesso.imaging.refusal import refused

SHORTEST = 512
LONGEST = 2048
STEP = 8


def fitted_size(width: int, height: int) -> tuple[int, int]:
    """Width and height in pixels: the same aspect with the short side at least 512 and the long side at most 2048,
    each rounded down to a multiple of 8. 700x1000 gives 696x1000.

    Raises:
        BadRequest: the aspect is beyond 4:1, so that no size fits.
    """
    short, long = sorted((width, height))
    if long * SHORTEST > short * LONGEST:
        raise refused(_too_long(width, height))
    if short < SHORTEST:
        width, height = width * SHORTEST // short, height * SHORTEST // short
    elif long > LONGEST:
        width, height = width * LONGEST // long, height * LONGEST // long
    return width // STEP * STEP, height // STEP * STEP


def _too_long(width: int, height: int) -> str:
    return f"is {width}x{height} pixels; one side may be at most {LONGEST // SHORTEST} times the other"
