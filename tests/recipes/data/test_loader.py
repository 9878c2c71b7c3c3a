"""The loader: right rows, right lengths, little padding, and one order for any number of workers."""

import collections
import itertools
import json

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from anytalk.model.layout import IGNORE, MINI_OMNI, Chat, Layout, Task
from anytalk.pipelines.plan import in_spoken_form, split_of
from anytalk.pipelines.recipe import Clean, Columns, GrammarSource, Table, load_recipe
from anytalk.pipelines.source import read_pairs
from anytalk.recipes.data.loader import Loader, candidates, cut_batches, pass_order
from anytalk.recipes.data.rows import Rows
from anytalk.recipes.data.sample import NEEDS, answer_lengths, prompt_lengths, turn
from anytalk.recipes.data.texts import TextSource, read_texts
from anytalk.recipes.shipped import find
from anytalk.synth.errors import SetupError

LAYOUT = Layout(text_size=300, codebook_size=4096, layers=7)
TEMPLATE = Chat(first=(7, 8, 9), following=(8, 9), closing=(5, 6), end=299)
CHATS = [None, Chat(first=(1, 2, 3)), TEMPLATE, Chat(first=(7,), following=(8,), closing=(5,), end=299)]
EVERY = dict.fromkeys(Task, 1.0)


def by_letter(texts):
    """A tokenizer of one token a letter."""
    return [[ord(letter) for letter in text] for text in texts]


def rows_of(*folders, split="train"):
    return Rows([str(folder) for folder in folders], split, by_letter, codebook_size=4096)


def with_chat(chat):
    return Layout(text_size=300, codebook_size=4096, layers=7, chat=chat)


def loader(rows, tasks=EVERY, layout=LAYOUT, **options):
    return Loader(rows, tasks, layout, **{"seed": 3, "positions": 400, "max_positions": 200, **options})


@pytest.mark.parametrize("chat", CHATS)
@pytest.mark.parametrize("stack", [1, 5])
@pytest.mark.parametrize("task", list(Task))
def test_lengths_are_the_layouts(write_dataset, task, stack, chat):
    rows, layout = rows_of(write_dataset()), with_chat(chat)
    answers = answer_lengths(task, rows.counts, layout)
    for is_first in (True, False):
        prompts = prompt_lengths(task, rows.counts, stack, layout, is_first=is_first)
        for number in range(len(rows)):
            view = turn(task, rows[number], stack)
            assert prompts[number] == layout.prompt_length(view, is_first=is_first)
            assert answers[number] == layout.answer_length(view)


@pytest.mark.parametrize("chat", CHATS)
def test_a_batch_holds_the_layouts_examples(write_dataset, chat):
    rows, layout = rows_of(write_dataset()), with_chat(chat)
    source = loader(rows, layout=layout)
    for samples in source.plan(0):
        batch = source.batch(samples)
        assert batch.padded_positions <= 400
        for b, sample in enumerate(samples):
            row = rows[sample.row]
            example = layout.example([turn(sample.task, row, 1)])
            length = batch.lengths[b]
            assert batch.samples[b] == (sample.task.value, row.id)
            assert batch.streams[b, :, :length].tolist() == example.streams
            assert batch.labels[b, :, :length].tolist() == example.labels
            assert (batch.streams[b, :, length:] == torch.tensor(layout.padding)[:, None]).all()
            assert (batch.labels[b, :, length:] == IGNORE).all()
            assert [start for start, _ in batch.features[b]] == example.feature_starts
            for _, frames in batch.features[b]:
                assert frames.dtype == torch.float16
                assert np.array_equal(frames.numpy(), row.features)


def test_a_pass_draws_every_row_of_every_task_once(write_dataset):
    rows = rows_of(write_dataset(splits={"train": 23}))
    source = loader(rows, window=6 * 23)
    drawn = collections.Counter((s.task, s.row) for batch in source.plan(0) for s in batch)
    assert drawn == {(task, row): 1 for task in Task for row in range(23)}


