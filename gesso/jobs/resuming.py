"""The order that a job was, which another server had begun."""

from dataclasses import replace
from pathlib import Path

from gesso.accounts.keys import Caller
from gesso.catalogue.live import LiveCatalogue
from gesso.catalogue.validation import read_request
from gesso.engine.messages import Pixels
from gesso.jobs.order import Order, resolve
from gesso.jobs.records import SavedJob

KEPT = "kept"
"""What the parameter `image` says of a start image that is at hand already."""


def order_again(live: LiveCatalogue, models_dir: Path, job: SavedJob, caller: Caller, start: Pixels | None) -> Order:
    """As the catalogue has it now, with the seed that was drawn then; it costs what was set aside for it.

    Raises NotFound and BadRequest where the catalogue does not know such a request any more.
    """
    catalogue = live.current
    body = job.request if start is None else {**job.request, "image": KEPT}
    valid = read_request(catalogue.endpoint(job.slug), body)
    order = resolve(
        valid,
        job.id,
        catalogue,
        models_dir=models_dir,
        account_id=caller.account_id,
        share=caller.allowance.share,
        start_image=start,
    )
    return replace(order, cost_micro=job.cost_micro)
