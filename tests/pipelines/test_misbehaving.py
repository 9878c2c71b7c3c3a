"""A whole build while the language model's server and the voice's misbehave in every way that we know."""

import collections
import re

import pyarrow as pa
import pytest
from support.asking import good_answer
from support.misbehaving import FAULTS, MACHINERY, serve, serve_path
from support.misbehaving_speech import PASSING, PATH, STAYING, at_16k, good

from anytalk.pipelines import build, check
from anytalk.pipelines.dataset import Store
from anytalk.synth.errors import EngineError
from anytalk.synth.llm.generate import Generation, generation_jobs

KINDS = ["everyday", "identity"]
COUNT = 2 * len(FAULTS)
TERMS = {"licence": "CC0-1.0", "source": "tests", "consent": "none needed"}
# Shorter than a stall, and long enough for a busy machine.
PATIENCE = {"timeout_s": 1.8, "backoff_s": 0.001}


class Model:
    """Every second conversation meets a fault of its own; those of the machinery until it is mended."""

    def __init__(self):
        jobs = list(generation_jobs(Generation(conversations=COUNT, kinds=KINDS), seed=1))
        self.place = {job.seed: place for place, job in enumerate(jobs)}
        self.seed = {place: seed for seed, place in self.place.items()}
        self.is_mended = False

    def fault_of(self, seed):
        place = self.place.get(seed)  # A probe has none.
        return None if place is None or place % 2 else list(FAULTS)[place // 2]

    def misbehave(self, number, body):
        name = self.fault_of(body["seed"])
        return None if name is None or (self.is_mended and name in MACHINERY) else FAULTS[name]

    def answer(self, body):
        """Says of each conversation its seed."""
        if body["seed"] not in self.place:
            return '{"turns": []}'
        return good_answer(body).replace("Here is 0", f"It is {body['seed']}").replace("Question", f"{body['seed']}")

    def said(self):
        """Answers of the conversations that end well, in the order of the plan."""
        well = [seed for seed in self.place if (name := self.fault_of(seed)) is None or name in MACHINERY]
        return [f"It is {seed}." for seed in well]


class Speaker:
    """Texts meet a fault the first time, always, or until it is mended."""

    def __init__(self, texts):
        given = iter(texts)
        self.once = {next(given): fault for fault in PASSING.values()}
        self.always = {next(given): fault for fault in STAYING.values()}
        self.other_rate = next(given)
        self.down = {next(given), next(given)}

    def misbehave(self, number, body):
        text = body["input"]
        if text in self.down:
            return PASSING["broken"]
        if text == self.other_rate:
            return at_16k(body)
        return self.always.get(text) or self.once.pop(text, None)


def rows(store, part):
    files = [path for path in store.files() if re.match(rf"({part}).*\.arrow", path)]
    return [row for path in files for row in pa.ipc.open_file(store.read(path)).read_all().to_pylist()]


@pytest.mark.slow
def test_every_row_of_a_build_is_accepted_rejected_or_finished_by_a_later_run_and_none_twice(
    fake_recipe, fake_sections, tmp_path
):
    model = Model()
    speaker = Speaker(model.said())
    down = set(speaker.down)
    store = Store(tmp_path / "set")
    with serve(model.answer, model.misbehave) as chat, serve_path(PATH, good, speaker.misbehave) as speech:
        endpoint = {"base_url": chat.url, "model": "tiny", "attempts": 2, "max_concurrency": 4} | PATIENCE
        server = {"base_url": speech.url, "model": "tts-1", "attempts": 3, "terms": TERMS} | PATIENCE
        recipe = fake_recipe(
            source={"kind": "llm", "endpoint": endpoint, "ask": {"conversations": COUNT, "kinds": KINDS}},
            voices={"question": ["fake:ann"], "answer": "server:ours/anna", "servers": {"ours": server}},
            clean={"normalise": "none", "refuse_unspeakable": False},
            check=fake_sections["check"] | {"attempts": 2},
            shards={"unit_rows": 2},
        )
        # The first run: some conversations are lost, so nothing is planned, and nothing is spoken.
        with pytest.raises(EngineError, match=r"conversations? deferred"):
            build(recipe, store.root, local=True)
        assert speech.bodies == []
        model.is_mended, asked = True, len(chat.bodies)
        # The second: only what had no answer is asked again; some texts are lost.
        second = build(recipe, store.root, local=True)
        again = {body["seed"] for body in chat.bodies[asked:]} & model.place.keys()
        assert {model.fault_of(seed) for seed in again} == {*MACHINERY, "refused"}
        assert not second.complete
        assert all("sent 3 times" in reason for reason in second.deferred)
        planned = {row["id"]: row for row in rows(store, "plan/")}
        ended = {row["id"] for row in rows(store, "shards/|rejects/(?!plan)")}
        late = {row["answer"] for name, row in planned.items() if name not in ended}
        assert down <= late
        # The third: only what is late is spoken, and nobody is asked for text.
        speaker.down.clear()
        asked, spoken = len(chat.bodies), len(speech.bodies)
        third = build(recipe, store.root, local=True)
        assert len(chat.bodies) == asked
        assert {body["input"] for body in speech.bodies[spoken + 1 :]} == late
        # The fourth: nothing is left to do.
        spoken = len(speech.bodies)
        assert build(recipe, store.root, local=True).rows_accepted == third.rows_accepted
        assert len(speech.bodies) <= spoken + 1

    assert third.complete
    accepted, rejected, unplanned = (rows(store, part) for part in ("shards/", "rejects/(?!plan)", "rejects/plan"))
    ends = collections.Counter(row["id"] for row in [*accepted, *rejected])
    assert ends == dict.fromkeys(planned, 1)
    places = [int(row["source"].split()[0].rpartition(":")[2]) for row in [*planned.values(), *unplanned]]
    assert sorted(places) == list(range(COUNT))
    why = {row["answer"]: row["reason"] for row in rejected}
    reasons = ["empty_audio", "empty_audio", "refused_request", "unknown_rate", "unspeakable_text"]
    assert why == dict(zip(speaker.always, reasons, strict=True))
    assert collections.Counter(row["reason"] for row in unplanned) == {"malformed_answer": 4, "refused_request": 2}
    assert check(store.root).problems == []