def test_small_windows_lose_and_repeat_nothing(write_dataset):
    rows = rows_of(write_dataset(splits={"train": 23}))
    source = loader(rows, {Task.A1T1: 3.0, Task.T1T2: 1.0}, window=7)
    drawn = collections.Counter((s.task, s.row) for window in range(16) for batch in source.plan(window) for s in batch)
    assert sum(drawn.values()) == 16 * 7
    transcribed = [drawn[Task.A1T1, row] for row in range(23)]
    read = [drawn[Task.T1T2, row] for row in range(23)]
    assert sum(transcribed) == 3 * sum(read)
    assert max(transcribed) - min(transcribed) <= 1
    assert max(read) - min(read) <= 1


def test_rows_that_lack_what_a_task_needs_are_left_out_and_counted(write_dataset):
    def without(row):
        number = row["seed"]
        row |= {0: {"question_features": None}, 1: {"answer": None}, 2: {"answer_codes": None}}.get(number, {})

    rows = rows_of(write_dataset(splits={"train": 8}, change=without))
    found = {task: candidates(task, rows, LAYOUT, 1, 2048) for task in Task}
    missing = {"features": 0, "answer": 1, "codes": 2}
    for task in Task:
        lacking = {missing[column] for column in NEEDS[task] if column in missing}
        assert found[task].unsuitable == len(lacking)
        assert set(found[task].rows.tolist()) == set(range(8)) - lacking


def test_too_long_samples_are_left_out_and_counted(write_dataset):
    rows = rows_of(write_dataset())
    found = candidates(Task.A1A2, rows, LAYOUT, 1, 60)
    assert found.too_long > 0
    assert found.lengths.max() <= 60
    assert len(found.rows) + found.too_long == len(rows)
    with pytest.raises(SetupError, match="no row suits task A1A2: it needs features, answer, codes; of 20 rows 0 lack"):
        loader(rows, {Task.A1A2: 1.0}, max_positions=8)


@pytest.mark.parametrize("chat", CHATS)
def test_earlier_turns_stand_in_front(write_dataset, chat):
    layout = with_chat(chat)
    rows = rows_of(write_dataset(splits={"train": 8}))
    assert rows.previous_R.tolist() == [-1, 0, -1, 2, -1, 4, -1, 6]
    source = loader(rows, {Task.A1A2: 1.0, Task.A1T1: 1.0}, layout, context_turns=3, max_positions=400)
    lengths = {task: dict(zip(x.rows.tolist(), x.lengths.tolist(), strict=True)) for task, x in source.found.items()}
    for sample in itertools.chain(*source.plan(0)):
        assert sample.turns == (sample.row % 2 if sample.task is Task.A1A2 else 0)
        batch = source.batch([sample])
        numbers = [sample.row - 1, sample.row] if sample.turns else [sample.row]
        example = layout.example([turn(sample.task, rows[number], 1) for number in numbers])
        assert batch.streams[0].tolist() == example.streams
        assert batch.lengths[0] == lengths[sample.task][sample.row]
        assert [start for start, _ in batch.features[0]] == example.feature_starts
    whole, cut = (candidates(Task.A1A2, rows, layout, 1, longest, 3) for longest in (400, 90))
    assert set(cut.rows.tolist()) <= set(whole.rows.tolist())
    assert cut.turns.sum() < whole.turns.sum()


def take(source, steps):
    return [batch for _ in range(steps) for batch in source.take().batches]


def names(batches):
    return [batch.samples for batch in batches]


def test_two_workers_share_the_steps_of_one(write_dataset):
    rows = rows_of(write_dataset())
    alone = loader(rows, batches_per_step=4)
    together = [loader(rows, batches_per_step=4, rank=rank, world_size=2) for rank in range(2)]
    for _ in range(12):
        whole, shares = alone.take(), [source.take() for source in together]
        mixed = [batch for pair in zip(*(share.batches for share in shares), strict=True) for batch in pair]
        assert names(mixed) == names(whole.batches)
        assert {share.samples for share in shares} == {whole.samples}
    with pytest.raises(SetupError, match=r"3 workers cannot share loader.batches_per_step 4"):
        loader(rows, batches_per_step=4, world_size=3)


