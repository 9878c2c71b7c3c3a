"""espeak-ng: a formant synthesiser with over a hundred languages and as many timbres.

Source: https://github.com/espeak-ng/espeak-ng 1.52 (`speak_lib.h`, `espeak_ng.h`) in the wheel
`espeakng-loader`; GPL-3.0-or-later.

The library keeps state between utterances that no call resets (the phase of the voice's flutter, filter
memories): the second utterance of a process is not what it would have been as the first. So the library is
loaded anew for every utterance and unloaded after it, which costs some milliseconds. One lock guards this,
since the library's state belongs to the process. Piper's espeak-ng is another copy, linked into its own
extension, and is not touched.
"""

import _ctypes
import ctypes
import os
import sys
import threading
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from types import ModuleType

import numpy as np

from anytalk.synth.audio import PCM16_SCALE, Waveform
from anytalk.synth.errors import EngineError, SampleError, SetupError, near_matches
from anytalk.synth.extra import are_installed, import_extra
from anytalk.synth.fingerprint import Fingerprint
from anytalk.synth.language import format_case

from .engine import Servers, VoiceEngine, VoiceInfo, require
from .request import SpeakRequest, speak_each, voice_fingerprint
from .terms import NO_SPEAKER, Terms

TERMS = Terms("GPL-3.0-or-later", "espeak-ng, formant synthesis", NO_SPEAKER)

MODULES = ("espeakng_loader",)

LISTED = (
    "en-us",
    "en-us+f2",
    "en-us+f3",
    "en-us+m3",
    "en-us+m7",
    "en-gb",
    "en-gb+f3",
    "en-gb-scotland",
    "cmn",
    "de",
    "es",
    "fr",
    "it",
)
"""A few of espeak-ng's thousands of combinations, for listings; any LANGUAGE+VARIANT can be named."""

WORDS_PER_MINUTE = 175
"""espeak-ng's own rate, which is speed 1; tempo follows the rate within 2 %."""

SLOWEST_WORDS_PER_MINUTE = 80
"""espeak-ng goes no slower: below speed 0.46 utterances come out shorter than asked for."""

# Names and values of speak_lib.h.
AUDIO_OUTPUT_SYNCHRONOUS = 2
ESPEAK_INITIALIZE_DONT_EXIT = 0x8000
ESPEAK_CHARS_UTF8 = 1
ESPEAK_ENDPAUSE = 0x1000
"""A pause at the end: without it the sound breaks off within the last vowel, as if a word were cut."""
ESPEAK_RATE = 1
POS_CHARACTER = 1
EE_OK = 0

_CALLBACK = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.POINTER(ctypes.c_short), ctypes.c_int, ctypes.c_void_p)
_process_lock = threading.Lock()


class EspeakVoice:
    """One language of espeak-ng, in one of its timbres.

    The seed matters only to timbres with noise in them (whisper, some breathy ones); the others say a text
    always the same way.

    Args:
        spec: `LANGUAGE` or `LANGUAGE+VARIANT` in espeak-ng's names, such as `en-us`, `en-gb+f3`, `de`, `cmn`.

    Raises:
        MissingExtra: if the wheel is not installed.
        SetupError: if there is no such language or variant; the message names near ones.
    """

    terms = TERMS

    def __init__(self, spec: str) -> None:
        language, plus, variant = spec.partition("+")
        languages = language_files()
        if language not in languages:
            raise SetupError(f"espeak-ng has no language {language!r}{near_matches(language, languages)}")
        if plus and variant not in variants():
            raise SetupError(f"espeak-ng has no variant {variant!r}{near_matches(variant, variants())}")
        self.name = f"espeak:{spec}"
        self.language = format_case(language)
        # By file and not by language: espeak-ng 1.52 does not find "en-gb", which is the language of the
        # file "en".
        self._identifier = f"{languages[language]}{plus}{variant}"
        self.sample_rate_hz, _ = _synthesise(self._identifier, "", 0, WORDS_PER_MINUTE)

    @property
    def fingerprint(self) -> Fingerprint:
        """See `Voice.fingerprint`."""
        found = voice_fingerprint("espeakng-loader", library=_library_path(), data=_data_path())
        return {**found, "end": "pause"}

    def speak(self, requests: Sequence[SpeakRequest]) -> list[Waveform | SampleError]:
        """See `Voice.speak`."""
        return speak_each(requests, self._speak_one, self.sample_rate_hz)

    def _speak_one(self, text: str, seed: int, speed: float) -> Waveform:
        rate = max(SLOWEST_WORDS_PER_MINUTE, round(WORDS_PER_MINUTE * speed))
        _, pcm = _synthesise(self._identifier, text, seed, rate)
        return np.frombuffer(pcm, np.int16).astype(np.float32) / np.float32(PCM16_SCALE)


