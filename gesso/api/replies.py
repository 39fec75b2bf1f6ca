"""What a caller gets for its pictures: JSON that names or holds them, or an image."""

import asyncio
import base64
import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from urllib.parse import quote

from starlette.responses import Response

from gesso.accounts.credit import credits_of, credits_text
from gesso.api.json_body import JsonReply
from gesso.api.links import Links
from gesso.api.negotiation import Form
from gesso.imaging.formats import Format, encode, media_type
from gesso.imaging.png import decode_png, read_infotext
from gesso.imaging.sheet import contact_sheet
from gesso.jobs.delivery import Delivery

LONGEST_LIST = 2000
"""Characters of a header with names that a client chose; the JSON form names them all."""


@dataclass(frozen=True, slots=True)
class Reply:
    """A delivery on its way to its caller."""

    delivery: Delivery
    ignored: tuple[str, ...]
    links: Links

    async def render(self, form: Form, *, as_base64: bool) -> Response:
        """The response; JSON holds the stored files themselves where `as_base64`."""
        if form == "json":
            return JsonReply(self._content(as_base64), headers=self._headers())
        body = await asyncio.to_thread(_image, [picture.png for picture in self.delivery.pictures], form)
        headers = {"x-image-urls": ", ".join(self._urls()), **self._headers()}
        return Response(body, headers=headers, media_type=media_type(form))

    def _content(self, as_base64: bool) -> dict[str, object]:
        delivery, urls = self.delivery, self._urls()
        images = [base64.b64encode(one.png).decode() for one in delivery.pictures] if as_base64 else urls
        return {
            "status": "Success",
            "image": images[0] if len(images) == 1 else images,
            "seed": delivery.pictures[0].seed,
            "infer_time": round(delivery.course.infer_seconds, 3),
            "request_id": delivery.request_id,
            "images": [
                {"url": url, "seed": one.seed, "width": one.width, "height": one.height}
                for url, one in zip(urls, delivery.pictures, strict=True)
            ],
            "cost": credits_of(delivery.cost_micro),
            "remaining_credits": credits_of(delivery.course.remaining_micro),
            "ignored": list(self.ignored),
        }

    def _headers(self) -> dict[str, str]:
        delivery, first = self.delivery, self.delivery.pictures[0]
        headers = {
            "x-remaining-credits": credits_text(delivery.course.remaining_micro),
            "x-cost": credits_text(delivery.cost_micro),
            "x-generation-time": f"{delivery.course.infer_seconds:.3f}",
            "x-seed-value": str(first.seed),
            "x-output-metadata": json.dumps(self._metadata()),
        }
        return headers | ignored_header(self.ignored)

    def _metadata(self) -> dict[str, object]:
        delivery, first = self.delivery, self.delivery.pictures[0]
        return {
            "width": first.width,
            "height": first.height,
            "samples": len(delivery.pictures),
            "timings": {phase: round(seconds, 3) for phase, seconds in asdict(delivery.course.phases).items()},
            "company": round(delivery.course.company, 2),
        }

    def _urls(self) -> list[str]:
        return [self.links.picture(one.token) for one in self.delivery.pictures]


def ignored_header(names: Sequence[str]) -> dict[str, str]:
    """The header that names the fields which mean nothing here, where there are any."""
    return {"x-ignored-parameters": _header_list(names)} if names else {}


def _image(pngs: Sequence[bytes], form: Format) -> bytes:
    """One picture in this format, or all of them on a contact sheet; a lone PNG is the stored file itself."""
    if form == "png" and len(pngs) == 1:
        return pngs[0]
    return encode(contact_sheet([decode_png(png) for png in pngs]), form, read_infotext(pngs[0]) or "")


def _header_list(names: Sequence[str]) -> str:
    """Names that a client chose, with whatever a header cannot hold, or a comma, written as %XX."""
    text = ",".join(quote(name, safe=" !#$&'()*+/:;=?@[]^`{|}", errors="replace") for name in names)
    return text if len(text) <= LONGEST_LIST else f"{text[:LONGEST_LIST].rpartition(',')[0]},..."
