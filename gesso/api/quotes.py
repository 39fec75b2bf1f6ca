"""What a request would cost: asked for with `?dry_run=true`, and told without painting or charging anything."""

from dataclasses import dataclass
from typing import Final

from starlette.datastructures import QueryParams

from gesso.accounts.credit import credits_of, credits_text
from gesso.api.json_body import JsonReply
from gesso.api.replies import ignored_header
from gesso.catalogue.entries import Parameter
from gesso.catalogue.values import ReadingError, problem, read_value
from gesso.errors import BadRequest
from gesso.jobs.order import Order

DRY_RUN: Final = Parameter(
    name="dry_run",
    type="boolean",
    description="Whether to check the request and say what it would cost, without painting or charging anything.",
    required=False,
    default=False,
    minimum=None,
    maximum=None,
    multiple_of=None,
    longest=None,
    choices=(),
    aliases={},
    unset=None,
    fields={},
)


def asks_for_quote(query: QueryParams) -> bool:
    """Whether the address says so. Raises BadRequest for what is neither true nor false: it might be paid for."""
    if DRY_RUN.name not in query:
        return False
    sent = ", ".join(query.getlist(DRY_RUN.name))  # said twice, it is neither
    try:
        return bool(read_value(DRY_RUN, sent))
    except ReadingError as error:
        raise BadRequest.of([problem(DRY_RUN, DRY_RUN.name, sent, error.sentence)]) from None


@dataclass(frozen=True, slots=True)
class Quote:
    """An order that is not carried out, and whether its account could pay for it now."""

    order: Order
    remaining_micro: int
    affordable: bool
    ignored: tuple[str, ...]

    def render(self) -> JsonReply:
        """The response."""
        headers = {
            "x-remaining-credits": credits_text(self.remaining_micro),
            "x-cost": credits_text(self.order.cost_micro),
        }
        return JsonReply(self._content(), headers=headers | ignored_header(self.ignored))

    def _content(self) -> dict[str, object]:
        order, paint = self.order, self.order.paint
        samples = len(paint.seeds)
        return {
            "status": "Quote",
            "cost": credits_of(order.cost_micro),
            "cost_per_image": credits_of(order.cost_micro // samples),
            "samples": samples,
            "width": paint.width,
            "height": paint.height,
            "steps": paint.steps,
            "remaining_credits": credits_of(self.remaining_micro),
            "affordable": self.affordable,
            "ignored": list(self.ignored),
            "request_id": order.id,
        }
