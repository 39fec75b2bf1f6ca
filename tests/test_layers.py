"""The house's rule: an import points down, in no circle, and torch stays in its rooms."""

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import gesso

PACKAGE = Path(gesso.__file__).parent

# Top to bottom. Rooms on one line are siblings, which do not know each other.
LAYERS = (
    ("__main__",),
    ("cli",),
    ("app",),
    ("api", "mini"),
    ("jobs",),
    ("accounts",),
    ("catalogue", "imaging", "storage"),
    ("engine",),
    ("diffusion", "sdxl"),
    ("prompt",),
    ("settings", "logs"),
    ("errors",),
)
WITH_TORCH = {"engine", "diffusion", "sdxl", "mini"}
LEVEL = {room: level for level, rooms in enumerate(LAYERS) for room in rooms}
MODULES = sorted(path for path in PACKAGE.rglob("*.py") if path.stem != "__init__")


def room_of(path: Path) -> str:
    return path.relative_to(PACKAGE).parts[0].removesuffix(".py")


def imports_of(path: Path) -> Iterator[str]:
    """Every module imported, also inside functions and under TYPE_CHECKING."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: imports are written out in full"
            if node.module == "gesso":
                yield from (f"gesso.{alias.name}" for alias in node.names)
            else:
                yield node.module or ""


def modules_named(path: Path) -> Iterator[Path]:
    """Files of this package that `path` imports, as modules or for a name in them."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("gesso"):
            for alias in node.names:
                for dotted in (f"{node.module}.{alias.name}", node.module or ""):
                    file = PACKAGE.parent / (dotted.replace(".", "/") + ".py")
                    if file.exists():
                        yield file


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_imports_point_down(path: Path) -> None:
    room = room_of(path)
    assert room in LEVEL, f"{room} has no place in the house"
    for name in imports_of(path):
        parts = name.split(".")
        if parts[0] == "gesso" and len(parts) > 1 and parts[1] != room:
            assert LEVEL[parts[1]] > LEVEL[room], f"{path} imports {name}, which is not below it"


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_torch_stays_in_its_rooms(path: Path) -> None:
    tops = {name.split(".")[0] for name in imports_of(path)}
    if room_of(path) not in WITH_TORCH:
        assert not tops & {"torch", "diffusers", "transformers"}


def test_no_modules_import_each_other_in_a_circle() -> None:
    below = {path: set(modules_named(path)) - {path} for path in MODULES}
    done: set[Path] = set()

    def visit(path: Path, above: tuple[Path, ...]) -> None:
        assert path not in above, " -> ".join(str(module.relative_to(PACKAGE)) for module in (*above, path))
        if path not in done:
            for module in sorted(below.get(path, ())):
                visit(module, (*above, path))
            done.add(path)

    for path in MODULES:
        visit(path, ())


def test_the_servers_own_process_never_loads_torch() -> None:
    code = "import sys, gesso.cli.main; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
