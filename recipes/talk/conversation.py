"""What was said so far: earlier turns for a model that learned to answer with them, and what it has read of them."""

from collections.abc import Sequence
from dataclasses import dataclass, field

from torch import Tensor

from anytalk.model import Layout, Prefix, Request, Turn
from anytalk.synth.errors import SampleError


@dataclass(eq=False)
class Conversation:
    """What was said so far, a turn at a time.

    Args:
        context_turns: most earlier turns that a question gets, as many as the model was trained with: its
            `config.context_turns`. With 0 each question stands alone.
    """

    context_turns: int = 0
    turns: list[Turn] = field(default_factory=list)
    features: list[Tensor] = field(default_factory=list)
    """Of the spoken questions among the turns, in order."""
    prefix: Prefix | None = None
    """What the model has read of it, which is not read again."""

    def remember(
        self, request: Request, text: Sequence[int], frames: Sequence[tuple[int, ...]], prefix: Prefix | None
    ) -> None:
        """Take a turn that was answered, and let go of what is too old.

        Args:
            request: what `ask` gave.
            text: of the answer.
            frames: of the answer, with a code for each layer.
            prefix: what the model has read, the answer included.
        """
        if not self.context_turns:
            return
        asked = request.turns[-1]
        codes = [*frames] if asked.task.speaks else []
        self.turns.append(Turn(asked.task, asked.positions, asked.question, [*text], codes))
        self.features += request.features[len(self.features) :]
        self.prefix = prefix
        while len(self.turns) > self.context_turns:
            self.forget_first()

    def forget_first(self) -> None:
        """Let go of the oldest turn; what was read began with it, and is read again."""
        if self.turns.pop(0).task.hears:
            self.features.pop(0)

    def truncate(self, frames: int) -> None:
        """Keep so many codec frames of the last answer: the rest was not heard."""
        if self.turns:
            last = self.turns[-1]
            self.turns[-1] = Turn(last.task, last.positions, last.question, last.answer, last.codes[:frames])


def ask(
    turn: Turn,
    features: Sequence[Tensor],
    before: Conversation | None,
    layout: Layout,
    *,
    max_positions: int,
    seed: int = 0,
    max_frames: int | None = None,
) -> Request:
    """Lay a question out, after as much of its conversation as leaves half of the positions for the rest.

    Args:
        turn: the question.
        features: its own, where it is spoken.
        before: what was said before; forgets turns that find no room.
        layout: the model's.
        max_positions: the model's.
        seed: see `Request`.
        max_frames: see `Request`.

    Raises:
        SampleError: the question leaves no room for an answer.
    """
    room = max_positions - layout.prompt_length(turn)
    if room < 1:
        raise SampleError(
            "too_long", f"the question takes {layout.prompt_length(turn)} of the model's {max_positions} positions"
        )
    while before and before.turns and _positions(layout, before.turns) > room // 2:
        before.forget_first()
    turns, earlier = (before.turns, before.features) if before else ([], [])
    return Request([*turns, turn], [*earlier, *features], seed, max_frames)


def _positions(layout: Layout, turns: Sequence[Turn]) -> int:
    prompts = (layout.prompt_length(turn, is_first=index == 0) for index, turn in enumerate(turns))
    return sum(prompts) + sum(map(layout.answer_length, turns))
