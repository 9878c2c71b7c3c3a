"""Optional packages, imported where they are used."""

import importlib
import importlib.util
from collections.abc import Iterable
from types import ModuleType

from .errors import MissingExtra


def import_extra(module: str, what: str, extra: str) -> ModuleType:
    """Import a module that an extra brings.

    Args:
        module: dotted name of the module.
        what: what needs it, as a person would say it ("the voice piper:joe").
        extra: the extra of this distribution that installs it.

    Returns:
        The module.

    Raises:
        MissingExtra: if the module is not installed. An installed module whose own import fails
            raises its own error: another `pip install` would not cure that.
    """
    try:
        return importlib.import_module(module)
    except ModuleNotFoundError as error:
        missing = error.name or ""
        if f"{module}.".startswith(f"{missing}."):
            raise MissingExtra(what, extra) from error
        raise


def are_installed(modules: Iterable[str]) -> bool:
    """Whether modules can be imported, without importing them."""
    return all(importlib.util.find_spec(module) is not None for module in modules)
