"""Evaluation suites: published formats are read as they are, figures are other tools' figures, verdicts are kept."""

import io
import json
import sys
from dataclasses import replace
from datetime import date

import datasets
import jiwer
import numpy as np
import pytest
import soundfile
import torch
from huggingface_hub import ModelCard
from scipy import stats
from support.chat_server import write_tiny_model
from support.misbehaving import FAULTS, serve
from transformers import Qwen2Config
from whisper_normalizer.english import EnglishTextNormalizer

from anytalk.model import Layout, MiniOmni, MiniOmniConfig, backbone_fields
from anytalk.recipes.cli import main
from anytalk.recipes.data.tokenizer import train_tokenizer
from anytalk.recipes.suites.ask import Row, Said, _scored, _word_errors
from anytalk.recipes.suites.backbone import Backbone, backbone_of
from anytalk.recipes.suites.figure import figures
from anytalk.recipes.suites.interval import ratio
from anytalk.recipes.suites.item import BadItem, Item
from anytalk.recipes.suites.page import suite_page
from anytalk.recipes.suites.score import chosen_option, contains, is_exact, word_errors
from anytalk.recipes.suites.sets import Reading, evaluation_sets
from anytalk.synth.codec import load_codec
from anytalk.synth.errors import SetupError
from anytalk.synth.hearing import FakeWhisper

pytestmark = pytest.mark.usefixtures("one_thread")

RATE_HZ = 16_000
PAIRS = [("What is two plus two?", "4"), ("Which city is the capital of France?", "Paris"), ("Who am I?", "You.")]


def a_sound(seconds=0.5):
    t = np.arange(int(seconds * RATE_HZ)) / RATE_HZ
    return (0.3 * np.sin(2 * np.pi * 200 * t)).astype(np.float32)


def a_file(seconds=0.5, kind="WAV"):
    content = io.BytesIO()
    soundfile.write(content, a_sound(seconds), RATE_HZ, format=kind)
    return content.getvalue()


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """A random model that hears through the fake Whisper, as a training run with one checkpoint."""
    folder = tmp_path_factory.mktemp("runs") / "tiny" / "best"
    folder.mkdir(parents=True)
    whisper, codec = FakeWhisper(), load_codec("bundled")
    tokenizer = train_tokenizer([" ".join(pair) for pair in PAIRS] * 20, 300)
    tokenizer.save(str(folder / "tokenizer.json"))
    layout = Layout(tokenizer.get_vocab_size(), codec.codebook_size, 7)
    shape = Qwen2Config(
        hidden_size=32, intermediate_size=48, num_hidden_layers=1, num_attention_heads=4, num_key_value_heads=2
    )
    torch.manual_seed(0)
    config = MiniOmniConfig(
        layout,
        backbone_fields(shape, layout),
        whisper.feature_width,
        adapter_hidden=16,
        stack=5,
        feature={**whisper.fingerprint, "width": whisper.feature_width},
        codec=dict(codec.fingerprint),
    )
    MiniOmni(config).save_pretrained(folder)
    return folder.parent


@pytest.fixture
def anytalk(monkeypatch, capsys):
    """Run `anytalk eval`; give its exit code, its JSON or text, and standard error."""

    def call(*arguments):
        monkeypatch.setattr(sys, "argv", ["anytalk", "eval", *map(str, arguments), "--device", "cpu"])
        with pytest.raises(SystemExit) as ended:
            main()
        out, err = capsys.readouterr()
        return ended.value.code or 0, json.loads(out) if "--json" in arguments and out else out, err

    return call


# Reading what is published


