"""Phase 1: from a source to a committed plan: which rows there are, and which work unit holds which.

The plan is one Arrow file and a `plan.json` that announces it. It is made once: a later run with the same recipe and an
unchanged source trusts it and reads nothing again.
"""

import dataclasses
import json
from collections.abc import Iterable, Iterator
from typing import Any

import pyarrow as pa

from anytalk.synth.errors import EngineError, SampleError, SetupError
from anytalk.synth.seed import derive_seed, digest, row_id

from . import commit, schema
from .casting import refuse_unheard, refuse_unspoken
from .judgement import PLAN, current, differences, is_judged_again
from .likeness import evaluation_stamp
from .progress import Quiet, Reporter
from .recipe import Clean, Recipe, Split
from .recipe_llm import Llm
from .sift import sift
from .source import (
    Asker,
    BadPair,
    Found,
    Keeper,
    LatePair,
    Pair,
    Recording,
    cache_of,
    examine,
    read_pairs,
    rewritten,
    stamp,
)
from .spoken import in_spoken_form
from .store import Store, sha256

SPLITS = ("train", "validation", "test")

_RECORDING = pa.struct(
    [("name", pa.string()), ("sha256", pa.string()), ("path", pa.string()), ("row", pa.int32()), ("holds", pa.string())]
)
_PLAN_SCHEMA = pa.schema(
    [
        ("id", pa.string()),
        ("first_id", pa.string()),
        ("split", pa.string()),
        ("unit", pa.int32()),
        ("split_name", pa.string()),
        ("conversation", pa.string()),
        ("turn", pa.int16()),
        ("variant", pa.int16()),
        ("question", pa.string()),
        ("answer", pa.string()),
        ("question_written", pa.string()),
        ("answer_written", pa.string()),
        ("language", pa.string()),
        ("question_recording", _RECORDING),
        ("answer_recording", _RECORDING),
        ("source", pa.string()),
        ("group", pa.string()),
    ]
)


@dataclasses.dataclass(frozen=True)
class PlannedRow:
    """One row to be made: a variant of a pair, in its split and work unit."""

    id: str
    first_id: str
    """Name of the pair's first variant, which all variants share."""
    split: str
    unit: int
    pair: Pair
    variant: int

    def seed(self, recipe_seed: int) -> int:
        """The row's own seed."""
        return derive_seed(recipe_seed, self.id)

    def named(self) -> str:
        """The name that follows from the row's content, which `id` must be."""
        return _id(self.pair, self.variant)


@dataclasses.dataclass(frozen=True)
class Plan:
    """A committed plan."""

    units: list[list[PlannedRow]]
    rejected: int
    reasons: dict[str, int]
    files: dict[str, str]
    """SHA-256 of each file of the plan, by path."""
    asked: list[dict[str, Any]]
    """What language models were sent and gave back when it was made; see `Asker.bills`."""

    @property
    def rows(self) -> int:
        """Rows in all units."""
        return sum(len(unit) for unit in self.units)

    @property
    def languages(self) -> set[str]:
        """BCP-47 tags of all rows."""
        return {row.pair.language for unit in self.units for row in unit}


def load_or_make(recipe: Recipe, store: Store, progress: Reporter | None = None) -> Plan:
    """Load the plan of this recipe, or make and commit it.

    Raises:
        SetupError: the folder holds something else, another recipe's data, or the source has changed since; or a
            language model that is to be asked cannot be.
        EngineError: the source broke off, or language models did not answer everything; nothing is committed.
    """
    if not store.exists(PLAN):
        _stamp(recipe)  # A missing source is reported before the folder is touched.
        _refuse_foreign(store)
        examine(recipe.models())
        _make(recipe, store, Asker(cache_of(store), recipe.seed, progress or Quiet()))
    announced = json.loads(store.read(PLAN))
    _refuse_other_recipe(recipe, store)
    if [list(entry) for entry in _stamp(recipe)] != announced["stamp"]:
        raise SetupError(
            f"the source, or what it is compared with, has changed since {store} was planned; build into another folder"
        )
    return load_committed(store)


def _stamp(recipe: Recipe) -> list[tuple[str, int, int]]:
    """Path, size and time of every local file that the plan follows from."""
    sets = recipe.decontaminate.against if recipe.decontaminate else ()
    earlier = recipe.dedup.against if recipe.dedup else ()
    return stamp(recipe.source, recipe.rewrite) + evaluation_stamp(sets, earlier)


def _refuse_foreign(store: Store) -> None:
    files = [path for path in store.files() if not path.startswith(("plan/", "rejects/plan-"))]
    if files:
        raise SetupError(f"{store} is not empty and holds no anytalk dataset ({files[0]}); name another folder")


