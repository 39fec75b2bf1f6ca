"""`gesso`: the commands together, and what they have in common: exit status 1 is one clear line on standard error."""

import sys
from typing import Annotated, Literal

import uvloop
from cyclopts import App, CycloptsError, Parameter

import gesso
from gesso.engine.running import running_engine
from gesso.errors import GessoError
from gesso.logs import log_to_standard_error
from gesso.settings import Settings, read_settings

TURN = 0.0005
"""Seconds that one thread of the server keeps the interpreter while another waits for it. With Python's own 5 ms the
event loop mostly waits for threads that have little to do."""

app = App(name="gesso", version=gesso.__version__, help="A self-hosted SDXL image API.")
# By name, so that a command imports only what it needs.
app.command("gesso.cli.generate:generate")
app.command("gesso.cli.accounts:accounts")
app.command("gesso.cli.keys:keys")
app.command("gesso.cli.credits:credits")
app.command("gesso.cli.models:models")
app.command("gesso.cli.prompt:prompt")
app.command("gesso.cli.doctor:doctor")


@app.command
def serve(
    *,
    host: str | None = None,
    port: int | None = None,
    data_dir: str | None = None,
    engine: Literal["local", "fake"] | None = None,
    device: str | None = None,
    precision: Literal["auto", "float32", "bfloat16", "fp8"] | None = None,
    replies: Literal["documented", "image", "json"] | None = None,
    public_url: Annotated[str | None, Parameter(name="--public-url")] = None,
) -> None:
    """Serve the API until told to stop. Flags outrank GESSO_... in the environment, which outranks gesso.toml.

    Args:
        host: Address to listen on.
        port: Port to listen on; 0 takes a free one.
        data_dir: Where everything is kept.
        engine: `fake` paints placeholders at once, for load tests.
        device: auto, cpu, cuda, cuda:1, ...
        precision: auto is bfloat16 where it is native; fp8 is meant for GPUs from Ada on, pictures differ a little.
        replies: Form of replies where the caller does not say.
        public_url: The server's address as its callers see it.
    """
    settings = read_settings(
        host=host,
        port=port,
        data_dir=data_dir,
        engine=engine,
        device=device,
        precision=precision,
        replies=replies,
        public_url=public_url,
    )
    sys.setswitchinterval(TURN)
    uvloop.run(_serve(settings))


async def _serve(settings: Settings) -> None:
    """The engine's process takes longest to be ready, so it starts before the rest of the house is even imported."""
    async with running_engine(settings) as engine:
        from gesso import app as house

        await house.serve(settings, engine)


def main() -> None:
    """Run the command that was given; this is what `gesso` starts."""
    log_to_standard_error()
    try:
        app(exit_on_error=False, print_error=False)
    except GessoError as error:
        _give_up(error.sentence)
    except CycloptsError as error:
        _give_up(" ".join(str(error).split()))
    except KeyboardInterrupt:
        sys.exit(130)
    except BrokenPipeError:
        sys.exit(1)


def _give_up(sentence: str) -> None:
    print(f"gesso: {sentence}", file=sys.stderr)
    sys.exit(1)
