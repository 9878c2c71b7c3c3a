"""The report of a dataset: true figures, sound that plays, text that stays text, the same page each time."""

import base64
import io
import json
import re
import shutil
from html.parser import HTMLParser

import numpy as np
import pyarrow as pa
import pytest
import soundfile
from support.hostile import HOSTILE

from anytalk.pipelines import build, check, rejudge
from anytalk.pipelines.dataset import Store
from anytalk.pipelines.recipe.dataset import Check, load_recipe
from anytalk.pipelines.report import report
from anytalk.pipelines.report import write as writing
from anytalk.pipelines.report.choose import Chooser, Chosen
from anytalk.pipelines.report.figures import BINS, Figures
from anytalk.pipelines.report.row_html import row_html
from anytalk.pipelines.report.rows import FLAT, flat_tables
from anytalk.synth.errors import SetupError


class Elements(HTMLParser):
    """Every start tag with its attributes, and all text, as Python's own parser reads them."""

    def __init__(self, text):
        super().__init__()
        self.tags, self.texts = [], []
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))

    def handle_data(self, data):
        self.texts.append(data)


def stored(folder, part):
    tables = [pa.ipc.open_file(path).read_all() for path in sorted((folder / part).glob("*.arrow"))]
    return [row for table in tables for row in table.to_pylist()]


def test_every_row_of_a_small_dataset_is_on_the_page_with_what_it_is(page, mixed_dataset):
    elements = Elements(page.read_text())
    shown = {a["id"].removeprefix("row-"): a for tag, a in elements.tags if tag == "article"}
    accepted, rejected = stored(mixed_dataset, "shards"), stored(mixed_dataset, "rejects")
    assert shown.keys() == {row["id"] for row in accepted + rejected}
    for row in rejected:
        assert (shown[row["id"]]["data-reason"], shown[row["id"]]["data-groups"]) == (row["reason"], "rejected")
    for row in accepted:
        measures = json.loads(shown[row["id"]]["data-measures"])
        assert measures["answer_mos"] == pytest.approx(row["answer_mos"], abs=1e-4)
    cards = re.search(r'<ul class="cards">(.*?)</ul>', page.read_text())[1]
    assert f"<b>{len(accepted)}</b>rows accepted" in cards
    assert f"<b>{len(rejected)}</b>rows rejected" in cards


def test_the_same_dataset_gives_the_same_page(page, mixed_dataset, tmp_path):
    again = report(str(mixed_dataset), str(tmp_path / "again.html"))
    assert (tmp_path / "again.html").read_bytes() == page.read_bytes()
    assert again.bytes == page.stat().st_size


def test_a_style_tag_is_no_word_that_was_not_heard(fake_recipe):
    recipe = load_recipe(fake_recipe(clean={"style_tags": ["*laughs*"]}))
    said = {
        "question": "*laughs* Hello, my friend is late.",
        "question_transcript": "Hello my lady is late",
        "question_wer": 0.33,
    }
    row = dict.fromkeys(FLAT.names) | {"id": "a", "outcome": "accepted"} | said
    shown = row_html(Chosen(row, ("worst",)), (), recipe, "")
    assert "*laughs* Hello, my friend is late." in shown
    assert "<del>friend</del>" in shown
    assert "<del>laughs" not in shown


def test_a_text_stays_text(page):
    content = page.read_text()
    assert HOSTILE not in content
    elements = Elements(content)
    assert HOSTILE in "".join(elements.texts)
    assert [tag for tag, _ in elements.tags if tag == "img"] == []
    assert [attributes for tag, attributes in elements.tags if any(name.startswith("on") for name in attributes)] == []


def test_the_page_loads_nothing(page):
    linked = [v for _, attrs in Elements(page.read_text()).tags for n, v in attrs.items() if n in ("src", "href")]
    assert all(value.startswith(("data:audio/mpeg;base64,", "#")) for value in linked)


def test_sounds_are_those_of_the_row(page, mixed_dataset):
    row = stored(mixed_dataset, "shards")[0]
    article = re.search(rf'<article class="row" id="row-{row["id"]}".*?</article>', page.read_text(), re.DOTALL)[0]
    players = {a["aria-label"]: a["src"] for tag, a in Elements(article).tags if tag == "audio"}
    assert list(players) == ["question", "answer", "answer through the codec"]
    for side in ("question", "answer"):
        wanted, rate_hz = soundfile.read(io.BytesIO(row[f"{side}_audio"]["bytes"]))
        heard, heard_hz = soundfile.read(io.BytesIO(base64.b64decode(players[side].partition(",")[2])))
        assert (heard_hz, len(heard)) == (rate_hz, pytest.approx(len(wanted), abs=2304))
        # MP3 delays by some samples: the spectra are alike.
        spectra = [np.abs(np.fft.rfft(sound[: len(wanted)], len(wanted))) for sound in (wanted, heard)]
        assert np.corrcoef(*spectra)[0, 1] > 0.98


def test_a_rejected_answer_is_heard_through_the_codec_too(page, mixed_dataset):
    row = next(row for row in stored(mixed_dataset, "rejects") if row["reason"] == "leading_silence")
    article = re.search(rf'<article class="row" id="row-{row["id"]}".*?</article>', page.read_text(), re.DOTALL)[0]
    names = [a["aria-label"] for tag, a in Elements(article).tags if tag == "audio"]
    assert [name.partition(",")[0] for name in names] == ["question", "answer", "answer through the codec"]


