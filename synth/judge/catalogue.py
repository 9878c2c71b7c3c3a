"""The tables of judges, and loading one by its name.

A new judge is one file here, with its `ENGINE`, and one line in `SCORERS` or `DETECTORS`.
"""

import importlib

from anytalk.synth.engine import EngineInfo
from anytalk.synth.errors import SetupError, near_matches
from anytalk.synth.remote import brought

from .contract import JudgeEngine, Mos, Vad

SCORERS = {
    "p808": ".dnsmos",
    "p835": ".dnsmos",
    "utmos": ".utmos",
    "fake": ".fake",
}
"""Module of each judge of how an utterance sounds, imported when it is needed, by the judge's name."""

DETECTORS = {
    "silero": ".vad",
    "fake": ".fake",
}
"""Module of each detector of speech, by its name."""


def load_mos(name: str = "p808", device: str = "cpu") -> Mos:
    """Load a judge of how an utterance sounds.

    Args:
        name: `p808` or `p835`, DNSMOS on the scale of that recommendation; `utmos:FILE.onnx`, of which FILE may be a
            URL; `fake` for tests; or
            another of the table. What stands after a colon is the judge's own.
        device: where it computes; see `synth.device.resolve`.

    Raises:
        SetupError: there is no such judge, its files are not there, or it cannot run on the device.
    """
    engine = _engine(_module(name.partition(":")[0], SCORERS, "judge of sound"))
    assert engine.mos is not None, f"{name} has no judge of sound"
    return engine.mos(brought(name), device)


def load_vad(name: str = "silero", device: str = "cpu") -> Vad:
    """Load a detector of speech.

    Args:
        name: `silero`; `fake` for tests; or another of the table.
        device: where it computes; see `synth.device.resolve`.

    Raises:
        SetupError: there is no such detector, its files are not there, or it cannot run on the device.
    """
    engine = _engine(_module(name, DETECTORS, "detector of speech"))
    assert engine.vad is not None, f"{DETECTORS[name]} has no detector of speech"
    return engine.vad(name, device)


def load_judge(name: str) -> Mos | Vad:
    """Load a judge of either kind, such as `known_judges` lists.

    Raises:
        SetupError: there is no such judge, or its files are not there.
    """
    return load_vad(name) if name in DETECTORS and name not in SCORERS else load_mos(name)


def known_judges() -> list[EngineInfo]:
    """List the judges that can be named, without loading one."""
    modules = dict.fromkeys([*SCORERS.values(), *DETECTORS.values()])
    return [info for module in modules for info in _engine(module).known()]


def _module(name: str, table: dict[str, str], what: str) -> str:
    if name not in table:
        raise SetupError(f"there is no {what} {name!r}{near_matches(name, table)}")
    return table[name]


def _engine(module: str) -> JudgeEngine:
    found: JudgeEngine = importlib.import_module(module, __package__).ENGINE
    return found
