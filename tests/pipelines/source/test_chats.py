"""Chats as they are published: every message is in a row, or is a reject with its reason and place."""

import csv
import json

import datasets
import pytest
from pydantic import TypeAdapter

from anytalk.pipelines.recipe import Source
from anytalk.pipelines.source import BadPair, Pair, read_pairs
from anytalk.synth.errors import SetupError

LEGS = ("How many legs does a spider have?", "A spider has eight legs.")
CAT = ("And a cat?", "A cat has four legs.")


def read(kind, path, **more):
    return list(read_pairs(TypeAdapter(Source).validate_python({"kind": kind, "path": str(path), **more})))


def written(folder, name, rows):
    path = folder / name
    # As Alpaca and ShareGPT are published: one array over many lines; the others are JSON lines.
    array = json.dumps(rows, indent=4, ensure_ascii=False)
    path.write_text(array if path.suffix == ".json" else "\n".join(map(json.dumps, rows)))
    return path


def turns(rows):
    return [(row.conversation, row.turn, row.question, row.answer) for row in rows if isinstance(row, Pair)]


def rejects(rows):
    return [(row.source, row.reason) for row in rows if isinstance(row, BadPair)]


def messages(*contents, roles=("user", "assistant")):
    return [{"role": roles[place % 2], "content": content} for place, content in enumerate(contents)]


def test_sharegpt_is_turns_of_conversations(tmp_path):
    chat = [{"from": ("human", "gpt")[place % 2], "value": text} for place, text in enumerate((*LEGS, *CAT))]
    path = written(tmp_path, "sharegpt.json", [{"id": "QWJhYvA_0", "conversations": chat}])
    rows = read("sharegpt", path)
    assert turns(rows) == [("QWJhYvA_0", 0, *LEGS), ("QWJhYvA_0", 1, *CAT)]
    assert [row.source for row in rows] == ["sharegpt.json#1 turn 0", "sharegpt.json#1 turn 2"]


def test_openai_messages_may_have_parts_and_a_system_text_is_a_reject_once(tmp_path):
    system = {"role": "system", "content": "Be short."}
    asked = {"role": "user", "content": [{"type": "text", "text": "And"}, {"type": "text", "text": "a cat?"}]}
    first = {"messages": [system, *messages(*LEGS), asked, {"role": "assistant", "content": CAT[1]}]}
    rows = read("messages", written(tmp_path, "chats.jsonl", [first, {"messages": [system, *messages(*CAT)]}]))
    assert [turn[1:] for turn in turns(rows)] == [(0, *LEGS), (1, *CAT), (0, *CAT)]
    assert rejects(rows) == [("chats.jsonl:1 turn 0", "system_text")]
    assert "'Be short.'" in rows[0].detail


def test_ultrachat_is_a_list_of_texts(tmp_path):
    path = written(tmp_path, "ultrachat.jsonl", [{"id": "0", "data": [*LEGS, *CAT]}, {"id": "1", "data": [*LEGS, "?"]}])
    rows = read("ultrachat", path)
    assert turns(rows) == [("0", 0, *LEGS), ("0", 1, *CAT), ("1", 0, *LEGS)]
    assert rejects(rows) == [("ultrachat.jsonl:2 turn 2", "unanswered_question")]


def test_alpaca_with_input_system_and_history_loses_nothing(tmp_path):
    published = [
        {"instruction": "Identify the odd one out.", "input": "Twitter, Instagram, Telegram", "output": "Telegram"},
        {"instruction": "Rewrite the sentence", "input": "She slept.", "output": "She was asleep."},
        {"instruction": "Give three tips.", "input": "", "output": "Eat, sleep, walk."},
        {"instruction": "And a cat?", "output": CAT[1], "system": "Be short.", "history": [list(LEGS)]},
    ]
    rows = read("alpaca", written(tmp_path, "alpaca_data.json", published))
    assert [turn[1:] for turn in turns(rows)] == [
        (0, "Identify the odd one out. Twitter, Instagram, Telegram", "Telegram"),
        (0, "Rewrite the sentence: She slept.", "She was asleep."),
        (0, "Give three tips.", "Eat, sleep, walk."),
        (0, *LEGS),
        (1, *CAT),
    ]
    assert rejects(rows) == [("alpaca_data.json#4", "system_text")]


