"""Pairs that are text alone: from a table, the hub or a grammar, for the tasks that neither hear nor speak."""

from collections.abc import Iterator
from dataclasses import dataclass, field

from anytalk.pipelines.plan import in_spoken_form, split_share
from anytalk.pipelines.recipe import Clean, GrammarSource, Hub, Table
from anytalk.pipelines.source import Pair, read_pairs
from anytalk.synth.errors import SetupError
from anytalk.synth.seed import digest


@dataclass(frozen=True)
class TextSource:
    """Where pairs come from, and which of them are left out."""

    source: Table | Hub | GrammarSource
    held_out: float = 0.0
    """Share of the conversations that is left out: those that a dataset's recipe with this `split.test` would test."""

    @property
    def name(self) -> str:
        """What a message calls it."""
        return self.source.dataset if isinstance(self.source, Hub) else self.source.path


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


def read_texts(texts: TextSource) -> TextPairs:
    """Read all pairs of a source. Recordings that it may hold are not read; a grammar's numbers become words.

    Raises:
        SetupError: the source is missing, holds no such columns, or no pair.
        EngineError: a remote source broke off.
    """
    found = TextPairs()
    for pair in _pairs(texts.source):
        if not isinstance(pair, Pair) or not pair.question or not pair.answer:
            found.left_out += 1
            continue
        if split_share(pair) < texts.held_out:
            continue
        found.ids.append(digest(pair.conversation, str(pair.turn), pair.question, pair.answer)[:32])
        found.questions.append(pair.question)
        found.answers.append(pair.answer)
        found.turns.append((pair.split_name, pair.conversation, 0, pair.turn))
    if not found.ids:
        raise SetupError(f"data.texts: {texts.name} holds no pair with a question and an answer")
    return found


def _pairs(source: Table | Hub | GrammarSource) -> Iterator[object]:
    if isinstance(source, GrammarSource):
        for pair in read_pairs(source):
            yield in_spoken_form(pair, Clean()) if isinstance(pair, Pair) else pair
    else:
        without_sound = source.columns.model_copy(update={"question_audio": "", "answer_audio": ""})
        yield from read_pairs(source.model_copy(update={"columns": without_sound}))
