"""Text normalisation by NeMo's grammars: weighted transducers for 16 languages, Chinese and Hindi among them.

Source: https://github.com/NVIDIA/NeMo-text-processing (nemo-text-processing 1.2.0, Apache-2.0). They are compiled when
they are loaded, which takes a minute or more of one core; from a cache they are read the next time.
"""

from pathlib import Path

from anytalk.synth.errors import SetupError
from anytalk.synth.extra import import_extra
from anytalk.synth.language import primary

from .letterform import unified

LANGUAGES = frozenset(["ar", "de", "en", "es", "fr", "hi", "hu", "hy", "it", "ja", "ko", "pt", "rw", "sv", "vi", "zh"])
"""Russian is not among them: its grammars only give several readings at once."""


class NemoNormaliser:
    """Write texts out with NeMo's grammars.

    Args:
        language: BCP-47 tag; the region is not used.
        cache: folder to keep the compiled grammars in.

    Raises:
        MissingExtra: if nemo-text-processing is not installed.
        SetupError: if there are no grammars for the language.
    """

    extra = "nemo"

    def __init__(self, language: str, cache: str | Path | None = None) -> None:
        code = primary(language)
        if code not in LANGUAGES:
            raise SetupError(
                f"NeMo has no grammars to write out {language!r}; it has: {', '.join(sorted(LANGUAGES))}; "
                "use the engine rules or none"
            )
        module = import_extra(
            "nemo_text_processing.text_normalization.normalize", "NeMo's text normalisation", self.extra
        )
        self._normaliser = module.Normalizer("cased", lang=code, cache_dir=str(cache) if cache else None)

    def __call__(self, text: str) -> str:
        """Write a text out as it is said."""
        return str(self._normaliser.normalize(unified(text), punct_post_process=True))
