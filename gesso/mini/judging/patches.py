"""What stands out from a plain ground: masks of a picture's samples, and the patches that they fall into."""

import torch
import torch.nn.functional as F  # noqa: N812
from scipy import ndimage
from torch import Tensor

from gesso.mini.world.scenes import COLOURS

SIDE = 128
"""Samples along the short side of what is measured."""
DIFFERENT = 0.2
"""A colour further from the ground's stands out. The nearest two of the world's are 0.33 apart."""
REACH = 3
"""Samples that parts of one thing may grow by until they meet, as a sun's rays do."""
BOX = 40
"""Samples to a side of a patch that is brought to a square."""
_SPECK = 0.03
"""The share of the largest part below which a part is noise."""
_FAIR = 0.15
"""The share of two things' samples that the smaller one has at least."""
_NAMES = tuple(COLOURS)
_TABLE = torch.tensor([COLOURS[name] for name in _NAMES]) / 255


def sampled(picture: Tensor) -> Tensor:
    """A picture [3, height, width] averaged down to SIDE samples along its short side, if it has more."""
    height, width = picture.shape[1:]
    short = min(height, width)
    if short <= SIDE:
        return picture
    size = round(height * SIDE / short), round(width * SIDE / short)
    return F.interpolate(picture[None], size=size, mode="area")[0]


def border(picture: Tensor) -> Tensor:
    """The median colour [3] of the outermost samples."""
    edges = (picture[:, 0], picture[:, -1], picture[:, :, 0], picture[:, :, -1])
    return torch.cat(edges, dim=1).median(dim=1).values


def named_like(colour: Tensor) -> str:
    """The nearest of COLOURS to [3]."""
    return _NAMES[int(_nearest(colour.view(3, 1)))]


def main_colours(picture: Tensor, mask: Tensor, ground: str) -> list[str]:
    """The two names that fit most of a patch's samples and are not the ground's."""
    votes = _nearest(picture[:, mask]).bincount(minlength=len(_NAMES))
    votes[_NAMES.index(ground)] = -1
    return [_NAMES[number] for number in votes.topk(2).indices.tolist()]


def _nearest(colours: Tensor) -> Tensor:
    nearest: Tensor = torch.cdist(colours.T, _TABLE).argmin(dim=1)
    return nearest


def standing_out(picture: Tensor, ground: Tensor) -> Tensor:
    """[height, width] bool."""
    return (picture - ground.view(3, 1, 1)).square().sum(0) > DIFFERENT**2


def patches(mask: Tensor, reach: int = REACH) -> list[Tensor]:
    """The things of a mask, each a mask of its own, the largest first: parts that nearly touch are one thing, specks
    are none."""
    clean = _without_specks(mask)
    grown = ndimage.binary_dilation(clean.numpy(), iterations=reach)
    numbers, count = ndimage.label(grown)
    found = [clean & torch.from_numpy(numbers == number) for number in range(1, count + 1)]
    return sorted(found, key=lambda patch: -int(patch.sum()))


def _without_specks(mask: Tensor) -> Tensor:
    numbers, count = ndimage.label(mask.numpy())
    numbers = torch.from_numpy(numbers).long()
    sizes = numbers.flatten().bincount(minlength=count + 1)
    sizes[0] = 0
    return mask & (sizes >= _SPECK * sizes.max())[numbers]


def halves(mask: Tensor) -> tuple[Tensor, Tensor]:
    """A mask cut in two along the straight line that crosses least of it: left and right of it, or above and below."""
    upright, level = _emptiest(mask), _emptiest(mask.T)
    if upright[0] <= level[0]:
        before = torch.arange(mask.shape[1]) < upright[1]
    else:
        before = (torch.arange(mask.shape[0]) < level[1]).unsqueeze(1)
    return mask & before, mask & ~before


def _emptiest(mask: Tensor) -> tuple[float, int]:
    """How much of a mask the emptiest column has about it, of those with a fair part on both sides; and which it is."""
    profile = mask.sum(0).float()
    before = profile.cumsum(0) / profile.sum().clamp(min=1)
    about = torch.from_numpy(ndimage.gaussian_filter1d(profile.numpy(), SIDE / 50))
    about[(before < _FAIR) | (before > 1 - _FAIR)] = torch.inf
    return float(about.min()), int(about.argmin())


def boxed(values: Tensor, mask: Tensor) -> Tensor:
    """`values` [..., height, width] where a mask's box is, as BOX x BOX samples that its longer side fills."""
    top, bottom, left, right = edges(mask)
    part = values[..., top:bottom, left:right].reshape(1, -1, bottom - top, right - left)
    missing_rows, missing_columns = (max(part.shape[2:]) - side for side in part.shape[2:])
    above, before = missing_rows // 2, missing_columns // 2
    square = F.pad(part, (before, missing_columns - before, above, missing_rows - above))
    small = F.interpolate(square, size=(BOX, BOX), mode="bilinear", antialias=True)
    return small.view(*values.shape[:-2], BOX, BOX)


def edges(mask: Tensor) -> tuple[int, int, int, int]:
    """Top, bottom, left and right of a mask's box, in samples."""
    rows, columns = mask.any(1).nonzero().flatten(), mask.any(0).nonzero().flatten()
    return int(rows[0]), int(rows[-1]) + 1, int(columns[0]), int(columns[-1]) + 1
