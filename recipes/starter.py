"""A recipe to begin with: four answers, written out with comments on what else can be said."""

import os
from pathlib import Path
from typing import Any

from anytalk.pipelines.recipe import TABLE_SUFFIXES, Recipe, load_recipe
from anytalk.pipelines.source import HUB_ID, as_flow, chat_kind, guessed_columns, source_in, table_rows
from anytalk.synth.errors import SetupError
from anytalk.synth.voice import check_engine

TEMPLATE = """\
# A dataset recipe of anytalk. Every key: docs/recipes.md.
#   anytalk plan {path}                what it will take
#   anytalk build {path} --preview 8   eight rows of it, to listen to
#   anytalk build {path}               all of it; the same command goes on after an interruption
name: {name}
seed: 1                             # all randomness follows from it and from the rows

# Where pairs come from. A mix of several is a list; limit: 100 reads only the first hundred conversations.
source: {source}

# What is kept, and in which split a conversation is (by a hash of its name).
clean: {{max_question_characters: 400, max_answer_characters: 1200}}
# dedup: true                       # reject near-duplicates
split: {{validation: 0.02, test: 0.0}}

voices:
  variants: 1                       # rows per pair, each in other voices
  question:                         # drawn by weight, at a speed of the range
{questions}
  answer: {answer}

# What an utterance must reach, and how often it is spoken again if it does not.
check:
  attempts: 4
  question: {{max_wer: 0.2}}          # word error rate of what a recogniser hears
  answer: {{max_wer: 0.15}}

codec: {{model: bundled}}             # for datasets that you publish: hubertsiuzdak/snac_24khz
features: {{model: {features}}}{note}
"""


def check_path(path: Path) -> None:
    """See that a recipe can be written there, before anybody is asked anything.

    Raises:
        SetupError: it is no name of a recipe, or is there already.
    """
    if path.suffix not in (".yaml", ".yml"):
        raise SetupError(f"{path} must end with .yaml")
    if path.exists():
        raise SetupError(f"{path} is there already; name another file")


def write_recipe(path: Path, *, name: str, source: str, question: str, answer: str) -> Recipe:
    """Write a recipe, and read it back.

    Args:
        path: of the new file.
        name: of the dataset.
        source: `bundled`, a file, a folder, or a hub id.
        question: names of voices, with commas.
        answer: name of a voice.

    Returns:
        The recipe.

    Raises:
        SetupError: the file is there already, or an answer is not in order; nothing was written.
    """
    check_path(path)
    voices = [voice.strip() for voice in question.split(",") if voice.strip()]
    lines = [f"    - {as_flow({'voice': voice, 'weight': 1, 'speed': [0.9, 1.1]})}" for voice in voices]
    text = TEMPLATE.format(
        path=path,
        name=as_flow([name])[1:-1],
        source=as_flow(_source(source)) if source != "bundled" else source,
        questions="\n".join(lines),
        answer=as_flow([answer.strip()])[1:-1],
        features="tiny.en",
        note="            # Whisper of the question's features, and of the check; for other languages: small",
    )
    part = path.with_name(f".{path.name}.part.yaml")
    part.write_text(text, encoding="utf-8")
    try:
        recipe = load_recipe(part)
        for choice in recipe.voices.choices():
            check_engine(choice.voice)
    except SetupError as error:
        raise SetupError(str(error).replace(str(part), str(path)).replace(part.name, path.name)) from None
    else:
        part.replace(path)
    finally:
        part.unlink(missing_ok=True)
    return recipe


def _source(answer: str) -> dict[str, Any]:
    """A source of the right kind, as far as can be seen.

    Raises:
        SetupError: there is nothing of that name.
    """
    path = Path(answer)
    if path.is_dir():
        return source_in(path)
    if path.is_file():
        if path.suffix.lower() not in TABLE_SUFFIXES:
            raise SetupError(f"{path} is no table that is read ({', '.join(TABLE_SUFFIXES)})")
        kind = TABLE_SUFFIXES[path.suffix.lower()]
        first = next((row for _, row in table_rows(path, kind) if isinstance(row, dict)), {})
        chat = {} if "question" in first else chat_kind(first) or {}
        keys = {"kind": chat.get("kind", kind), "path": answer} | chat
        columns = {} if chat else guessed_columns(first)
        return keys | ({"columns": columns} if columns else {})
    if HUB_ID.fullmatch(answer) and os.sep in answer:
        return {"kind": "hub", "dataset": answer}
    raise SetupError(f"{answer} does not exist, and is neither bundled nor a hub id (OWNER/NAME)")