def _refuse_other_recipe(recipe: Recipe, store: Store) -> None:
    changed = differences(recipe, current(store).recipe)
    if changed and all(is_judged_again(key) for key in changed):
        settings = " ".join(f"--set {key}={json.dumps(value)}" for key, value in changed.items())
        raise SetupError(
            f"{store} was judged by another policy; this judges its rows again without speaking them: "
            f"anytalk judge {store} {settings}"
        )
    if changed:
        raise SetupError(
            f"{store} holds data of another recipe (it differs in {', '.join(list(changed)[:5])}); "
            "name another folder or restore the recipe"
        )


def _make(recipe: Recipe, store: Store, asker: Asker) -> None:
    """Read, check, split and order the pairs; commit the plan and what it rejects."""
    source_stamp = _stamp(recipe)
    keeper, late = Keeper(store), list[LatePair]()
    try:
        conversations, rejects = clean(_in_time(_read(recipe, keeper, asker), late), recipe.clean)
    finally:
        asker.end()
    keeper.close()
    if late:
        raise EngineError(
            f"{len(late):,} conversations are deferred, so nothing is planned yet (the first: {late[0].detail}); "
            f"the same command asks for them again, and takes the other answers from {asker.cache}"
        )
    removed = sift(conversations, recipe)
    rejects += [reject(pair, *removed[place], pair.source) for place in removed for pair in conversations[place]]
    conversations = [turns for place, turns in enumerate(conversations) if place not in removed]
    refuse_unheard((pair for turns in conversations for pair in turns), recipe)
    refuse_unspoken(((split_of(turns[0], recipe.split), pair) for turns in conversations for pair in turns), recipe)
    rows = list(arrange(conversations, recipe))
    files: dict[str, str] = {}
    content = commit.arrow_bytes(_plan_table(rows), batch_rows=1024)
    files[f"plan/plan-{sha256(content)[:16]}.arrow"] = sha256(content)
    store.write(next(iter(files)), content)
    if rejects:
        content = commit.arrow_bytes(schema.table(rejects, schema.reject_schema({})), recipe.shards.batch_rows)
        path = f"rejects/plan-{sha256(content)[:16]}.arrow"
        files[path] = sha256(content)
        store.write(path, content)
    announcement = {
        "recipe": recipe.model_dump(mode="json", exclude={"resources"}),
        "stamp": source_stamp,
        "files": files,
        "rows": len(rows),
        "rejected": len(rejects),
        "reasons": commit.count(row["reason"] for row in rejects),
        "asked": asker.bills(),
    }
    store.create(PLAN, commit.json_bytes(announcement))


def _read(recipe: Recipe, keeper: Keeper, asker: Asker) -> Iterator[Found]:
    """Read the source and have it rewritten."""
    asked = sum(model.conversations for model in recipe.models() if isinstance(model, Llm))
    if asked:
        asker.begin("asking", min(asked, recipe.source.limit or asked))
    found = read_pairs(recipe.source, keeper, asker)
    return found if recipe.rewrite is None else rewritten(found, recipe.rewrite, asker)


def _in_time(found: Iterable[Found], late: list[LatePair]) -> Iterator[Pair | BadPair]:
    """Put late pairs aside."""
    for pair in found:
        if isinstance(pair, LatePair):
            late.append(pair)
        else:
            yield pair


def load_committed(store: Store) -> Plan:
    """Load the plan that a dataset was made from.

    Raises:
        SetupError: it is damaged, or of another version.
    """
    announced = json.loads(store.read(PLAN))
    path = next(path for path in announced["files"] if path.startswith("plan/"))
    content = store.read(path)
    if sha256(content) != announced["files"][path]:
        raise SetupError(f"{store}/{path} is damaged: its SHA-256 is not the one in {PLAN}")
    table = pa.ipc.open_file(content).read_all()
    if table.schema != _PLAN_SCHEMA:
        raise SetupError(f"{store} was planned by another version of anytalk; build it into another folder")
    units: list[list[PlannedRow]] = []
    for row in table.to_pylist():
        if row["unit"] == len(units):
            units.append([])
        units[-1].append(_planned(row, store))
    return Plan(units, announced["rejected"], announced["reasons"], announced["files"], announced.get("asked", []))


def _plan_table(rows: Iterable[PlannedRow]) -> pa.Table:
    values = []
    for row in rows:
        flat = dataclasses.asdict(row.pair) | {"id": row.id, "first_id": row.first_id, "split": row.split}
        values.append(flat | {"unit": row.unit, "variant": row.variant})
    return schema.table(values, _PLAN_SCHEMA)


def _planned(row: dict[str, Any], store: Store) -> PlannedRow:
    own = {key: row.pop(key) for key in ("id", "first_id", "split", "unit", "variant")}
    for side in ("question_recording", "answer_recording"):
        if row[side] is not None:
            recording = Recording(**row[side])
            kept = recording.row is not None
            row[side] = dataclasses.replace(recording, path=f"{store}/{recording.path}") if kept else recording
    return PlannedRow(pair=Pair(**row), **own)