def test_another_number_of_workers_goes_on_where_the_first_stopped(write_dataset):
    rows = rows_of(write_dataset())
    expected = names(take(loader(rows, batches_per_step=4), 10))
    sources = [loader(rows, batches_per_step=4, rank=rank, world_size=4) for rank in range(4)]
    seen = [batch for _ in range(3) for source in sources for batch in source.take().batches]
    states = [json.loads(json.dumps(source.state_dict())) for source in sources]
    assert all(state == states[0] for state in states)
    for workers, steps in ((2, 4), (1, 3)):
        sources = [loader(rows, batches_per_step=4, rank=rank, world_size=workers) for rank in range(workers)]
        for source in sources:
            source.load_state_dict(states[0])
        for _ in range(steps):
            shares = [source.take().batches for source in sources]
            seen += [batch for row in zip(*shares, strict=True) for batch in row]
        states = [source.state_dict() for source in sources]
    assert names(seen) == expected


def test_what_was_only_loaded_ahead_is_loaded_again(write_dataset):
    rows = rows_of(write_dataset())
    eager, lazy = loader(rows, prefetch=5), loader(rows, prefetch=0)
    take(eager, 3)
    lazy.load_state_dict(eager.state_dict())
    assert names(take(lazy, 2)) == names(take(eager, 2))


def test_the_order_follows_from_the_seed(write_dataset):
    rows = rows_of(write_dataset())
    one, same, other = (names(take(loader(rows, seed=seed), 8)) for seed in (1, 1, 2))
    assert one == same != other


def test_a_state_of_other_rows_is_refused(write_dataset):
    state = loader(rows_of(write_dataset())).state_dict()
    with pytest.raises(SetupError, match="datasets have changed"):
        loader(rows_of(write_dataset("other", seed=1))).load_state_dict(state)


@settings(max_examples=60, deadline=None)
@given(st.lists(st.integers(1, 200), min_size=1, max_size=300), st.integers(200, 1000), st.sampled_from([0.05, 0.3, 1]))
def test_batches_hold_every_sample_once_and_keep_the_budget(lengths, positions, padding):
    lengths = np.array(lengths)
    batches = cut_batches(lengths, positions, np.random.default_rng(0), padding)
    assert sorted(np.concatenate(batches).tolist()) == list(range(len(lengths)))
    assert max(len(batch) * lengths[batch].max() for batch in batches) <= positions
    assert 1 - lengths.sum() / sum(len(batch) * lengths[batch].max() for batch in batches) <= padding + 1e-9


@pytest.mark.parametrize(
    ("samples", "positions"), [(4096, 16_384), (4096, 8192), (500, 4096)], ids=["cluster", "one-gpu", "quickstart"]
)
def test_padding_is_under_five_percent_and_batches_are_full(samples, positions):
    """Questions of about 5 s at 50 positions a second, answers of about 12 s at 11.7, and a third of text tasks."""
    rng = np.random.default_rng(0)
    question_s, answer_s = rng.lognormal(1.5, 0.5, samples).clip(0.6, 30), rng.lognormal(2.4, 0.6, samples).clip(1, 60)
    spoken = question_s * 50 + 3 + answer_s * 24_000 / 2048 + 8
    written = question_s * 3.5 + answer_s * 3.5 + 4
    lengths = np.where(rng.random(samples) < 1 / 3, written, spoken).astype(np.int64).clip(max=2048)
    batches = cut_batches(lengths, positions, rng)
    padded = sum(len(batch) * int(lengths[batch].max()) for batch in batches)
    assert 1 - lengths.sum() / padded < 0.05
    assert padded / (len(batches) * positions) > 0.85


@pytest.mark.parametrize("kind", ["schema", "codec", "features", "width"])
def test_what_does_not_belong_together_is_refused(write_dataset, kind):
    good = {"codec": {"name": "a", "sha256": "1"}, "features": {"model": "m", "weights_sha256": "1", "width": 6}}
    changes = {
        "schema": {"schema": 2},
        "codec": {"codec": {"name": "a", "sha256": "2"}},
        "features": {"features": {"model": "m", "weights_sha256": "2", "width": 6}},
        "width": {"features": {"model": "m", "weights_sha256": "1", "width": 8}},
    }
    folders = write_dataset("first", fingerprints=good), write_dataset("other", fingerprints=good | changes[kind])
    lines = {
        "schema": "has schema 2; this version reads schema 1",
        "codec": "another codec than the shards before it: sha256 '2' instead of '1'",
        "features": "another feature model than the shards before it: weights_sha256 '2' instead of '1'",
        "width": "another feature model than the shards before it: width 8 instead of 6",
    }
    with pytest.raises(SetupError, match=lines[kind]) as caught:
        rows_of(*folders)
    assert "\n" not in str(caught.value)


