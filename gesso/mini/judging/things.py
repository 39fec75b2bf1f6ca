"""Says what a picture shows by measuring it, without any trained network: things on a plain ground.

The ground is what the border shows, a thing is a patch that stands out from it, its kind the likeliest (`kinds`), and
its colour the one that it has where the outline of that kind has the thing's own.
"""

from dataclasses import dataclass

from torch import Tensor

from gesso.mini.judging import kinds
from gesso.mini.judging.outlines import Outline, fit
from gesso.mini.judging.patches import border, boxed, halves, main_colours, named_like, patches, sampled, standing_out
from gesso.mini.world.scenes import PLACES

NOTHING = "nothing"
RGB = tuple[float, float, float]
LEAST_OVERLAP = 0.4
"""With the outline of its kind; what has less is no thing."""
_CENTRAL = 0.2
_ALIKE = 0.4
"""The share of the largest thing's samples that another of the same kind has at least."""


@dataclass(frozen=True)
class Seen:
    """A thing on a plain ground, in a scene's names; `kind` is NOTHING where its outline does not fit, and `colour` too
    where nothing stands out at all. `overlap` with that outline: 0..1; `x`, `y` and `radius` in halves of the
    picture's short side, from its centre; `rgb` the thing's own colour, 0..1; `area` the share of the picture that it
    covers."""

    kind: str
    colour: str
    ground: str
    overlap: float = 0.0
    x: float = 0.0
    y: float = 0.0
    radius: float = 0.0
    rgb: RGB = (0.0, 0.0, 0.0)
    area: float = 0.0

    @property
    def place(self) -> str:
        """One of PLACES."""
        toward = tuple(0 if abs(offset) < _CENTRAL else int(offset > 0) * 2 - 1 for offset in (self.x, self.y))
        return next(name for name, direction in PLACES.items() if direction == toward)


def look_at(picture: Tensor) -> Seen:
    """The one thing in a picture [3, height, width] of RGB in 0..1, at least about 32 samples a side."""
    picture = sampled(picture)
    ground = border(picture)
    return _read(picture, standing_out(picture, ground), named_like(ground))


def look_at_two(picture: Tensor) -> tuple[Seen, Seen]:
    """The two things in a picture, the left or the upper one first."""
    picture = sampled(picture)
    ground = border(picture)
    first, second = halves(standing_out(picture, ground))
    return _read(picture, first, named_like(ground)), _read(picture, second, named_like(ground))


def number_of_things(picture: Tensor) -> int:
    """How many patches of about the same size there are."""
    picture = sampled(picture)
    found = patches(standing_out(picture, border(picture)), reach=1)
    return sum(int(patch.sum()) >= _ALIKE * int(found[0].sum()) for patch in found)


def _read(picture: Tensor, mask: Tensor, ground: str) -> Seen:
    found = patches(mask)
    if not found:
        return Seen(NOTHING, NOTHING, ground)
    patch, kind = found[0], kinds.likeliest(picture, found[0])
    fits = [fit(picture, patch, kind, colour, ground) for colour in main_colours(picture, patch, ground)]
    best = max(fits, key=lambda one: one.likeness)
    own = _own_colour(picture, patch, best.outline)
    height, width = patch.shape
    half = min(height, width) / 2
    return Seen(
        kind if best.overlap >= LEAST_OVERLAP else NOTHING,
        named_like(own),
        ground,
        best.overlap,
        x=(best.x - width / 2) / half,
        y=(best.y - height / 2) / half,
        radius=best.radius / half,
        rgb=(float(own[0]), float(own[1]), float(own[2])),
        area=float(patch.float().mean()),
    )


def _own_colour(picture: Tensor, patch: Tensor, outline: Outline) -> Tensor:
    """The median colour [3] where the outline says that a thing has its own."""
    return boxed(picture, patch).flatten(1)[:, outline.own].median(dim=1).values
