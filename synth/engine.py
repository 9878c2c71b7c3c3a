"""What is known of an engine without loading it."""

from dataclasses import dataclass


@dataclass(frozen=True)
class EngineInfo:
    """An engine with one of its models, as `anytalk doctor` lists it.

    Attributes:
        name: what loads it.
        engine: its name in the table of engines.
        licence: of engine and weights.
        note: what it is, and where its weights come from.
        installed: whether its packages are installed, and its weights unless they are downloaded.
        downloads: whether its weights are downloaded when they are first used.
        extra: the extra of this distribution that brings it; None where it comes with the package.
    """

    name: str
    engine: str
    licence: str
    note: str
    installed: bool = True
    downloads: bool = False
    extra: str | None = None
