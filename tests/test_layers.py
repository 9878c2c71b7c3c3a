"""The repository's shape: every package ships, and imports point one way."""

import ast
import tomllib
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
DIST = "anytalk"
MAY_IMPORT: dict[str, set[str]] = {
    "synth": set(),
    "model": set(),
    "pipelines": {"synth"},
    "recipes": {"synth", "pipelines", "model"},
}


def _imports(path: Path) -> set[str]:
    """Modules of this distribution that one file imports, as dotted names without the prefix."""
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


def test_imports_point_one_way():
    wrong = [
        f"{path.relative_to(ROOT)} imports {name}"
        for layer, allowed in MAY_IMPORT.items()
        for path in (ROOT / layer).rglob("*.py")
        for name in _imports(path)
        if not any(f"{name}.".startswith(f"{ok}.") for ok in {layer, *allowed})
    ]
    assert wrong == []


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
    assert declared == present


def test_changelog_names_this_version():
    version = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]
    assert f"## {version}" in (ROOT / "CHANGELOG.md").read_text()
