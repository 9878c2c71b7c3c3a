"""Recipes that ship with the package, found by name."""

import difflib
from importlib import resources
from pathlib import Path

from anytalk.synth.errors import SetupError


def find(name: str) -> Path:
    """Path of a recipe: a YAML file as it is named, or a shipped recipe's.

    Raises:
        SetupError: there is neither.
    """
    folder = Path(str(resources.files("anytalk.recipes") / "configs"))
    if Path(name).suffix in (".yaml", ".yml"):
        if Path(name).is_file():
            return Path(name)
        raise SetupError(f"recipe {name} does not exist")
    shipped = {path.stem: path for path in sorted(folder.glob("*.yaml"))}
    if name in shipped:
        return shipped[name]
    nearest = difflib.get_close_matches(name, shipped, n=1)
    hint = f"did you mean {nearest[0]}?" if nearest else f"there are: {', '.join(shipped)}; or name a .yaml file"
    raise SetupError(f"no recipe is called {name!r}; {hint}")
