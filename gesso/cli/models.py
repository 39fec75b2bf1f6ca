"""`gesso models`: which checkpoints there are, and what paints with them."""

from pathlib import Path

from cyclopts import App

from gesso import app as house
from gesso.cli.listing import show
from gesso.settings import read_settings

models = App(name="models", help="Checkpoints.")


@models.command(name="list")
def list_models(*, json: bool = False) -> None:
    """Every checkpoint of the catalogue: which endpoints it serves, and whether its file is here.

    Args:
        json: Print JSON.
    """
    settings = read_settings()
    catalogue = house.read_catalogue(settings)
    rows = []
    for checkpoint in catalogue.checkpoints.values():
        path = checkpoint.path(settings.models)
        serves = [
            slug if role == "base" else f"{slug} ({role})"
            for slug, endpoint in catalogue.endpoints.items()
            for role, id in endpoint.checkpoints.items()
            if id == checkpoint.id
        ]
        rows.append(
            {
                "id": checkpoint.id,
                "kind": checkpoint.kind,
                "present": path.exists(),
                "megabytes": round(_size(path) / 1e6, 1) if path.exists() else None,
                "serves": serves,
                "file": str(path),
            }
        )
    show(rows, json)


def _size(path: Path) -> int:
    """Bytes of a file, or of all that a folder's parts have."""
    files = [path] if path.is_file() else path.rglob("*.safetensors")
    return sum(file.stat().st_size for file in files)
