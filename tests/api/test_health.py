"""/livez and /readyz, for those who restart a server or send it traffic."""

from dataclasses import replace
from pathlib import Path

from gesso.engine.fake import FakeEngine
from gesso.engine.messages import EngineState, Loading, Memory
from tests.api.house import House


class StagedEngine(FakeEngine):
    """Says of itself what it is told to say."""

    said: EngineState

    @property
    def state(self) -> EngineState:
        return self.said


def test_a_server_lives_whatever_its_engine_does_and_is_ready_when_it_is(tmp_path: Path) -> None:
    engine = StagedEngine()
    engine.said = EngineState("starting", device="cuda:0")
    with House(tmp_path, engine) as house:
        for status in ("starting", "down"):
            engine.said = replace(engine.said, status=status)
            reply = house.client.get("/readyz")
            assert reply.status_code == 503
            assert reply.json()["status"] == status
            assert reply.json()["reason"].startswith("The engine is")
            assert house.client.get("/livez").json() == {"status": "alive"}
        coming, memory = (Loading("one: UNet", 20, 50),), (Memory("cuda", 70, 100),)
        engine.said = replace(engine.said, status="ready", loading=coming, memory=memory)
        reply = house.client.get("/readyz")
        assert reply.status_code == 200
        assert reply.json() == {
            "status": "ready",
            "device": "cuda:0",
            "loading": [{"what": "one: UNet", "done": 20, "due": 50}],
            "memory": [{"place": "cuda", "taken": 70, "budget": 100, "computing": None}],
        }
        assert house.client.head("/readyz").status_code == 200