def write_librispeech(root):
    for name, texts in {"test-clean": ["HE WENT", "THE SEA IS WIDE"], "dev-other": ["GOOD MORNING"]}.items():
        chapter = root / "LibriSpeech" / name / "61" / "70968"
        chapter.mkdir(parents=True)
        lines = [f"61-70968-{number:04d} {text}" for number, text in enumerate(texts)]
        (chapter / "61-70968.trans.txt").write_text("\n".join(lines) + "\n")
        for number in range(len(texts)):
            (chapter / f"61-70968-{number:04d}.flac").write_bytes(a_file(0.3 + 0.1 * number, "FLAC"))
    return root / "LibriSpeech"


def test_librispeech_is_read_as_it_is_unpacked_whole_or_in_part(tmp_path):
    root = write_librispeech(tmp_path)
    sets = {each.name: each for each in evaluation_sets(str(root), Reading())}
    assert {name: dict(each.beside) for name, each in sets.items()} == {
        "test-clean": {"Mini-Omni's paper": 0.045},
        "dev-other": {"Mini-Omni's paper": 0.092},
    }
    first, second = sets["test-clean"].read()
    assert (first.id, first.question, second.question) == ("61-70968-0000", "HE WENT", "THE SEA IS WIDE")
    assert soundfile.info(second.audio).frames == 6400
    [alone] = evaluation_sets(str(root / "test-clean"), Reading())
    assert (alone.name, len(list(alone.read()))) == ("test-clean", 2)
    second.audio.unlink()
    assert isinstance(list(alone.read())[1], BadItem)


def test_librispeech_on_the_hub_is_its_four_sets():
    sets = evaluation_sets("librispeech", Reading())
    assert [(each.source, each.config, each.split, *each.beside.values()) for each in sets] == [
        ("openslr/librispeech_asr", "clean", "test", 0.045),
        ("openslr/librispeech_asr", "other", "test", 0.097),
        ("openslr/librispeech_asr", "clean", "validation", 0.046),
        ("openslr/librispeech_asr", "other", "validation", 0.092),
    ]
    [one] = evaluation_sets("openslr/librispeech_asr", Reading("test", "other"))
    assert (one.name, dict(one.beside)) == ("test-other", {"Mini-Omni's paper": 0.097})


def test_a_subset_of_voicebench_is_read_as_datasets_publishes_it(tmp_path):
    rows = {"prompt": [q for q, _ in PAIRS], "reference": [a for _, a in PAIRS]}
    rows["audio"] = [{"bytes": a_file(), "path": None} for _ in PAIRS]
    table = datasets.Dataset.from_dict(rows).cast_column("audio", datasets.Audio(RATE_HZ))
    (tmp_path / "sd-qa").mkdir()
    table.to_parquet(tmp_path / "sd-qa" / "usa-00000-of-00001.parquet")
    card = "---\nconfigs:\n- config_name: sd-qa\n  data_files:\n  - split: usa\n    path: sd-qa/usa-*\n---\n"
    (tmp_path / "README.md").write_text(card)
    [one] = evaluation_sets(str(tmp_path), Reading("usa", "sd-qa"))
    items = list(one.read())
    assert [(each.question, each.references) for each in items] == [(q, (a,)) for q, a in PAIRS]
    assert soundfile.info(io.BytesIO(items[0].audio)).samplerate == RATE_HZ


def test_vocalbench_finds_its_recordings_beside_its_json(tmp_path):
    (tmp_path / "json").mkdir()
    (tmp_path / "audio" / "knowledge").mkdir(parents=True)
    (tmp_path / "audio" / "knowledge" / "000.wav").write_bytes(a_file())
    common = {"Set": "Knowledge", "Category": "Cities", "Source": "Qwen"}
    rows = [
        common | {"Qid": f"knowledge-{n:03d}", "Audio": f"knowledge/{n:03d}.wav", "Question": q, "Answer": a}
        for n, (q, a) in enumerate(PAIRS[:2])
    ]
    (tmp_path / "json" / "knowledge.json").write_text(json.dumps(rows, indent=4))
    [one] = evaluation_sets(str(tmp_path / "json" / "knowledge.json"), Reading())
    good, bad = one.read()
    assert (good.id, good.question, good.references) == ("knowledge-000", PAIRS[0][0], ("4",))
    assert good.audio.read_bytes() == a_file()
    assert bad.error.startswith("missing_audio: ")