def clean(pairs: Iterable[Pair | BadPair], rules: Clean) -> tuple[list[list[Pair]], list[dict[str, Any]]]:
    """Gather pairs into conversations and take out what cannot be spoken or was there before.

    Returns:
        Conversations in source order, turns in order, and reject rows.
    """
    conversations: dict[tuple[str, str], list[Pair]] = {}
    rejects = []
    for pair in pairs:
        if isinstance(pair, BadPair):
            rejects.append(reject(pair.pair, pair.reason, pair.detail, pair.source))
        elif problem := text_problem(pair, rules):
            rejects.append(reject(pair, *problem, pair.source))
        else:
            try:
                spoken = in_spoken_form(pair, rules)
            except SampleError as error:
                rejects.append(reject(pair, error.reason, error.detail, pair.source))
            else:
                conversations.setdefault((pair.split_name, pair.conversation), []).append(spoken)
    kept: list[list[Pair]] = []
    seen: dict[str, str] = {}
    for turns in conversations.values():
        numbers: dict[int, Pair] = {}
        for pair in turns:
            if pair.turn in numbers:
                known = numbers[pair.turn].source
                rejects.append(reject(pair, "repeat", f"turn {pair.turn} is at {known} already", pair.source))
            else:
                numbers[pair.turn] = pair
        ordered = [numbers[turn] for turn in sorted(numbers)]
        said = digest(*(part for pair in ordered for part in _said(pair)))
        if rules.drop_repeats and said in seen:
            detail = f"the same as {seen[said]}"
            rejects += [reject(pair, "repeat", detail, pair.source) for pair in ordered]
        else:
            seen[said] = ordered[0].source
            kept.append(ordered)
    return kept, rejects


def text_problem(pair: Pair, rules: Clean) -> tuple[str, str] | None:
    """Why a pair's texts cannot be spoken at all, if they cannot: reason and detail."""
    limits = {"question": rules.max_question_characters, "answer": rules.max_answer_characters}
    for side, limit in limits.items():
        text = getattr(pair, side)
        if text is None:
            continue
        if not text:
            return f"empty_{side}", f"the {side} has no text"
        if not any(character.isalnum() for character in text):
            return "unspeakable_text", f"the {side} has no word in it: {text[:60]!r}"
        if len(text) > limit:
            return "too_long_text", f"the {side} has {len(text)} characters; at most {limit} are allowed"
    return None


def _said(pair: Pair) -> Iterator[str | None]:
    """What makes two pairs repeats of each other: their words, but for case and spacing, and their recordings."""
    yield pair.question and pair.question.casefold()
    yield pair.answer and pair.answer.casefold()
    yield from pair.recording_hashes()


def reject(pair: Pair | None, reason: str, detail: str, source: str) -> dict[str, Any]:
    """Row of the rejects for a pair that was never spoken."""
    texts = {name: getattr(pair, name, None) for name in ("question", "answer", "language")}
    keys = {name: getattr(pair, name, None) for name in ("split_name", "conversation", "turn")}
    written = {
        f"{side}_written": getattr(pair, f"{side}_written", None) or texts[side] for side in ("question", "answer")
    }
    name = digest(source, reason, *keys.values(), *texts.values())[:32]
    end = {"reason": reason, "detail": detail, "source": source, "attempts": []}
    return {"id": name, "variant": None, **keys, **texts, **written, **end}


def split_of(pair: Pair, split: Split) -> str:
    """Split of a pair: by the hash of its conversation alone, or of the recording that several were cut from."""
    share = int(digest("split", pair.group or pair.conversation)[:12], 16) / 16**12
    if share < split.test:
        return "test"
    return "validation" if share < split.test + split.validation else "train"


def arrange(conversations: list[list[Pair]], recipe: Recipe) -> Iterator[PlannedRow]:
    """Order rows by split and source, each conversation whole, and deal them to work units of one split."""
    unit, filled = -1, 0
    for split in SPLITS:
        filled = 0
        for turns in conversations:
            if split_of(turns[0], recipe.split) != split:
                continue
            if filled == 0 or filled >= recipe.shards.unit_rows:
                unit, filled = unit + 1, 0
            for variant in range(_variants(turns, recipe)):
                for pair in turns:
                    yield PlannedRow(_id(pair, variant), _id(pair, 0), split, unit, pair, variant)
                    filled += 1


def _variants(turns: list[Pair], recipe: Recipe) -> int:
    """A conversation that brings all its own question recordings is not spoken again."""
    return 1 if all(pair.question_recording for pair in turns) else recipe.voices.variants


def _id(pair: Pair, variant: int) -> str:
    hashes = pair.recording_hashes()
    question, answer = (getattr(pair, f"{side}_written") or getattr(pair, side) for side in ("question", "answer"))
    return row_id(pair.split_name, pair.conversation, pair.turn, question or "", answer, hashes, variant)
