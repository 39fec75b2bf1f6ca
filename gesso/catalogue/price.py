"""What an image costs: a price for one of a certain size and number of steps, and others in proportion."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Price:
    """`microcredits` for an image of so many `pixels` in so many `steps`; a million microcredits are one credit.

    What is None makes no difference to the price.
    """

    microcredits: int
    steps: int | None = None
    pixels: int | None = None

    def of(self, steps: int, pixels: int) -> int:
        """An image's price in whole microcredits, rounded half up, and at least one unless images are free.

        The steps are those that a request asks for, whatever a start image's strength or a refiner make of them: so
        whoever asks can work the price out.
        """
        exact, whole = self.microcredits, 1
        for asked, priced in ((steps, self.steps), (pixels, self.pixels)):
            if priced is not None:
                exact, whole = exact * asked, whole * priced
        return max((2 * exact + whole) // (2 * whole), min(self.microcredits, 1))