def test_histograms_count_every_attempt_once(mixed_dataset):
    figures = Figures(Check())
    for rows, attempts in flat_tables(Store(mixed_dataset)):
        figures.add(rows, attempts)
    for side in ("question", "answer"):
        passed = [row[f"{side}_mos"] for row in stored(mixed_dataset, "shards")]
        every = [
            one for part in ("rejects", "attempts") for row in stored(mixed_dataset, part) for one in row["attempts"]
        ]
        own = [one for one in every if one["side"] == side and one["mos"] is not None]
        passed += [one["mos"] for one in own if one["reason"] is None]
        failed = [one["mos"] for one in own if one["reason"] is not None]
        found = figures.histograms[side, "mos"]
        for values, counts in ((passed, found.passed), (failed, found.failed)):
            edges = np.linspace(found.low, found.high, BINS + 1)
            assert counts.tolist() == np.histogram(np.clip(values, found.low, found.high), edges)[0].tolist()


def test_thresholds_are_drawn_where_they_are(page):
    bound = re.search(r'max_leading_silence_s 0.5</title><line x1="([\d.]+)"', page.read_text())
    assert float(bound[1]) == pytest.approx(0.5 / 2.0 * 320, abs=0.1)


def random_rows(count, seed=0):
    rng = np.random.default_rng(seed)
    columns = {field.name: pa.nulls(count, field.type) for field in FLAT}
    names = [f"{number:032x}" for number in rng.permutation(count)]
    columns |= {"id": pa.array(names), "outcome": pa.array(["accepted"] * count), "shard": pa.array(["s"] * count)}
    columns |= {
        "answer_wer": pa.array(rng.random(count) * 0.15, pa.float32()),
        "answer_mos": pa.array(2.8 + rng.random(count) * 2, pa.float32()),
    }
    return pa.table(columns, schema=FLAT)


def test_the_worst_the_best_and_the_borderline_of_many_rows_are_found():
    table = random_rows(5000)
    chooser = Chooser(Check(), 100, 1)
    for start in range(0, 5000, 32):
        chooser.add(table.slice(start, 32))
    chosen = {group: [one.row for one in chooser.chosen() if group in one.groups] for group in writing.SHARES}
    rows = table.to_pylist()
    worst = {row["id"] for row in chosen["worst"]}
    assert worst >= {row["id"] for row in sorted(rows, key=lambda row: -row["answer_wer"])[:5]}
    assert worst >= {row["id"] for row in sorted(rows, key=lambda row: row["answer_mos"])[:5]}

    def margin(row):
        return min(abs(row["answer_wer"] - 0.15) / 0.15, abs(row["answer_mos"] - 2.8) / 2.8)

    assert {row["id"] for row in chosen["borderline"]} == {row["id"] for row in sorted(rows, key=margin)[:20]}
    assert len(chooser.chosen()) <= 100


def test_a_full_page_leaves_sounds_out_and_says_so(mixed_dataset, tmp_path, monkeypatch):
    monkeypatch.setattr(writing, "SOUND_BYTES", 30_000)
    found = report(str(mixed_dataset), str(tmp_path / "small.html"))
    content = (tmp_path / "small.html").read_text()
    assert 0 < found.rows_with_sound < found.rows_shown
    assert sum(map(len, re.findall(r"base64,([^\"]+)", content))) <= 30_000
    assert "rows have no sound here" in content


def test_a_dataset_without_an_accepted_row_and_an_unfinished_one_have_reports(mixed_dataset, tmp_path):
    shutil.copytree(mixed_dataset, tmp_path / "none")
    none = rejudge(tmp_path / "none", {"check.max_leading_silence_s": 0.01})
    assert none.rows_accepted == 0
    report(str(tmp_path / "none"))
    assert "<b>0</b>rows accepted" in (tmp_path / "none" / "report.html").read_text()
    for path in ((tmp_path / "none" / "dataset.json"), *sorted((tmp_path / "none" / "units").iterdir())):
        path.unlink()
    report(str(tmp_path / "none"))
    content = (tmp_path / "none" / "report.html").read_text()
    assert "The dataset is unfinished" in content
    assert "<b>8</b>rows not made yet" in content


def test_what_is_no_dataset_has_no_report(tmp_path):
    with pytest.raises(SetupError, match="holds no anytalk dataset"):
        report(str(tmp_path))
    assert list(tmp_path.iterdir()) == []


def test_a_build_that_asks_for_it_writes_the_report_and_judging_renews_it(fake_recipe, write_jsonl, tmp_path):
    rows = [{"question": "Who?", "answer": "Me."}, {"question": "Where is it?", "answer": "Here, I think."}]
    recipe = fake_recipe(source=str(write_jsonl(rows)), report=True)
    build(recipe, tmp_path / "out", local=True)
    path = tmp_path / "out" / "report.html"
    assert "<b>2</b>rows accepted" in path.read_text()
    assert check(tmp_path / "out").problems == []
    # It may be deleted, and is made again, though nothing else is.
    before = path.read_bytes()
    path.unlink()
    build(recipe, tmp_path / "out", local=True)
    assert path.read_bytes() == before
    rejudge(tmp_path / "out", {"check.answer.max_leading_silence_s": 0.3})
    assert "<b>1</b>rows accepted" in path.read_text()
    assert check(tmp_path / "out").problems == []
