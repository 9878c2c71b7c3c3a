"""Names and seeds that follow from content alone: no counter, no clock, no global random state."""

from .fingerprint import sha256

Part = str | int | bytes | None


def digest(*parts: Part) -> str:
    """Hash a sequence of parts, each kept apart from the next.

    Args:
        parts: text, integers, bytes or None; 1, "1" and b"1" all differ.

    Returns:
        64 hexadecimal digits of SHA-256.

    >>> digest("ab", "c") == digest("a", "bc")
    False
    """
    pieces = []
    for part in parts:
        raw = part if isinstance(part, bytes) else str(part).encode()
        pieces.append(b"%b:%d:%b" % (type(part).__name__.encode(), len(raw), raw))
    return sha256(b"".join(pieces))


def derive_seed(*parts: Part) -> int:
    """Seed of 64 bits that belongs to these parts, such as (row seed, stage, attempt)."""
    return int(digest(*parts)[:16], 16)


def row_id(
    split_name: str,
    conversation: str,
    turn: int,
    question: str,
    answer: str | None,
    audio_sha256: tuple[str | None, str | None],
    variant: int,
) -> str:
    """Name of a row: 32 hexadecimal digits that change when anything that makes it another row does.

    Args:
        split_name: label of the source.
        conversation: name of the conversation within the source.
        turn: turn within the conversation, from 0.
        question: the written question.
        answer: the written answer, if there is one.
        audio_sha256: SHA-256 of the question's and of the answer's own recording, where there is one.
        variant: which speaking of the same pair this is, from 0.
    """
    return digest(split_name, conversation, turn, question, answer, *audio_sha256, variant)[:32]