def test_llama_questions_are_read_as_csv_and_as_json_lines(tmp_path):
    (tmp_path / "1.wav").write_bytes(a_file())
    (tmp_path / "llama_questions.csv").write_text('Questions,Answer,audio_filename\n"Who, me?",You,1.wav\n')
    lines = [{"question": "Who?", "answers": ["You", "Thou"], "audio": {"path": "1.wav", "bytes": None}}]
    (tmp_path / "llama.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    for name, question, answers in [
        ("llama_questions.csv", "Who, me?", ("You",)),
        ("llama.jsonl", "Who?", ("You", "Thou")),
    ]:
        [one] = evaluation_sets(str(tmp_path / name), Reading())
        [item] = one.read()
        assert (item.question, item.references, item.audio.name) == (question, answers, "1.wav")
    [one] = evaluation_sets(str(tmp_path / "llama.jsonl"), Reading(columns={"answer": "right"}))
    with pytest.raises(SetupError, match="no column 'right'; there are: question, answers, audio"):
        list(one.read())


def test_datasets_of_our_own_are_asked_by_split_and_a_missing_one_names_those_there(write_dataset, tmp_path):
    folder = write_dataset(splits={"train": 4, "test": 2})
    [one] = evaluation_sets(str(folder), Reading())
    [item] = one.read()  # of two rows the second is a later turn
    assert (one.name, item.codes.shape[1], bool(item.references)) == ("dataset test", 7, True)
    with pytest.raises(SetupError, match="has no split 'dev'; name one with --split: test, train"):
        evaluation_sets(str(folder), Reading("dev"))
    for name, line in [
        ("nowhere/x.csv", "nowhere/x.csv does not exist"),
        ("a b", "a b does not exist, and is no hub id"),
    ]:
        with pytest.raises(SetupError, match=f"^{line}"):
            list(evaluation_sets(name, Reading())[0].read())


def test_style_tags_are_no_words_to_a_suite(write_dataset, tmp_path):
    folder = write_dataset(splits={"test": 1})
    (folder / "dataset.json").write_text(json.dumps({"recipe": {"clean": {"style_tags": ["*laughs*"]}}}))
    (tmp_path / "pairs.jsonl").write_text('{"question": "Who? {sigh}", "answer": "*laughs* You."}')
    [own], [table] = (
        list(evaluation_sets(str(path), Reading(style_tags=("{sigh}",)))[0].read())
        for path in (folder, tmp_path / "pairs.jsonl")
    )
    assert own.style_tags == ("{sigh}", "*laughs*")
    assert table.style_tags == ("{sigh}",)
    assert own.plain("Well *laughs*, who knows? {sigh}") == "Well, who knows?"
    assert _word_errors(own, "Yes *laughs*, of course.", "yes of course") == (0, 3)
    assert _scored(replace(own, references=("You. *laughs*",)), "You!").scores["exact"] == (1.0, 1.0)


# Scores and intervals


def test_words_are_counted_as_jiwer_does_after_whispers_normaliser():
    pairs = [("MISTER QUILTER IS 20", "Mr. Quilter is twenty one"), ("GOOD MORNING", ""), ("COLOUR", "color")]
    normalise = EnglishTextNormalizer()
    expected = jiwer.wer([normalise(a) for a, _ in pairs], [normalise(b) for _, b in pairs])
    counted = [word_errors(*pair, "en") for pair in pairs]
    assert sum(e for e, _ in counted) / sum(n for _, n in counted) == pytest.approx(expected)
    assert word_errors("我喜欢你", "我喜欢他", "zh") == (1, 4)


