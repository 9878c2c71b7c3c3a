"""`anytalk doctor`: which engines work here, what brings the others, and the licence of each voice."""

import dataclasses
import shutil
from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING

import typer

from anytalk.synth.engine import EngineInfo
from anytalk.synth.errors import AnyTalkError

from .console import Json, emit

if TYPE_CHECKING:
    from anytalk.pipelines.progress import Reporter

app = typer.Typer()

DEFAULT_VOICE = "hibari:heart"
"""The one voice that comes with the package."""


@app.command(epilog="Example:  anytalk doctor --json")
def doctor(as_json: Json = False) -> None:
    """Say which engines work here, what to install for the others, and every voice's licence."""
    from anytalk.pipelines.progress import reporter

    findings = examine(reporter())
    emit([dataclasses.asdict(finding) for finding in findings], as_json, describe(findings))
    raise typer.Exit(0 if all(finding.works or finding.optional for finding in findings) else 1)


@dataclasses.dataclass(frozen=True)
class Finding:
    """One engine and how it is."""

    role: str
    name: str
    works: bool
    optional: bool
    licence: str
    note: str


def examine(progress: "Reporter | None" = None) -> list[Finding]:
    """Load every engine of the tables that is installed."""
    from anytalk.model import int8_kernel
    from anytalk.pipelines.progress import Quiet, measured
    from anytalk.synth.codec import known_codecs, load_codec
    from anytalk.synth.hearing import known_whispers, load_whisper
    from anytalk.synth.judge import known_judges, load_judge
    from anytalk.synth.voice import known_voices, load_voice

    progress, findings, voices = progress or Quiet(), list[Finding](), known_voices()
    tables = (
        ("hearing", known_whispers(), load_whisper),
        ("codec", known_codecs(), load_codec),
        ("judgement", known_judges(), load_judge),
    )
    for voice in measured(voices, "voices tried", len(voices), progress):
        works, note = (
            _tried(load_voice, voice.name) if voice.installed else _missing(load_voice, voice.name, voice.extra)
        )
        findings.append(Finding("voice", voice.name, works, voice.name != DEFAULT_VOICE, voice.licence, note))
    for role, infos, load in tables:
        findings += _findings(role, measured(infos, f"engines of {role} tried", len(infos), progress), load)
    findings.append(Finding("decoding", "int8", True, True, "Apache-2.0", f"products: {int8_kernel()}"))
    return findings


def _findings(role: str, infos: Iterable[EngineInfo], load: Callable[[str], object]) -> list[Finding]:
    """Load what is on this disk; what an engine would download is one finding."""
    findings, downloaded = [], dict[str, list[EngineInfo]]()
    for info in infos:
        if info.installed and info.downloads:
            downloaded.setdefault(info.engine, []).append(info)
            continue
        works, note = _tried(load, info.name) if info.installed else _missing(load, info.name, info.extra)
        findings.append(Finding(role, info.name, works, info.extra is not None, info.licence, note or info.note))
    for engine, models in downloaded.items():
        names = ", ".join(info.name for info in models)
        note = f"named in a recipe, downloaded from the hub at first use: {names}"
        findings.append(Finding(role, f"models of {engine}", True, True, models[0].licence, note))
    return findings


def _tried(load: Callable[[str], object], name: str) -> tuple[bool, str]:
    """Whether an engine loads, and why not."""
    try:
        load(name)
    except (AnyTalkError, ImportError, OSError) as error:
        return False, str(error).splitlines()[0]
    return True, ""


def _missing(load: Callable[[str], object], name: str, extra: str | None) -> tuple[bool, str]:
    """Say how to get an engine or a voice: by its extra, or as the error says that loading it raises."""
    if extra:
        return False, f'to install: pip install "anytalk[{extra}]"'
    return False, _tried(load, name)[1]


def describe(findings: Sequence[Finding]) -> str:
    """The findings as lines for a person."""
    width = max(len(finding.name) for finding in findings)
    lines = [
        f"{'ok     ' if f.works else 'missing'}  {f.role:<9}  {f.name:<{width}}  {f.licence:<16}  {f.note}".rstrip()
        for f in findings
    ]
    free_gib = shutil.disk_usage(".").free / 2**30
    return "\n".join([*lines, f"{free_gib:.0f} GiB of disk are free here"])
