"""Chats as language models are trained on them: every message is in a row, or is a reject with its reason.

The forms: `messages` is OpenAI's (https://platform.openai.com/docs/guides/supervised-fine-tuning), `sharegpt` that of
ShareGPT (https://github.com/lm-sys/FastChat/blob/main/docs/training.md), `ultrachat` a list of what both said in turn
(https://huggingface.co/datasets/openbmb/UltraChat), `alpaca` Stanford's
(https://github.com/tatsu-lab/stanford_alpaca), with the `system` and `history` of LLaMA-Factory.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

from anytalk.pipelines.dataset import local_file
from anytalk.pipelines.recipe import TABLE_SUFFIXES, Chats, Hub
from anytalk.synth.errors import SampleError, SetupError
from anytalk.synth.remote import name_of
from anytalk.synth.seed import digest

from .hub import hub_rows
from .pair import BadPair, Pair
from .rows import CHAT_COLUMNS, Row, as_flow, chat_kind, column_names, table_rows, turns_in
from .table import ROW_ERRORS, language_in, text_in, with_input

ROLES = {
    "user": "question",
    "human": "question",
    "assistant": "answer",
    "gpt": "answer",
    "chatgpt": "answer",
    "bard": "answer",
    "bing": "answer",
    "model": "answer",
    "system": "system",
    "developer": "system",
}
"""What a message is, by the names that published sets have for who said it."""


class Message(NamedTuple):
    """What was said at once, and by whom."""

    role: str
    text: str
    place: str


def chat_pairs(source: Chats) -> Iterator[Pair | BadPair]:
    """Read chats: each question with its answer is a turn.

    A system text is not spoken: each is among the rejects once, where it stands first. A chat with tools, pictures or
    unknown roles is rejected whole, as its other turns would be out of place without them.

    Raises:
        SetupError: there are no chats, or they are of another kind.
        EngineError: the stream broke off.
    """
    name, rows = _rows_of(source)
    place, checked = None, False
    told, named = set[str](), set[int]()
    for place, row in rows:
        if isinstance(row, BadPair):
            yield row
            continue
        if not checked:
            _check_kind(source, row, name)
            checked = True
        try:
            found = _own_name(list(_turns(source, row, name, place)), named)
        except SampleError as error:
            yield BadPair(error.reason, error.detail, place)
        except ROW_ERRORS as error:
            yield BadPair("malformed_row", " ".join(str(error).split())[:300], place)
        else:
            for one in found:
                if isinstance(one, BadPair) and one.reason == "system_text":
                    if one.detail in told:
                        continue
                    told.add(one.detail)
                yield one
    if place is None:
        raise SetupError(f"source: {source.path or source.dataset} holds no rows")


def _own_name(turns: list[Pair | BadPair], named: set[int]) -> list[Pair | BadPair]:
    """Name a chat anew whose name another chat has: sets that were put together count from the beginning again."""
    first = next((turn for turn in turns if isinstance(turn, Pair)), None)
    if first is None:
        return turns
    name = int(digest(first.split_name, first.conversation)[:16], 16)  # Some 70 bytes a chat; texts would be more.
    if name not in named:
        named.add(name)
        return turns
    said = (text for turn in turns if isinstance(turn, Pair) for text in (turn.question, turn.answer))
    own = f"{first.conversation} {digest(*said)[:8]}"
    return [replace(turn, conversation=own) if isinstance(turn, Pair) else turn for turn in turns]


def _rows_of(source: Chats) -> tuple[str, Iterator[Row]]:
    if source.dataset is not None:
        keys = ("dataset", "config", "split", "revision")
        hub = Hub(kind="hub", **{key: getattr(source, key) for key in keys})
        return source.dataset.rstrip("/").rpartition("/")[2], hub_rows(hub)
    name, is_folder = name_of(source.path or ""), Path(source.path or "").is_dir()
    if is_folder or name.suffix.lower() not in TABLE_SUFFIXES:
        folder = "; a folder of such files is named by dataset instead of path" if is_folder else ""
        raise SetupError(f"source.path: {source.path} is no table of chats ({', '.join(TABLE_SUFFIXES)}){folder}")
    return name.stem, _rows_of_file(source.path or "", TABLE_SUFFIXES[name.suffix.lower()])


def _rows_of_file(place: str, kind: str) -> Iterator[Row]:
    with local_file(place) as path:
        yield from table_rows(path, kind)


def _column(source: Chats) -> str:
    return source.columns.turns or CHAT_COLUMNS[source.kind]


def _check_kind(source: Chats, row: Mapping[str, Any], name: str) -> None:
    """Refuse chats of another kind, and name it.

    Raises:
        SetupError: they are.
    """
    found = chat_kind(row)
    if source.kind == "alpaca":
        fits = {"instruction", "output"} <= row.keys()
    else:
        # One's own column may hold a first chat that is damaged: that is a row's fault.
        fits = _column(source) in row and (found is None or found["kind"] == source.kind)
    if fits:
        return
    wanted = "columns 'instruction' and 'output'" if source.kind == "alpaca" else f"turns in {_column(source)!r}"
    missing = f"source.kind: {name} is not {source.kind}, which has {wanted}; it has: {column_names(row)}"
    place = {"path": source.path} if source.path else {"dataset": source.dataset}
    if found is not None:
        keys = {"kind": found["kind"], **place, **found}
        raise SetupError(f"{missing}; it is of the kind {found['kind']}: --set 'source={as_flow(keys)}'")
    if {"question", "answer"} <= row.keys():
        raise SetupError(f"{missing}; it is a table of pairs: --set source={source.path or '...'}")
    raise SetupError(f"{missing}; name the column of the turns with --set source.columns.turns=...")


def _turns(source: Chats, row: Mapping[str, Any], name: str, place: str) -> Iterator[Pair | BadPair]:
    """Pairs of one chat, and a reject for each message that is in none.

    Raises:
        SampleError: the whole chat cannot be spoken.
        ValueError: it is malformed.
    """
    messages = list(_alpaca_messages(row, place) if source.kind == "alpaca" else _messages(source, row, place))
    if row.get("tools"):
        raise SampleError("tool_turn", "the chat has tools to call")
    for text in filter(None, (text_in(row, "system"),)):
        yield _system(text, place)
    yield from (_system(message.text, message.place) for message in messages if message.role == "system")
    said = _joined([message for message in messages if message.role != "system"])
    if not any(message.text for message in said):
        raise SampleError("empty_chat", "nobody says anything in it")
    if said[0].role == "answer":
        yield BadPair("unasked_answer", f"no question comes before it: {said[0].text[:60]!r}", said[0].place)
        said = said[1:]
    if said and said[-1].role == "question":
        yield BadPair("unanswered_question", f"no answer follows: {said[-1].text[:60]!r}", said[-1].place)
        said = said[:-1]
    columns = source.columns
    conversation = text_in(row, columns.conversation) or digest(*(message.text for message in said))[:16]
    for turn, (question, answer) in enumerate(zip(said[::2], said[1::2], strict=True)):
        yield Pair(
            split_name=text_in(row, columns.split_name) or source.split_name or name,
            conversation=conversation,
            turn=turn,
            question=question.text,
            answer=answer.text,
            language=language_in(row, columns.language) or source.language,
            source=question.place,
        )


def _system(text: str, place: str) -> BadPair:
    return BadPair("system_text", f"a system text is not spoken: {text[:200]!r}", place)


def _joined(messages: Sequence[Message]) -> list[Message]:
    """Messages of which no two neighbours are of one role: what somebody says in several is said at once."""
    found: list[Message] = []
    for message in messages:
        if found and found[-1].role == message.role:
            found[-1] = found[-1]._replace(text=f"{found[-1].text} {message.text}")
        else:
            found.append(message)
    return found


def _messages(source: Chats, row: Mapping[str, Any], place: str) -> Iterator[Message]:
    turns = turns_in(row.get(_column(source)))
    if not isinstance(turns, list | tuple):
        raise ValueError(f"column {_column(source)!r} holds {type(turns).__name__}, not a list of turns")
    for number, turn in enumerate(turns):
        where = f"{place} turn {number}"
        if source.kind == "ultrachat":
            yield Message(("question", "answer")[number % 2], _text(turn), where)
            continue
        if not isinstance(turn, Mapping):
            raise ValueError(f"turn {number} is {type(turn).__name__}, not a mapping")
        who, what = ("role", "content") if source.kind == "messages" else ("from", "value")
        if who not in turn or what not in turn:
            raise ValueError(f"turn {number} lacks {who!r} or {what!r}; it has: {column_names(turn)}")
        role = ROLES.get(str(turn[who]).lower())
        if turn.get("tool_calls") or turn.get("function_call") or role is None:
            reason = "tool_turn" if role or turn[who] in _TOOLS else "unknown_role"
            raise SampleError(reason, f"turn {number} is of {str(turn[who])[:40]!r}")
        yield Message(role, _text(turn[what]), where)


_TOOLS = {
    "tool",
    "function",
    "function_call",
    "function_response",
    "observation",
    "tool_call",
    "tool_response",
    "ipython",
}


def _text(content: Any) -> str:
    """Text of a message: a text, or a list of parts of which each is a text.

    Raises:
        SampleError: `not_text`, for a picture or a sound.
    """
    if isinstance(content, list | tuple):
        for part in content:
            if isinstance(part, Mapping) and part.get("type", "text") not in ("text", "input_text", "output_text"):
                raise SampleError("not_text", f"a part of a message is {str(part['type'])[:40]!r}")
        parts = [part.get("text") if isinstance(part, Mapping) else part for part in content]
        return " ".join(filter(None, (text_in({"content": part}, "content") for part in parts)))
    return text_in({"content": content}, "content") or ""


def _alpaca_messages(row: Mapping[str, Any], place: str) -> Iterator[Message]:
    for number, earlier in enumerate(row.get("history") or ()):
        if not isinstance(earlier, list | tuple) or len(earlier) != 2:
            raise ValueError("'history' holds something else than pairs of a question and an answer")
        for role, text in zip(("question", "answer"), earlier, strict=True):
            yield Message(role, _text(text), f"{place} history {number}")
    instruction, more = text_in(row, "instruction") or "", text_in(row, "input")
    yield Message("question", with_input(instruction, more) if more else instruction, place)
    yield Message("answer", text_in(row, "output") or "", place)