@pytest.mark.parametrize(
    ("said", "references", "exact", "holds"),
    [
        ("Paris.", ["paris"], True, True),
        ("It is Paris, in France.", ["Paris"], False, True),
        ("Four.", ["4"], True, True),
        ("There are fourteen.", ["4"], False, False),
        ("Parisian life", ["Paris"], False, False),
        ("Thou art", ["You", "thou"], False, True),
        ("The answer is B.", ["B"], True, True),
        ("A lever, of course", ["A"], False, False),
        ("", ["Paris"], False, False),
    ],
)
def test_answers_are_right_by_words(said, references, exact, holds):
    assert (is_exact(said, references, "en"), contains(said, references, "en")) == (exact, holds)


def test_an_option_is_the_one_that_is_chosen():
    said = ["C", "(d) iron", "I would choose option B", "A tree", "*B*: the sun", "Not A but C"]
    assert [chosen_option(each) for each in said] == ["C", "D", "B", None, "B", "C"]


def test_intervals_are_those_of_scipy_and_the_same_every_time():
    rng = np.random.default_rng(3)
    words = rng.integers(3, 30, 200).astype(float)
    errors = rng.binomial(words.astype(int), 0.1).astype(float)
    expected = stats.bootstrap(
        (errors, words),
        lambda above, below, axis: above.sum(axis=axis) / below.sum(axis=axis),
        vectorized=True,
        paired=True,
        method="percentile",
        rng=rng,
    ).confidence_interval
    found = ratio(errors, words)
    assert found.value == errors.sum() / words.sum()
    assert (found.low, found.high) == pytest.approx(tuple(expected), abs=0.002)
    assert found == ratio(errors, words)
    assert ratio([1.0] * 9, [1.0] + [0.0] * 8)[1:3] == (None, None)
    assert ratio([2.0] * 9, [4.0] * 9)[:3] == (0.5, 0.5, 0.5)
    assert ratio([1.0], [1.0])[1:3] == (None, None)
    assert ratio([1.0], [0.0]) is None


def test_variants_of_a_question_are_drawn_together_and_what_is_kept_is_of_rows_that_both_have():
    def row(question, right, best):
        scores = {"T1T2": Said("", {"exact": (right, 1.0)}), "backbone": Said("", {"exact": (best, 1.0)})}
        return Row(
            Item(question, question), {name: said for name, said in scores.items() if said.scores["exact"][0] >= 0}
        )

    rows = [row(f"q{n}", float(n % 2), 1.0) for n in range(20)]
    [mine, alone] = figures("set", rows, "backbone", {})
    [fourfold, _] = figures("set", rows * 4, "backbone", {})
    assert (fourfold.low, fourfold.high, fourfold.rows) == (mine.low, mine.high, 80)
    assert (mine.kept, mine.ceiling_value, alone.kept) == (0.5, 1.0, None)
    [mine, _] = figures("set", [*rows, row("more", 1.0, -1.0)], "backbone", {})
    assert (mine.rows, mine.kept) == (21, 0.5)


# Suites


def test_recognition_is_measured_set_by_set_and_written_into_the_card(run, anytalk, tmp_path):
    root, out = write_librispeech(tmp_path), tmp_path / "out"
    (run / "best" / "README.md").unlink(missing_ok=True)
    command = (run, root, "--suite", "asr", "--max-frames", 3, "--batch", 2, "--out", out)
    code, result, _ = anytalk(*command, "--json")
    assert code == 0
    assert result == json.loads((out / "evaluation.json").read_text())
    normalise = EnglishTextNormalizer()
    by_set = {figure["set"]: figure for figure in result["figures"]}
    for name, paper in (("test-clean", 0.045), ("dev-other", 0.092)):
        answers = [each for each in result["answers"] if each["set"] == name]
        texts = [normalise(each["question"]) for each in answers]
        said = [normalise(each["said"]["A1T1"]["text"]) for each in answers]
        assert by_set[name]["value"] == pytest.approx(jiwer.wer(texts, said), abs=1e-4)
        assert by_set[name]["published"] == {"Mini-Omni's paper": paper}
    assert soundfile.info(out / result["answers"][0]["sounds"]["question"]).samplerate == RATE_HZ
    page = (out / "report.html").read_text()
    assert "Mini-Omni&#x27;s paper 4.5%" in page
    assert "<h1>Speech recognition: " in page
    for _ in range(2):
        card = ModelCard.load(run / "best" / "README.md")
        assert card.data.model_name == "tiny"
        assert [
            (each.task_type, each.dataset_name, each.metric_type, each.metric_value) for each in card.data.eval_results
        ] == [("automatic-speech-recognition", name, "wer", by_set[name]["value"]) for name in by_set]
        assert card.text.count("## Speech recognition") == 1
        assert str(tmp_path) not in str(card)
        code, text, _ = anytalk(*command)
        assert (code, "4.5%" in text) == (0, True)


