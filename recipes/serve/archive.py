"""What was said, written where the user of `--save` wants it: a folder a turn, with question and answer."""

import itertools
import time
from pathlib import Path

import soundfile

from anytalk.recipes.talk import pcm16
from anytalk.synth.audio import Waveform
from anytalk.synth.errors import SetupError

from .sound import HEARING_RATE_HZ, RATE_HZ


class Archive:
    """Writes turns into a folder.

    Args:
        folder: made if it is not there.

    Raises:
        SetupError: it cannot be made.
    """

    def __init__(self, folder: Path) -> None:
        self._folder, self._numbers = folder, itertools.count()
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise SetupError(f"--save {folder} cannot be made: {error.strerror}") from error

    def save(self, question: Waveform | str, text: str, sound: Waveform) -> None:
        """Write a turn: question.wav or question.txt, answer.txt, and answer.wav where it was spoken."""
        turn = self._folder / f"{time.strftime('%Y%m%d-%H%M%S')}-{next(self._numbers):04d}"
        unfinished = turn.with_name(f".{turn.name}")
        unfinished.mkdir()
        if isinstance(question, str):
            (unfinished / "question.txt").write_text(question, encoding="utf-8")
        else:
            soundfile.write(unfinished / "question.wav", pcm16(question), HEARING_RATE_HZ, subtype="PCM_16")
        (unfinished / "answer.txt").write_text(text, encoding="utf-8")
        if len(sound):
            soundfile.write(unfinished / "answer.wav", pcm16(sound), RATE_HZ, subtype="PCM_16")
        unfinished.rename(turn)
