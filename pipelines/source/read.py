"""Read any source that asks no language model: pick its reader, keep to its limit, deal the parts of a mix."""

import dataclasses
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple, TypeVar

from anytalk.pipelines.progress import Quiet, Reporter
from anytalk.pipelines.recipe import (
    Bundled,
    Chats,
    GrammarSource,
    Hub,
    LjSpeech,
    Llm,
    Mix,
    OneSource,
    Source,
    Table,
    VoiceAssistant,
)
from anytalk.synth.recording import ChannelChoice

from .attachment import Attachments
from .chat import chat_pairs
from .grammar import grammar_pairs
from .hub import hub_pairs
from .ljspeech import ljspeech_pairs
from .pair import Pair, SourceRow
from .recordings import recording_pairs
from .stamp import located
from .table import bundled_pairs, file_pairs
from .voiceassistant import voiceassistant_pairs


class Tools(NamedTuple):
    """What reading a source takes; see `read_pairs`."""

    attachments: Attachments
    progress: Reporter


def read_pairs(
    source: Source,
    attachments: Attachments | None = None,
    progress: Reporter | None = None,
) -> Iterator[SourceRow]:
    """Read a source in its order, up to its limit of conversations.

    Args:
        source: what to read.
        attachments: stores what rows hold inside a table; to be closed by whoever gave it. None for a look at the
            pairs alone: such recordings cannot be read again.
        progress: who is told of recordings that are listened to; other sources are as fast as they are read.

    Raises:
        ValueError: the source is a language model; see `llm_conversations`.
        SetupError: the source is missing, or holds no such columns.
        EngineError: a remote source broke off.
    """
    tools = Tools(attachments or Attachments(None), progress or Quiet())
    rows = _mixed(source, tools) if isinstance(source, Mix) else _reader(source, tools)
    if source.limit is None:  # The names of millions of conversations would take gigabytes.
        yield from rows
        return
    seen: set[tuple[str, str]] = set()
    for found in rows:
        if isinstance(found, Pair):
            name = (found.split_name, found.conversation)
            if name not in seen and len(seen) == source.limit:
                return
            seen.add(name)
        yield found


def _reader(source: OneSource, tools: Tools) -> Iterator[SourceRow]:
    located(source)  # What is missing is told of first.
    attachments = tools.attachments
    if isinstance(source, Bundled):
        return bundled_pairs(source, attachments)
    if isinstance(source, GrammarSource):
        return grammar_pairs(source)
    if isinstance(source, Table):
        return _with_channel(file_pairs(source, attachments), source.channel)
    if isinstance(source, Hub):
        return _with_channel(hub_pairs(source, attachments), source.channel)
    if isinstance(source, LjSpeech):
        return _with_channel(ljspeech_pairs(source), source.channel)
    if isinstance(source, Chats):
        return chat_pairs(source)
    if isinstance(source, VoiceAssistant):
        return voiceassistant_pairs(source, attachments)
    if isinstance(source, Llm):
        raise ValueError("a source of kind llm is asked, and not read")
    found = recording_pairs(source, attachments, tools.progress)
    return found if source.channel == "split" else _with_channel(found, source.channel)


def _with_channel(rows: Iterator[SourceRow], channel: ChannelChoice) -> Iterator[SourceRow]:
    """The same rows, with the channel that the recipe chooses for their recordings."""
    if channel == "auto":
        yield from rows
        return
    for row in rows:
        if not isinstance(row, Pair):
            yield row
            continue
        chosen: dict[str, Any] = {
            side: dataclasses.replace(recording, channel=channel)
            for side in ("question_recording", "answer_recording")
            if (recording := getattr(row, side)) is not None
        }
        yield dataclasses.replace(row, **chosen)


def _mixed(mix: Mix, tools: Tools) -> Iterator[SourceRow]:
    parts = [by_conversation(read_pairs(part.source, *tools)) for part in mix.parts]
    return deal(parts, [part.weight for part in mix.parts])


def by_conversation(pairs: Iterator[SourceRow]) -> Iterator[list[SourceRow]]:
    """Gather neighbouring turns of a conversation; rows that are no pairs stay with what came before them."""
    group: list[SourceRow] = []
    name: tuple[str, str] | None = None
    for found in pairs:
        if isinstance(found, Pair) and (found.split_name, found.conversation) != name:
            if name is not None:
                yield group
                group = []
            name = (found.split_name, found.conversation)
        group.append(found)
    if group:
        yield group


Row = TypeVar("Row")


def deal(parts: Sequence[Iterator[Sequence[Row]]], weights: Sequence[float]) -> Iterator[Row]:
    """Deal conversations from several sources so that at any point each has had its share.

    The next one comes from whichever source would then be least ahead of its weight, the first of equals. A source that
    has run out leaves its turns to the others.
    """
    dealt, left = [0] * len(parts), list(range(len(parts)))
    while left:
        place = min(left, key=lambda place: ((dealt[place] + 1) / weights[place], place))
        group = next(parts[place], None)
        if group is None:
            left.remove(place)
            continue
        dealt[place] += 1
        yield from group
