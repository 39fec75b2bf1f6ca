"""Contact sheets: several pictures of one size on one."""

import math
from collections.abc import Sequence

from PIL import Image

from gesso.engine.messages import Pixels


def contact_sheet(pictures: Sequence[Pixels]) -> Pixels:
    """`pictures` (at least one, all of one size) in reading order on a grid as square as can be."""
    if len(pictures) == 1:
        return pictures[0]
    columns = math.ceil(math.sqrt(len(pictures)))
    rows = math.ceil(len(pictures) / columns)
    width, height = pictures[0].width, pictures[0].height
    sheet = Image.new("RGB", (columns * width, rows * height), "white")
    for index, picture in enumerate(pictures):
        place = (index % columns * width, index // columns * height)
        sheet.paste(Image.frombytes("RGB", (width, height), picture.rgb), place)
    return Pixels(sheet.width, sheet.height, sheet.tobytes())