def test_what_a_card_holds_besides_stays(run, anytalk, tmp_path):
    card = run / "best" / "README.md"
    card.write_text("---\nlicense: apache-2.0\n---\n\n# Mine\n\nWords of mine.\n")
    (tmp_path / "text.txt").write_text("Who am I?\n\nWhat is two?\n")
    command = (
        run,
        tmp_path / "text.txt",
        "--suite",
        "tts",
        "--max-frames",
        3,
        "--mos",
        "fake",
        "--out",
        tmp_path / "o",
    )
    assert anytalk(*command, "--no-card")[0] == 0
    assert card.read_text().endswith("Words of mine.\n")
    code, result, _ = anytalk(*command, "--json")
    assert code == 0
    assert {figure["measure"] for figure in result["figures"]} == {"wer", "mos"}
    assert card.read_text().startswith("---\nlicense: apache-2.0\n")
    assert "Words of mine.\n\n<!-- anytalk eval tts text: begin -->" in card.read_text()
    card.write_text("---\nlicense: [\n---\n")
    assert "the model card" in anytalk(*command)[2]
    card.unlink()


def test_reading_aloud_is_compared_with_the_codec_alone(run, anytalk, tmp_path):
    for number, (question, _) in enumerate(PAIRS):
        (tmp_path / "set" / f"{number}.wav").parent.mkdir(exist_ok=True)
        (tmp_path / "set" / f"{number}.wav").write_bytes(a_file(0.4))
        (tmp_path / "set" / f"{number}.txt").write_text(question)
    code, result, _ = anytalk(
        run, tmp_path / "set", "--suite", "tts", "--max-frames", 4, "--out", tmp_path / "out", "--json", "--no-card"
    )
    assert code == 0
    figures = {(each["answerer"], each["measure"]): each for each in result["figures"]}
    assert set(figures) == {(who, measure) for who in ("T1A1", "codec") for measure in ("wer", "mos")}
    # The fake Whisper hears nothing: all words are missing.
    assert figures["T1A1", "wer"]["value"] == figures["T1A1", "wer"]["ceiling_value"] == 1.0
    assert figures["T1A1", "mos"]["ceiling_value"] == figures["codec", "mos"]["value"] > 1
    [first, *_] = result["answers"]
    assert soundfile.info(tmp_path / "out" / first["sounds"]["T1A1"]).frames % 2048 == 0


def verdict(body):
    """What a judge says: Paris is right; of open questions all are rated 2."""
    if len(body["messages"]) == 1:
        return '{"turns": []}'  # the client tries the server out
    system, user = (message["content"] for message in body["messages"][:2])
    if "score" in system:
        return '{"score": 2}'
    answer = user.rpartition("Answer: ")[2]
    if answer == '""' and len(body["messages"]) == 2:
        return "I cannot say."
    return json.dumps({"correct": "Paris" in user.partition("Answer:")[0]})


