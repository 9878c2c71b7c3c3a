"""What a voice engine declares: what its voices are named, how one is loaded, and what is known without loading it."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

from anytalk.synth.errors import MissingExtra, SetupError, near_matches
from anytalk.synth.extra import are_installed

from .request import Voice
from .speech_server import SpeechServer
from .terms import Terms

Servers = Mapping[str, SpeechServer]
"""Speech servers, by name."""


@dataclass(frozen=True)
class VoiceInfo:
    """What is known of a voice without loading it.

    Attributes:
        name: what `load_voice` takes.
        engine: the part of the name before the colon.
        language: BCP-47 tag.
        terms: licence (the engine's too, where it differs), source and consent.
        installed: whether `load_voice` can load it now, without a download.
        extra: the extra of this distribution that brings it; None where it comes with the package or as a
            file.
    """

    name: str
    engine: str
    language: str
    terms: Terms
    installed: bool
    extra: str | None

    @property
    def licence(self) -> str:
        """The licence in words."""
        return self.terms.licence or "not known"

    @property
    def note(self) -> str:
        """Source and consent in words."""
        return f"{self.terms.source}; {self.terms.consent}"


@dataclass(frozen=True)
class VoiceEngine:
    """One engine. Its file holds one of these as `ENGINE`, and imports without the engine's own packages.

    A voice is named `ENGINE:SPEC`; what SPEC means is the engine's.

    Attributes:
        forms: what names of its voices look like, for error messages.
        load: loads a voice by its SPEC, with the servers that the recipe names and the device that was asked for (see
            `synth.device`), which an engine that knows only the CPU leaves aside. Raises `MissingExtra` where the
            engine is not installed, and `SetupError` where there is no such voice, its files are not there, or it
            cannot run on the device.
        language: BCP-47 tag of a voice by its SPEC, without loading it; `mul` for many languages, or where it is not
            known before loading. Raises `SetupError` for a SPEC that names no voice.
        known: lists voices for `anytalk doctor`, without loading one.
    """

    forms: tuple[str, ...]
    load: Callable[[str, Servers, str], Voice]
    language: Callable[[str, Servers], str]
    known: Callable[[], Sequence[VoiceInfo]] = tuple


def require(name: str, extra: str, modules: Iterable[str]) -> None:
    """Check that the packages of a voice are installed, without importing them.

    Raises:
        MissingExtra: one is not; the message holds the pip line of the extra.
    """
    if not are_installed(modules):
        raise MissingExtra(f"the voice {name}", extra)


def unknown_voice(name: str, known: Iterable[str], forms: Sequence[str] = ()) -> SetupError:
    """The error for a name of no voice.

    Args:
        name: the name.
        known: names that exist; near ones are suggested, or else the first dozen is listed.
        forms: what names look like, if they should be listed too.
    """
    looks = f"; names look like {', '.join(forms)}" if forms else ""
    return SetupError(f"there is no voice {name!r}{near_matches(name, known)}{looks}")