def test_features_of_one_model_under_two_names_belong_together(write_dataset):
    prints = [
        {"codec": {"name": "a"}, "features": {"model": name, "weights_sha256": "1", "width": 6}}
        for name in ("tiny.en", "/models/tiny.en")
    ]
    assert len(rows_of(*(write_dataset(f"d{n}", fingerprints=each, seed=n) for n, each in enumerate(prints)))) == 40


def test_a_code_out_of_range_is_refused_by_its_row(write_dataset):
    def out_of_range(row):
        if row["id"] == "dataset-train-7":
            row["answer_codes"][0, 3] = 4100

    with pytest.raises(SetupError, match=r"row dataset-train-7 holds code 4100; codes are below 4096"):
        rows_of(write_dataset(change=out_of_range))


def test_a_damaged_or_unfinished_dataset_is_refused_in_one_line(write_dataset, tmp_path):
    folder = write_dataset()
    shard = next((folder / "shards").glob("train-*"))
    shard.write_bytes(shard.read_bytes()[:-40])
    with pytest.raises(SetupError, match=r"\.arrow cannot be read"):
        rows_of(folder)
    (folder / "dataset.json").unlink()
    with pytest.raises(SetupError, match=r"holds no finished dataset"):
        rows_of(folder)


def test_the_original_layout_gives_the_known_lengths():
    """5 s of question and 150 frames of answer: 254 and 158 positions, the last of them a label alone."""
    counts = type("Counts", (), {"features": np.array([251]), "answer": np.array([40]), "codes": np.array([150])})
    assert prompt_lengths(Task.A1A2, counts, 1, MINI_OMNI) + answer_lengths(Task.A1A2, counts, MINI_OMNI) - 1 == 411


# Several datasets


def parts_drawn(rows, source, windows):
    drawn = collections.Counter()
    for window in range(windows):
        drawn.update((s.task, int(rows.part_R[s.row])) for batch in source.plan(window) for s in batch)
    return drawn


def test_rows_are_drawn_by_the_weights_of_their_datasets(write_dataset):
    rows = rows_of(write_dataset("few", splits={"train": 6}), write_dataset("many", splits={"train": 18}))
    shares = {Task.A1T1: (3.0, 1.0), Task.T1T2: (0.0, 1.0)}
    source = loader(rows, {Task.A1T1: 1.0, Task.T1T2: 1.0}, shares=shares.__getitem__)
    # A window is an epoch: 24 samples of A1T1 and 18 of T1T2, half of them each.
    assert parts_drawn(rows, source, 6) == {(Task.A1T1, 0): 63, (Task.A1T1, 1): 63, (Task.T1T2, 1): 126}
    drawn = collections.Counter(
        s.row for window in range(6) for batch in source.plan(window) for s in batch if s.task is Task.A1T1
    )
    assert {drawn[row] for row in range(6)} == {10, 11}
    assert {drawn[row] for row in range(6, 24)} == {3, 4}


def test_datasets_that_are_drawn_alike_are_one_pool(write_dataset):
    rows = rows_of(write_dataset("few", splits={"train": 6}), write_dataset("many", splits={"train": 18}))
    alike = loader(rows, EVERY, shares=lambda task: (2.0, 2.0))
    assert [alike.plan(window) for window in range(3)] == [loader(rows).plan(window) for window in range(3)]


def test_a_task_that_no_dataset_is_drawn_for_is_refused(write_dataset):
    with pytest.raises(SetupError, match="no dataset is drawn for task A1T1"):
        loader(rows_of(write_dataset()), {Task.A1T1: 1.0, Task.T1T2: 1.0}, shares=lambda task: [task is Task.T1T2])