@pytest.fixture
def questions(tmp_path):
    """Spoken questions with answers, as JSON lines."""
    (tmp_path / "q.wav").write_bytes(a_file())
    rows = [{"question": q, "answer": a, "audio": "q.wav"} for q, a in PAIRS]
    (tmp_path / "questions.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return tmp_path / "questions.jsonl"


def test_spoken_answers_are_judged_once_and_the_verdicts_kept(run, anytalk, questions, tmp_path, monkeypatch):
    write_tiny_model(tmp_path / "lm")
    monkeypatch.setenv("JUDGE_KEY", "sk-secret-123")
    out = tmp_path / "out"
    with serve(verdict) as server:
        judge = ("--judge-url", server.url, "--judge-model", "tiny", "--judge-key-env", "JUDGE_KEY")
        command = (run, questions, "--suite", "speech", "--backbone", tmp_path / "lm", "--max-frames", 4, "--no-card")
        code, result, err = anytalk(*command, *judge, "--out", out, "--json")
        assert code == 0, err
        asked = len(server.bodies)
        assert {body["temperature"] for body in server.bodies[1:] if len(body["messages"]) == 2} == {0.0}
        assert anytalk(*command, *judge, "--out", out, "--json")[1]["figures"] == result["figures"]
        assert len(server.bodies) == asked, "a second run asks nothing again"
    figures = {(each["answerer"], each["measure"]): each for each in result["figures"]}
    assert {who for who, _ in figures} == {"A1T2", "A1A2 text", "A1A2 speech", "backbone"}
    assert {measure for _, measure in figures} >= {"exact", "contains", "judge"}
    # One question of three is about Paris, whoever answers.
    judged = figures["A1A2 speech", "judge"]
    assert (judged["value"], judged["rows"], judged["ceiling"], judged["kept"]) == (0.3333, 3, "backbone", 1.0)
    verdicts = [json.loads(line) for line in (out / "judge" / "verdicts.jsonl").read_text().splitlines()]
    assert len(verdicts) == 12
    assert {each["judge"] for each in verdicts} == {"tiny-1"}
    prompts = json.loads((out / "judge" / "prompts.json").read_text())
    assert prompts["sampling"]["temperature"] == 0.0
    assert "$references" in prompts["templates"][0]["user"]
    assert all("sk-secret" not in path.read_text(errors="replace") for path in out.rglob("*") if path.is_file())


def test_open_questions_take_a_judge_and_written_ones_show_what_is_kept(run, anytalk, questions, tmp_path):
    command = (run, questions, "--suite", "text", "--max-frames", 4, "--out", tmp_path / "a", "--json", "--no-card")
    write_tiny_model(tmp_path / "lm")
    code, result, _ = anytalk(*command, "--backbone", tmp_path / "lm")
    assert (code, result["ceiling"], list(result["answers"][0]["said"])) == (0, "backbone", ["T1T2", "backbone"])
    code, result, _ = anytalk(*command)
    assert (code, result["ceiling"]) == (0, None)
    assert [(each["answerer"], each["measure"]) for each in result["figures"]] == [
        ("T1T2", "exact"),
        ("T1T2", "contains"),
    ]
    opened = tmp_path / "open.jsonl"
    opened.write_text('{"prompt": "Tell me a story."}\n')
    command = (run, opened, "--suite", "text", "--max-frames", 4, "--out", tmp_path / "b", "--no-card")
    code, _, err = anytalk(*command)
    assert code == 2
    assert "open.jsonl" not in err
    assert "holds no answers to compare with" in err
    with serve(verdict) as server:
        code, result, _ = anytalk(*command, "--judge-url", server.url, "--judge-model", "tiny", "--json")
    assert [(each["measure"], each["value"]) for each in result["figures"]] == [("judge_score", 2.0)]


def test_a_judge_that_fails_is_one_line_and_the_next_run_asks_for_the_rest(run, anytalk, questions, tmp_path):
    command = (run, questions, "--suite", "text", "--max-frames", 4, "--out", tmp_path / "out", "--no-card", "--json")
    with serve(verdict, lambda number, body: FAULTS["refused"] if number == 2 else None) as server:
        code, result, _ = anytalk(*command, "--judge-url", server.url, "--judge-model", "tiny")
        assert code == 0
        assert [each["error"].startswith("T1T2: not judged: refused_request") for each in result["failed"]] == [True]
    code, _, err = anytalk(
        *command[:-4], "--out", tmp_path / "new", "--judge-url", "http://127.0.0.1:9/v1", "--judge-model", "tiny"
    )
    assert (code, err.count("\n")) == (2, 1)
    assert "no answer from" in err


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        ((), "name the dataset that the model was trained on, or what to measure with --suite"),
        (("--suite", "text"), "name what --suite text is to be measured on: a dataset, folder, table or hub id"),
        (("x.jsonl", "--suite", "asr", "--column", "q"), "--column 'q' must be KIND=NAME"),
        (("nothing.jsonl", "--suite", "asr"), "nothing.jsonl does not exist"),
    ],
)
def test_what_a_suite_cannot_do_is_one_line(arguments, line, run, anytalk, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    code, _, err = anytalk(run, *arguments, "--out", tmp_path / "out")
    assert (code, err.count("\n")) == (2, 1), err
    assert line in err


def test_half_a_judge_is_refused(run, anytalk, questions):
    for suite, more, line in [
        ("text", ("--judge-model", "m"), "a judge takes both --judge-url and --judge-model"),
        ("asr", ("--judge-model", "m", "--judge-url", "http://x/v1"), "--suite asr has no answers to judge"),
        ("text", ("--judge-model", "m", "--judge-url", "x"), "the judge: base_url must begin with http"),
    ]:
        code, _, err = anytalk(run, questions, "--suite", suite, *more)
        assert (code, line in err) == (2, True), err


def test_the_backbone_is_the_one_that_the_run_names_and_answers_as_transformers_does(run, tmp_path):
    from transformers import AutoModelForCausalLM, AutoTokenizer

    assert backbone_of(run) is None
    (tmp_path / "checkpoints" / "step-1").mkdir(parents=True)
    (tmp_path / "recipe.json").write_text(json.dumps({"model": {"backbone": "Qwen/Qwen2-0.5B"}}))
    assert backbone_of(tmp_path) == backbone_of(tmp_path / "checkpoints" / "step-1") == "Qwen/Qwen2-0.5B"
    write_tiny_model(tmp_path / "lm")
    tokenizer, model = (kind.from_pretrained(tmp_path / "lm") for kind in (AutoTokenizer, AutoModelForCausalLM))
    expected = []
    for question, _ in PAIRS[:2]:
        chat = tokenizer.apply_chat_template(
            [{"role": "user", "content": question}], return_tensors="pt", add_generation_prompt=True, return_dict=True
        )
        ids = model.generate(**chat, max_new_tokens=128, do_sample=False)
        expected.append(tokenizer.decode(ids[0, chat["input_ids"].shape[1] :], skip_special_tokens=True).strip())
    assert Backbone(str(tmp_path / "lm")).answer([question for question, _ in PAIRS[:2]]) == expected
    with pytest.raises(SetupError, match="nothing cannot be loaded"):
        Backbone(str(tmp_path / "nothing"))


def test_what_was_said_cannot_break_a_page():
    said = {"text": "<script>", "scores": {"wer": [1, 1]}}
    answer = {"set": "<b>", "id": "1", "question": "<i>", "references": [], "said": {"A1T1": said}, "sounds": {}}
    result = {"suite": "asr", "recogniser": None, "judge": None, "backbone": None, "mos": None, "figures": []}
    page = suite_page("<u>", date(2026, 11, 30), result | {"answers": [answer], "failed": []})
    assert not any(tag in page for tag in ("<script>", "<b>", "<i>", "<u>"))
