"""On what terms a voice may be used: its licence, where it comes from, and whether its speaker agreed."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from anytalk.synth.errors import SetupError


@dataclass(frozen=True)
class Terms:
    """Terms of a voice, as far as they are known.

    Attributes:
        licence: SPDX expression, or a sentence where there is none; None if nobody has said it.
        source: where the voice comes from: a project, a model card, recordings.
        consent: what is known of the speaker's consent to a synthetic voice.
    """

    licence: str | None = None
    source: str = ""
    consent: str = ""

    def with_engine(self, licence: str) -> "Terms":
        """The same terms, naming the engine's licence beside the voice's; unknown terms stay unknown."""
        if self.licence is None:
            return self
        return Terms(f"{self.licence} (voice), {licence} (engine)", self.source, self.consent)


UNKNOWN = Terms()
NO_SPEAKER = "no recorded speaker"

KOKORO = Terms(
    "Apache-2.0",
    "Kokoro-82M, https://huggingface.co/hexgrad/Kokoro-82M",
    "its model card: trained on public-domain, permissively licensed and synthetic speech; no speaker is named",
)


def refuse_unknown(terms: Mapping[str, Terms], allowed: Iterable[str]) -> None:
    """Raise for voices whose terms nobody has said.

    Args:
        terms: of each voice, by its name.
        allowed: names of the voices that may be used all the same.

    Raises:
        SetupError: there are such voices; one line for each.
    """
    unknown = [name for name, found in terms.items() if found.licence is None and name not in set(allowed)]
    if unknown:
        raise SetupError(
            "\n".join(
                f"the terms of the voice {name} are not known; say them (terms: {{licence: ..., source: ..., "
                f"consent: ...}}), or name it under voices.allow_unknown_terms"
                for name in unknown
            )
        )