BAD_CHATS = {
    "tool_turn": {"messages": [*messages("Add."), {"role": "assistant", "content": None, "tool_calls": [{"id": "1"}]}]},
    "unknown_role": {"messages": messages(*LEGS, roles=("user", "narrator"))},
    "not_text": {"messages": messages([{"type": "image_url", "image_url": {"url": "x"}}], "A cat.")},
    "empty_chat": {"messages": []},
    "malformed_row": {"messages": [{"role": "user"}]},
    "unasked_answer": {"messages": messages("Hello.", roles=("assistant", "user"))},
    "unknown_language": {"messages": messages(*LEGS), "language": "english"},
}


@pytest.mark.parametrize("reason", BAD_CHATS)
def test_a_chat_that_cannot_be_spoken_is_a_reject_and_the_next_one_a_row(tmp_path, reason):
    path = written(tmp_path, "chats.jsonl", [{"messages": messages(*CAT)}, BAD_CHATS[reason]])
    rows = read("messages", path)
    assert [turn[2:] for turn in turns(rows)] == [CAT]
    assert [found for _, found in rejects(rows)] == [reason]


def test_what_somebody_says_in_several_messages_is_said_at_once(tmp_path):
    said = [{"role": "user", "content": "Hello."}, *messages(*LEGS), {"role": "assistant", "content": "Yes, eight."}]
    [row] = read("messages", written(tmp_path, "chats.jsonl", [{"messages": said}]))
    assert (row.question, row.answer) == (f"Hello. {LEGS[0]}", f"{LEGS[1]} Yes, eight.")


def test_chats_of_one_name_are_chats_of_their_own(tmp_path):
    chats = [("c", LEGS), ("c", CAT), ("c", CAT), ("d", LEGS)]
    path = written(tmp_path, "chats.jsonl", [{"id": name, "messages": messages(*said)} for name, said in chats])
    names = [row.conversation for row in read("messages", path)]
    assert names[0] == "c"
    assert names[1] == names[2] != "c", "the same chat once more is a repeat, another one is not"
    assert names[1].startswith("c ")
    assert names[3] == "d"


@pytest.mark.parametrize("kind", ["messages", "sharegpt"])
def test_a_csv_file_holds_chats_as_json(tmp_path, kind):
    said = messages(*LEGS) if kind == "messages" else [{"from": "human", "value": "?"}, {"from": "gpt", "value": "!"}]
    column = {"messages": "messages", "sharegpt": "conversations"}[kind]
    path = tmp_path / "chats.csv"
    with path.open("w", newline="") as file:
        csv.writer(file).writerows([["id", column], ["a", json.dumps(said)], ["b", "[broken"]])
    good, bad = read(kind, path)
    assert (good.conversation, good.question) == ("a", LEGS[0] if kind == "messages" else "?")
    assert bad.reason == "malformed_row"
    with pytest.raises(SetupError, match=f"kind: {kind}, path: .*chats.csv"):
        read("csv", path)


def test_a_local_copy_of_a_hub_dataset_is_read(tmp_path):
    rows = [{"prompt_id": "p1", "messages": messages(*LEGS, *CAT)}]
    datasets.Dataset.from_list(rows).to_parquet(str(tmp_path / "train.parquet"))
    source = {"kind": "messages", "dataset": str(tmp_path / "train.parquet"), "columns": {"conversation": "prompt_id"}}
    found = read_pairs(TypeAdapter(Source).validate_python(source))
    assert turns(found) == [("p1", 0, *LEGS), ("p1", 1, *CAT)]


@pytest.mark.parametrize(
    ("kind", "row", "wanted"),
    [
        ("jsonl", {"messages": messages(*LEGS)}, "kind: messages, path: PATH}"),
        ("jsonl", {"id": "1", "conversations": [{"from": "human", "value": "?"}]}, "kind: sharegpt, path: PATH}"),
        ("jsonl", {"instruction": "Say hello.", "input": "", "output": "Hello."}, "kind: alpaca, path: PATH}"),
        ("sharegpt", {"messages": messages(*LEGS)}, "kind: messages, path: PATH}"),
        (
            "sharegpt",
            {"conversations": messages(*LEGS)},
            "kind: messages, path: PATH, columns: {turns: conversations}}",
        ),
        ("messages", {"data": [*LEGS]}, "kind: ultrachat, path: PATH}"),
        ("alpaca", {"question": "?", "answer": "!"}, "it is a table of pairs: --set source=PATH"),
        ("ultrachat", {"said": 1}, "name the column of the turns with --set source.columns.turns=..."),
    ],
)
def test_a_wrong_guess_of_the_kind_is_one_line_that_names_the_right_one(tmp_path, kind, row, wanted):
    path = written(tmp_path, "chats.jsonl", [row])
    with pytest.raises(SetupError) as error:
        read(kind, path)
    [line] = str(error.value).splitlines()
    assert wanted.replace("PATH", str(path)) in line
