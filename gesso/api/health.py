"""Whether the server lives, and whether it can paint; for those who restart it or send it traffic."""

from dataclasses import asdict

from fastapi import APIRouter, Request

from gesso.api.json_body import JsonReply
from gesso.api.parts import Parts
from gesso.api.problems import NOT_READY

_REASONS = {
    "starting": "The engine is starting; requests sent now wait for it.",
    "down": "The engine is down.",
}


def routes(parts: Parts) -> APIRouter:
    """/livez and /readyz."""

    async def livez(_: Request) -> JsonReply:
        return JsonReply({"status": "alive"})

    async def readyz(_: Request) -> JsonReply:
        state = parts.engine_state()
        content: dict[str, object] = {
            "status": state.status,
            "device": state.device,
            "loading": [asdict(one) for one in state.loading],
            "memory": [asdict(one) for one in state.memory],
        }
        if state.status == "ready":
            return JsonReply(content)
        return JsonReply(content | {"reason": _REASONS[state.status]}, NOT_READY)

    router = APIRouter()
    router.add_route("/livez", livez)
    router.add_route("/readyz", readyz)
    return router
