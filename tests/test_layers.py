"""The repository's shape: every package ships, imports point one way, and no two files import each other."""

import ast
import itertools
import tomllib
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
DIST = "anytalk"
MAY_IMPORT: dict[str, set[str]] = {
    "synth": set(),
    "model": set(),
    "pipelines": {"synth"},
    "recipes": {"synth", "pipelines", "model"},
}
ROOMS: dict[str, list[str]] = {
    "synth": [
        "errors",
        "batch",
        "fingerprint",
        "seed",
        "remote",
        "wording",
        "extra",
        "engine",
        "language",
        "recording",
        "audio",
        "threads",
        "memory",
        "device",
        "onnx",
        "http",
        "text",
        "llm",
        "voice",
        "augment",
        "hearing",
        "codec",
        "judge",
        "corpus",
    ],
    "pipelines": [
        "concurrency",
        "cluster",
        "progress",
        "recipe",
        "dataset",
        "source",
        "likeness",
        "plan",
        "speech",
        "close",
        "report",
        "part",
        "units",
        "build",
        "estimate",
        "preview",
        "rejudge",
        "verify",
        "check",
        "repair",
        "push",
        "derive",
        "export",
    ],
    "model": [],
    "recipes": [
        "machine",
        "device",
        "shipped",
        "starter",
        "forecast",
        "data",
        "convert",
        "train",
        "codec",
        "talk",
        "evaluate",
        "suites",
        "serve",
        "bench",
        "cli",
        "steps",
        "quickstart",
        "household",
    ],
}
"""Rooms of a layer, and files that stand beside them, in the order in which they may import each other."""
MOST_FILES = 14
"""Of a room, without its `__init__.py`: about a dozen."""


def _module(path: Path) -> str:
    """Dotted name of a file, without the distribution's."""
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def _files(layer: str) -> list[Path]:
    return sorted((ROOT / layer).rglob("*.py"))


def _imports(path: Path) -> set[str]:
    """What one file imports of this distribution, as dotted names without its prefix: modules, and names in them."""
    package = [DIST, *path.relative_to(ROOT).parts[:-1]]
    names: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            base = package[: len(package) - node.level + 1] if node.level else []
            module = ".".join([*base, node.module] if node.module else base)
            names |= {f"{module}.{alias.name}" for alias in node.names}
    return {name.removeprefix(f"{DIST}.") for name in names if name.startswith(f"{DIST}.")}


def _room(module: str) -> tuple[str, str | None]:
    """Layer of a module, and the room or file of it where it stands; None for the layer's `__init__`."""
    layer, _, rest = module.partition(".")
    return layer, rest.partition(".")[0] or None


def test_imports_point_one_way():
    wrong = [
        f"{path.relative_to(ROOT)} imports {name}"
        for layer, allowed in MAY_IMPORT.items()
        for path in _files(layer)
        for name in _imports(path)
        if not any(f"{name}.".startswith(f"{ok}.") for ok in {layer, *allowed})
    ]
    assert wrong == []


def _against_the_order() -> Iterator[str]:
    for layer, rooms in ROOMS.items():
        order = {room: number for number, room in enumerate(rooms)}
        for path in _files(layer):
            room = _room(_module(path))[1]
            for name in _imports(path):
                target_layer, target = _room(name)
                if layer == "model" or target_layer != layer or room in (None, "__main__") or target is None:
                    continue
                if target not in order or room not in order:
                    yield f"{path.relative_to(ROOT)} imports {name}, whose room is not among {layer}'s"
                elif order[target] > order[room]:
                    yield f"{path.relative_to(ROOT)} imports {name}, from a room that comes after its own"


def test_a_file_imports_siblings_and_rooms_before_its_own():
    assert list(_against_the_order()) == []


def test_every_room_is_in_the_order():
    for layer in ("synth", "pipelines", "recipes"):
        here = {path.stem for path in (ROOT / layer).glob("*.py")} - {"__init__", "__main__"}
        here |= {path.parent.name for path in (ROOT / layer).glob("*/__init__.py")}
        assert sorted(here) == sorted(ROOMS[layer])


def test_no_two_files_import_each_other():
    modules = {_module(path): path for layer in MAY_IMPORT for path in _files(layer)}
    edges: dict[str, set[str]] = {}
    for module, path in modules.items():
        if path.name == "__init__.py":
            continue  # It gathers names for outsiders; the files behind it do not need it.
        reached = {name if name in modules else name.rpartition(".")[0] for name in _imports(path)}
        edges[module] = {name for name in reached if name in modules and modules[name].name != "__init__.py"}
    mutual = [(a, b) for a, b in itertools.combinations(edges, 2) if b in edges[a] and a in edges[b]]
    assert mutual == []


def test_no_room_is_a_tower():
    rooms = {init.parent for layer in MAY_IMPORT for init in (ROOT / layer).rglob("__init__.py")}
    files = {str(room.relative_to(ROOT)): len(list(room.glob("*.py"))) - 1 for room in rooms}
    assert {room: count for room, count in files.items() if count > MOST_FILES} == {}


def test_every_file_says_what_it_is():
    nameless = [
        str(path.relative_to(ROOT))
        for layer in MAY_IMPORT
        for path in _files(layer)
        if not (ast.get_docstring(ast.parse(path.read_text())) or "").strip()
    ]
    assert nameless == []


def test_layouts_need_the_standard_library_alone():
    tree = ast.parse((ROOT / "model" / "layout.py").read_text())
    modules = {a.name for node in ast.walk(tree) if isinstance(node, ast.Import) for a in node.names}
    modules |= {node.module or "" for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)}
    assert modules <= {
        "bisect",
        "collections",
        "collections.abc",
        "dataclasses",
        "enum",
        "functools",
        "itertools",
        "math",
        "typing",
    }


def test_every_package_ships():
    declared = set(tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["setuptools"]["packages"])
    present = {
        ".".join([DIST, *init.parent.relative_to(ROOT).parts])
        for layer in MAY_IMPORT
        for init in (ROOT / layer).rglob("__init__.py")
    }
    assert declared == present | {DIST}


def test_changelog_names_this_version():
    version = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]
    assert f"## {version}" in (ROOT / "CHANGELOG.md").read_text()