def test_pairs_of_text_are_samples_of_t1t2_alone(write_dataset, tmp_path):
    table = tmp_path / "orca.jsonl"
    pairs = [{"question": f"What is {n}?", "response": f"It is {n}."} for n in range(5)] + [{"question": "?"}]
    table.write_text("".join(json.dumps(pair) + "\n" for pair in pairs))
    source = TextSource(Table(kind="jsonl", path=str(table), columns=Columns(answer="response")))
    folder = write_dataset(splits={"train": 4})
    rows = Rows([str(folder)], "train", by_letter, codebook_size=4096, texts=[source])
    assert rows.part_R.tolist() == [0] * 4 + [1] * 5
    assert bytes(rows[6].question.tolist()).decode() == "What is 2?"
    assert (rows[6].features, rows[6].codes) == (None, None)
    found = {task: len(candidates(task, rows, LAYOUT, 1, 200).rows) for task in Task}
    assert found == dict.fromkeys(Task, 4) | {Task.T1T2: 9}
    batch = loader(rows, {Task.T1T2: 1.0}).take().batches[0]
    assert {name for _, name in batch.samples} <= {rows.id(number) for number in range(9)}
    assert rows.identity != rows_of(folder).identity


def test_sums_to_read_leave_out_what_the_household_holds_out():
    split = load_recipe(find("household", "build")).split
    spoken = GrammarSource(kind="grammar", path="household")
    held_out = {
        in_spoken_form(pair, Clean()).answer
        for pair in read_pairs(spoken)
        if pair.split_name == "sums" and split_of([pair], split) == "test"
    }
    read = read_texts(TextSource(GrammarSource(kind="grammar", path="household-sums"), split.test))
    everything = read_texts(TextSource(GrammarSource(kind="grammar", path="household-sums")))
    assert held_out & {*everything.answers}
    assert not held_out & {*read.answers}
    assert "Twelve and thirty-one make forty-three." in everything.answers
    assert len(read.ids) == pytest.approx(0.88 * len(everything.ids), rel=0.05)


def test_an_epoch_is_as_many_steps_as_its_samples_fill(write_dataset):
    rows = rows_of(write_dataset(splits={"train": 40}))
    source = loader(rows, {Task.A1T1: 1.0, Task.T1T2: 1.0}, window=20, batches_per_step=2)
    steps, drawn = source.steps_in(3.0), 0
    for _ in range(steps):
        drawn += sum(len(batch.samples) for batch in source.take().batches)
    assert drawn == pytest.approx(3 * 80, rel=0.1)


@given(
    file_N=st.lists(st.integers(-2, 9), min_size=1, max_size=80).map(np.array),
    most=st.integers(1, 12),
    seed=st.integers(0, 9),
)
def test_a_pass_goes_through_blocks_of_files(file_N, most, seed):
    order = pass_order(file_N, most, np.random.default_rng(seed))
    assert sorted(order.tolist()) == list(range(len(file_N)))
    files = {number for number in file_N.tolist() if number >= 0}
    if len(files) <= most:
        assert order.tolist() == np.random.default_rng(seed).permutation(len(file_N)).tolist()
        return
    met = [number for number in file_N[order].tolist() if number >= 0]
    at = {number: [place for place, other in enumerate(met) if other == number] for number in files}
    # While one file is drawn from, no more than a block's are.
    assert all(len({*met[places[0] : places[-1] + 1]}) <= most for places in at.values())


def test_a_window_opens_each_of_its_files_once_where_there_are_more_than_are_kept_open(write_dataset, monkeypatch):
    for module in ("loader", "rows"):
        monkeypatch.setattr(f"anytalk.recipes.data.{module}.OPEN_SHARDS", 12)
    rows = rows_of(*(write_dataset(f"set-{number}", splits={"train": 9}) for number in range(10)))
    assert len(rows.shards) == 20
    source = loader(rows, {Task.A1T1: 1.0}, window=18)
    for window in range(10):
        before = rows._open.cache_info().misses
        for batch in source.plan(window):
            source.batch(batch)
        files = {int(rows.shard_R[sample.row]) for batch in source.plan(window) for sample in batch}
        assert len(files) <= 12
        assert rows._open.cache_info().misses - before <= len(files)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_what_a_gpu_reads_is_pinned(write_dataset):
    [batch] = loader(rows_of(write_dataset()), {Task.A1T1: 1.0}, pinned=True).take().batches
    assert batch.streams.is_pinned()
    assert all(x.is_pinned() for entry in batch.features for _, x in entry)
