"""`messages`: chats with `audios`, for finetuning audio language models with ms-swift or LLaMA-Factory.

Source: the custom datasets of https://github.com/modelscope/ms-swift and the multimodal audio datasets of
https://github.com/hiyouga/LLaMA-Factory (`data/README.md`): as many paths in `audios` as `<audio>` in the messages.
"""

import dataclasses
import json
from collections.abc import Iterator, Sequence
from typing import Any

from anytalk.pipelines.dataset import Store

from .format import File, Format, LeaveOut, Part, Row, Source, TextForm, measure_columns, measures_of, text_of

ROLES = {"role_tag": "role", "content_tag": "content", "user_tag": "user", "assistant_tag": "assistant"}


@dataclasses.dataclass(frozen=True)
class Messages(Format):
    """See the top of this file.

    Args:
        system: content of a system message at the start of every chat; None for no such message.
        prompt: text after `<audio>` in every question, such as an instruction.
        answer_audio: write the answers' recordings, too, and name them in `answer_audios`.
        text: which text the answers have.
    """

    system: str | None = None
    prompt: str = ""
    answer_audio: bool = False
    text: TextForm = "written"

    name = "messages"
    task_categories = ("audio-text-to-text", "question-answering")

    def files(self, part: Part, source: Source, leave_out: LeaveOut) -> Iterator[File]:
        """The recordings, then the chats that name them."""
        chats: list[dict[str, Any]] = []
        audio = ["question_audio", *(["answer_audio"] if self.answer_audio else [])]
        columns = ["answer", "answer_written", "language", *audio, *measure_columns()]
        for turns in source.conversations(part, columns, leave_out):
            whole: list[Row] = []
            for place, row in enumerate(turns):
                missing = next((name for name in ("answer", *audio) if not row[name]), None)
                if missing or len(whole) < place:
                    leave_out(row, *_reason(missing))
                    continue
                whole.append(row)
                yield from ((_path(row, name), row[name]["bytes"]) for name in audio)
            if whole:
                chats.append(self._chat(whole))
        if chats:
            lines = "".join(json.dumps(chat, ensure_ascii=False) + "\n" for chat in chats)
            yield f"{part.split}/{part.name}.jsonl", lines.encode()

    def closing(self, parts: Sequence[Part], written: Store) -> Iterator[File]:
        """What LLaMA-Factory wants to know of a folder of chats."""
        columns = {"messages": "messages", "audios": "audios"}
        tags = ROLES | ({"system_tag": "system"} if self.system else {})
        found = {
            f"anytalk_{split}": {"file_name": split, "formatting": "sharegpt", "columns": columns, "tags": tags}
            for split in dict.fromkeys(part.split for part in parts)
        }
        yield "dataset_info.json", (json.dumps(found, indent=2) + "\n").encode()

    def data_files(self, splits: Sequence[str]) -> dict[str, dict[str, str]]:
        """See `Format.data_files`."""
        return {"default": {split: f"{split}/*.jsonl" for split in splits}}

    def notes(self) -> str:
        """See `Format.notes`."""
        return (
            "A line is a chat: `messages`, and in `audios` the path of each `<audio>`, relative to this folder. "
            "Run ms-swift here; give LLaMA-Factory this folder as `dataset_dir` and `media_dir`."
        )

    def _chat(self, turns: Sequence[Row]) -> dict[str, Any]:
        messages = [{"role": "system", "content": self.system}] if self.system else []
        for row in turns:
            messages.append({"role": "user", "content": f"<audio>{self.prompt}"})
            messages.append({"role": "assistant", "content": text_of(row, "answer", self.text) or ""})
        chat: dict[str, Any] = {"messages": messages, "audios": [_path(row, "question_audio") for row in turns]}
        if self.answer_audio:
            chat["answer_audios"] = [_path(row, "answer_audio") for row in turns]
        measures = [measures_of(row) for row in turns]
        return chat | {"ids": [row["id"] for row in turns], "measures": json.dumps(measures)}


def _path(row: Row, name: str) -> str:
    return f"audio/{row['id'][:2]}/{row['id']}-{name.removesuffix('_audio')}.flac"


def _reason(missing: str | None) -> tuple[str, str]:
    if missing is None:
        return "missing_turn", "a turn before it was left out"
    return ("no_text" if missing == "answer" else "no_audio"), f"the row has no {missing}"
