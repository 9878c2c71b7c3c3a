"""`anytalk doctor`: which engines work here, what brings the others, and the licence of each voice."""

import dataclasses
import importlib.util
import shutil
from collections.abc import Sequence

import typer

from anytalk.synth.errors import AnyTalkError

from .console import Json, emit

app = typer.Typer()

DEFAULT_VOICE = "hibari:heart"
"""The one voice that comes with the package."""


@app.command(epilog="Example:  anytalk doctor --json")
def doctor(as_json: Json = False) -> None:
    """Say which engines work here, what to install for the others, and every voice's licence."""
    findings = examine()
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


def examine() -> list[Finding]:
    """Load every engine that is installed."""
    from anytalk.synth.codec import load_codec
    from anytalk.synth.hearing import known_hearing, load_whisper
    from anytalk.synth.judge.dnsmos import Dnsmos
    from anytalk.synth.judge.vad import SileroVad
    from anytalk.synth.voice import known_voices, load_voice

    findings = []
    for voice in known_voices():
        works, note = (
            _tried(load_voice, voice.name)
            if voice.installed
            else (False, _install(voice.extra, f"{voice.note}; not on this disk"))
        )
        findings.append(Finding("voice", voice.name, works, voice.name != DEFAULT_VOICE, voice.licence, note))
    downloaded = []
    for hearing in known_hearing():
        if hearing.installed and "download" in hearing.note:
            downloaded.append(hearing.name)
            continue
        missing = (False, _install(hearing.extra, hearing.note))
        works, note = _tried(load_whisper, hearing.name) if hearing.installed else missing
        findings.append(Finding("hearing", hearing.name, works, hearing.extra is not None, hearing.licence, note))
    note = f"named in a recipe, downloaded from the hub at first use: {', '.join(downloaded)}"
    findings.append(Finding("hearing", "other Whispers", True, True, "MIT", note))
    works, note = _tried(load_codec, "bundled")
    findings.append(Finding("codec", "bundled", works, False, "Apache-2.0", note))
    snac = importlib.util.find_spec("snac") is not None
    how = "name a folder or hubertsiuzdak/snac_24khz" if snac else "pip install snac"
    findings.append(Finding("codec", "SNAC", snac, False, "MIT", how))
    for role, name, make, licence in (
        ("judgement", "DNSMOS", Dnsmos, "MIT"),
        ("judgement", "Silero VAD", SileroVad, "MIT"),
    ):
        works, note = _tried(make)
        findings.append(Finding(role, name, works, False, licence, note))
    return findings


def _tried(make: object, *arguments: str) -> tuple[bool, str]:
    """Whether an engine loads, and why not."""
    assert callable(make)
    try:
        make(*arguments)
    except (AnyTalkError, ImportError, OSError) as error:
        return False, str(error).splitlines()[0]
    return True, ""


def _install(extra: str | None, note: str) -> str:
    return f'pip install "anytalk[{extra}]"' if extra else note


def describe(findings: Sequence[Finding]) -> str:
    """The findings as lines for a person."""
    width = max(len(finding.name) for finding in findings)
    lines = [
        f"{'ok     ' if f.works else 'missing'}  {f.role:<9}  {f.name:<{width}}  {f.licence:<16}  {f.note}".rstrip()
        for f in findings
    ]
    free_gib = shutil.disk_usage(".").free / 2**30
    return "\n".join([*lines, f"{free_gib:.0f} GiB of disk are free here"])