@cache
def language_files() -> dict[str, str]:
    """Every language of the installed espeak-ng: its name, and the file that defines it, such as `gmw/en-US`.

    Raises:
        MissingExtra: if the wheel is not installed.
    """
    folder = _data_path() / "lang"
    found: dict[str, str] = {}
    for path in sorted(path for path in folder.rglob("*") if path.is_file()):
        # Some files have comments in legacy encodings; names are ASCII.
        for line in path.read_text(encoding="ascii", errors="replace").splitlines():
            words = line.split()
            if len(words) > 1 and words[0] == "language":
                found.setdefault(words[1], path.relative_to(folder).as_posix())
    return found


@cache
def variants() -> frozenset[str]:
    """Every variant (timbre) of the installed espeak-ng.

    Raises:
        MissingExtra: if the wheel is not installed.
    """
    return frozenset(path.name for path in (_data_path() / "voices" / "!v").iterdir())


def _package() -> ModuleType:
    return import_extra("espeakng_loader", "espeak-ng", "espeak")


def _library_path() -> Path:
    return Path(_package().get_library_path())


def _data_path() -> Path:
    return Path(_package().get_data_path())


def _synthesise(identifier: str, text: str, seed: int, words_per_minute: int) -> tuple[int, bytes]:
    """Say one text with a fresh copy of the library: the rate in Hz, and 16-bit samples in native order."""
    pieces: list[bytes] = []

    def collect(samples: "ctypes._Pointer[ctypes.c_short]", count: int, _events: int) -> int:
        if samples and count > 0:
            pieces.append(ctypes.string_at(samples, count * ctypes.sizeof(ctypes.c_short)))
        return 0  # go on

    callback = _CALLBACK(collect)
    with _process_lock:
        library = ctypes.CDLL(str(_library_path()))
        try:
            rate_hz = library.espeak_Initialize(
                AUDIO_OUTPUT_SYNCHRONOUS, 0, os.fsencode(_data_path()), ESPEAK_INITIALIZE_DONT_EXIT
            )
            if rate_hz <= 0:
                raise EngineError(f"espeak-ng does not start with the data in {_data_path()}")
            library.espeak_SetSynthCallback(callback)
            # After espeak_Initialize, which seeds from the clock. 31 bits are what a C long has everywhere.
            library.espeak_ng_SetRandSeed(ctypes.c_long(seed % 2**31))
            _check(library.espeak_SetVoiceByName(identifier.encode()), f"set the voice {identifier}")
            _check(
                library.espeak_SetParameter(ESPEAK_RATE, words_per_minute, 0),
                f"set {words_per_minute} words/min",
            )
            _check(_synth(library, text), f"say {text[:80]!r}")
            library.espeak_Terminate()
        finally:
            _unload(library)
    return rate_hz, b"".join(pieces)


def _synth(library: ctypes.CDLL, text: str) -> int:
    content = ctypes.create_string_buffer(text.encode())
    synth = library.espeak_Synth
    # The size is a size_t, and ctypes would pass an int without this.
    synth.argtypes = [ctypes.c_char_p, ctypes.c_size_t, *4 * [ctypes.c_uint], *2 * [ctypes.c_void_p]]
    status: int = synth(content, len(content), 0, POS_CHARACTER, 0, ESPEAK_CHARS_UTF8 | ESPEAK_ENDPAUSE, None, None)
    return status


def _check(status: int, what: str) -> None:
    if status != EE_OK:
        raise EngineError(f"espeak-ng cannot {what} (status {status})")


def _unload(library: ctypes.CDLL) -> None:
    """Drop the library from the process, and its state with it."""
    if sys.platform == "win32":
        _ctypes.FreeLibrary(library._handle)
        return
    _ctypes.dlclose(library._handle)
    try:
        ctypes.CDLL(library._name, mode=os.RTLD_NOLOAD)
    except OSError:
        return
    raise EngineError(
        "espeak-ng stays loaded because something else in this process uses it, so what it says would depend "
        "on what was said before; speak with it in a process of its own"
    )


def _load(spec: str, _: Servers, __: str) -> EspeakVoice:
    require(f"espeak:{spec}", "espeak", MODULES)
    return EspeakVoice(spec)


def _language(spec: str, _: Servers) -> str:
    return format_case(spec.partition("+")[0])


def _known() -> list[VoiceInfo]:
    installed = are_installed(MODULES)
    return [
        VoiceInfo(f"espeak:{spec}", "espeak", _language(spec, {}), TERMS, installed, extra="espeak") for spec in LISTED
    ]


ENGINE = VoiceEngine(forms=("espeak:LANGUAGE", "espeak:LANGUAGE+VARIANT"), load=_load, language=_language, known=_known)
