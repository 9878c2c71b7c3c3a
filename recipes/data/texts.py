"""Pairs that are text alone: from a table or from the hub, for the tasks that neither hear nor speak."""

from dataclasses import dataclass, field

from anytalk.pipelines.recipe import Hub, Table
from anytalk.pipelines.source import Pair, read_pairs
from anytalk.synth.errors import SetupError
from anytalk.synth.seed import digest

TextSource = Table | Hub


@dataclass
class TextPairs:
    """Pairs of one source, in its order."""

    ids: list[str] = field(default_factory=list)
    """Hash of each pair's texts and place in its conversation."""
    questions: list[str] = field(default_factory=list)
    answers: list[str] = field(default_factory=list)
    turns: list[tuple[str, str, int, int]] = field(default_factory=list)
    """Split name, conversation, variant 0, and turn of each."""
    left_out: int = 0
    """Rows of the source without a question or an answer, and those that cannot be read."""

    def drop_text(self) -> None:
        """Forget what is not needed once it is tokens."""
        self.questions, self.answers, self.turns = [], [], []


def read_texts(source: TextSource) -> TextPairs:
    """Read all pairs of a source. Recordings that it may hold are not read.

    Raises:
        SetupError: the source is missing, holds no such columns, or no pair.
        EngineError: a remote source broke off.
    """
    found = TextPairs()
    without_sound = source.columns.model_copy(update={"question_audio": "", "answer_audio": ""})
    for pair in read_pairs(source.model_copy(update={"columns": without_sound})):
        if not isinstance(pair, Pair) or not pair.question or not pair.answer:
            found.left_out += 1
            continue
        found.ids.append(digest(pair.conversation, str(pair.turn), pair.question, pair.answer)[:32])
        found.questions.append(pair.question)
        found.answers.append(pair.answer)
        found.turns.append((pair.split_name, pair.conversation, 0, pair.turn))
    if not found.ids:
        name = source.dataset if isinstance(source, Hub) else source.path
        raise SetupError(f"data.texts: {name} holds no pair with a question and an answer")
    return found
