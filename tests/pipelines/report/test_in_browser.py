"""The report as a person has it: opened from the disk, in Chromium, under its own security policy."""

import pyarrow as pa
import pytest
from support.browser import chromium, needs_chromium, opened

pytestmark = needs_chromium


def stored(folder, part):
    tables = [pa.ipc.open_file(path).read_all() for path in sorted((folder / part).glob("*.arrow"))]
    return [row for table in tables for row in table.to_pylist()]


@pytest.fixture(scope="module")
def browser():
    with chromium() as started:
        yield started


def ids(opened_page):
    return opened_page.eval_on_selector_all(
        "article", "all => all.filter(one => one.checkVisibility()).map(one => one.id.slice(4))"
    )


def test_rows_are_sorted_and_searched(browser, page, mixed_dataset):
    accepted = {row["id"]: row for row in stored(mixed_dataset, "shards")}
    with opened(browser, f"file://{page}#sort=answer_leading_silence_s&order=up&group=borderline") as shown:
        lengths = [accepted[name]["answer_leading_silence_s"] for name in ids(shown)]
        assert len(lengths) == len(accepted)
        assert lengths == sorted(lengths)
        shown.select_option("#order", "down")
        assert [accepted[name]["answer_leading_silence_s"] for name in ids(shown)] == lengths[::-1]
        shown.select_option("#group", "")
        shown.fill("#find", "NUMBER 3?")
        every = [row for part in ("shards", "rejects") for row in stored(mixed_dataset, part)]
        wanted = {row["id"] for row in every if (row["question_written"] or row["question"]) == "Number 3?"}
        assert set(ids(shown)) == wanted != set()
        assert "find=NUMBER+3" in shown.evaluate("location.hash")
        shown.fill("#find", "nothing has this")
        assert ids(shown) == []
        assert shown.text_content("#count").startswith("0 of ")


def test_every_sound_plays_and_no_text_runs(browser, page):
    with opened(browser, f"file://{page}") as shown:
        durations = shown.evaluate(
            """async () => Promise.all([...document.querySelectorAll("audio")].map((audio) => new Promise(done => {
              audio.addEventListener("loadedmetadata", () => done(audio.duration));
              audio.addEventListener("error", () => done(-1));
              audio.preload = "metadata";
              audio.load();
            })))"""
        )
        assert len(durations) > 10
        assert all(0.05 < seconds < 60 for seconds in durations)
        assert shown.title() == "Dataset fake"


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_nothing_is_wider_than_a_phone(browser, page, scheme):
    with opened(browser, f"file://{page}", viewport={"width": 390, "height": 800}, color_scheme=scheme) as shown:
        assert shown.evaluate("document.documentElement.scrollWidth") <= 390
        ground = shown.evaluate("getComputedStyle(document.body).backgroundColor")
        assert ground == {"light": "rgb(255, 255, 255)", "dark": "rgb(22, 24, 28)"}[scheme]
