"""Talking: pieces make the whole answer, every way to ask is the same, and what cannot be asked is one clear line."""

import importlib
import json
import shutil
import subprocess
import sys

import numpy as np
import pytest
import soundfile
import torch
from support.gpus import pretend_gpus
from support.talkers import write_talker

from anytalk.model import decoding
from anytalk.model.layout import Task, Turn, adapter_positions
from anytalk.model.network import MiniOmni
from anytalk.model.sampling import Sampling
from anytalk.recipes.data.tokenizer import load_tokenizer, train_tokenizer
from anytalk.recipes.talk import load as talk_load
from anytalk.recipes.talk.load import load_engines, load_model
from anytalk.recipes.talk.talker import Talker, Text, collect, pcm16, talk
from anytalk.synth.audio import read_audio
from anytalk.synth.codec import load_codec
from anytalk.synth.errors import SampleError, SetupError
from anytalk.synth.hearing import FakeWhisper, load_whisper

pytestmark = pytest.mark.usefixtures("one_thread")

RATE_HZ = 24_000
FRAMES = 9
SAMPLES = FRAMES * 2048
CORPUS = ["Who are you? I am a small model that was never trained.", "How far is it to the sea? Not far at all."] * 20


@pytest.fixture(scope="module")
def codec():
    return load_codec("bundled")


@pytest.fixture(scope="module")
def whisper():
    return load_whisper("tiny.en")


@pytest.fixture(scope="module")
def checkpoint(codec, tmp_path_factory):
    """It hears through the fake Whisper, which costs no time."""
    return write_talker(tmp_path_factory.mktemp("checkpoint"), codec, FakeWhisper(), positions=32_768)


@pytest.fixture(scope="module")
def real_checkpoint(codec, whisper, tmp_path_factory):
    """It hears through tiny.en."""
    return write_talker(tmp_path_factory.mktemp("real"), codec, whisper, positions=32_768)


@pytest.fixture(scope="module")
def model(checkpoint):
    return MiniOmni.from_pretrained(checkpoint)


@pytest.fixture(scope="module")
def talker(model, codec):
    return Talker(model, codec, FakeWhisper(), max_frames=FRAMES)


def a_sound(seconds=1.3, pitch_hz=180.0, rate_hz=RATE_HZ):
    """Something like vowels."""
    t = np.arange(int(seconds * rate_hz)) / rate_hz
    wave = sum(np.sin(2 * np.pi * n * pitch_hz * t + n) / n for n in range(1, 12))
    return (0.1 * wave * (1 + np.sin(2 * np.pi * 3 * t))).astype(np.float32)


@pytest.fixture(scope="module")
def question(tmp_path_factory):
    path = tmp_path_factory.mktemp("questions") / "question.wav"
    soundfile.write(path, pcm16(a_sound()), RATE_HZ)
    return path


def same(answer, other):
    return answer.text == other.text and np.array_equal(answer.codes, other.codes) and answer.steps == other.steps


# In Python


def test_four_arguments_are_enough_and_the_pieces_are_the_whole_answer_decoded_at_once(
    real_checkpoint, codec, whisper, question, monkeypatch
):
    model = MiniOmni.from_pretrained(real_checkpoint)
    # As an attribute of its package, `talk` is the function.
    monkeypatch.setattr(importlib.import_module("anytalk.recipes.talk.talker"), "MAX_POSITIONS", 60)
    pieces = list(talk(model, codec, whisper, str(question)))
    [heard] = whisper.listen([read_audio(question, 16_000)])
    features = torch.from_numpy(heard.features)
    request = decoding.Request([Turn(Task.A1A2, positions=adapter_positions(len(features), 5))], [features])
    [whole] = decoding.generate(model, [request], parallel=True, max_positions=60)
    assert len(pieces) > 3
    assert "".join(piece.text for piece in pieces) == load_tokenizer(model.folder).decode(whole.text)
    np.testing.assert_array_equal(np.concatenate([piece.codes for piece in pieces]), whole.codes)
    assert len(whole.codes) > 20
    pcm = np.concatenate([piece.pcm for piece in pieces])
    np.testing.assert_allclose(pcm, codec.decode([whole.codes])[0], atol=1e-3)
    assert (pieces[-1].end, pieces[-1].steps) == (whole.end, whole.steps) == ("limit", whole.steps)


def test_an_answer_is_timed_from_the_question_on(talker, question):
    answer = collect(talker.talk(question), RATE_HZ)
    assert answer.speech_s == SAMPLES / RATE_HZ
    assert 0 < answer.seconds_to_first_audio < answer.real_time_factor * answer.speech_s
    assert (len(answer.pcm), answer.codes.shape, answer.steps) == (SAMPLES, (FRAMES, 7), FRAMES + 7)


def test_a_question_in_writing_is_answered_aloud_by_one_row(talker, model):
    answer = collect(talker.talk(Text("Who are you?")), RATE_HZ)
    tokens = talker.tokenizer.encode("Who are you?").ids
    [whole] = decoding.generate(model, [decoding.Request([Turn(Task.T1A2, question=tokens)], max_frames=FRAMES)])
    assert answer.text == talker.tokenizer.decode(whole.text)
    np.testing.assert_array_equal(answer.codes, whole.codes)


@pytest.mark.parametrize("task", Task)
def test_every_task_is_what_the_decoder_gives_for_it(task, talker, model, question):
    asked = str(question) if task.hears else Text("Who are you?")
    [answer] = talker.answer_all([asked], task=task)
    if task.hears:
        [features] = talker.whisper.features([read_audio(question, 16_000)])
        turn = Turn(task, positions=adapter_positions(len(features), 5))
        request = decoding.Request([turn], [torch.from_numpy(features)], max_frames=FRAMES)
    else:
        turn = Turn(task, question=talker.tokenizer.encode("Who are you?", add_special_tokens=False).ids)
        request = decoding.Request([turn], max_frames=FRAMES)
    [expected] = decoding.generate(model, [request], parallel=task.hears)
    assert answer.text == talker.tokenizer.decode(expected.text)
    assert np.array_equal(answer.codes, expected.codes)
    assert (len(answer.pcm) > 0) == task.speaks
    assert same(collect(talker.talk(asked, task), RATE_HZ), answer)
    if task is Task.T1A1:
        assert "Who are you?".startswith(answer.text.strip())


def test_a_task_refuses_the_other_kind_of_question(talker, question):
    with pytest.raises(SetupError, match="task A1T1 takes a recording, and got a text"):
        talker.talk(Text("Who?"), Task.A1T1)
    with pytest.raises(SetupError, match="task T1A1 takes a text"):
        list(talker.answer_all([question], task=Task.T1A1))


def test_a_seed_repeats_and_another_one_does_not(model, codec):
    chance = {"text": Sampling(1.0), "audio": Sampling(1.0, top_k=50), "max_frames": 3}
    first, again, other = (
        collect(talk(model, codec, FakeWhisper(), Text("Who?"), seed=seed, **chance), RATE_HZ) for seed in (5, 5, 6)
    )
    assert same(first, again)
    assert not np.array_equal(first.codes, other.codes)


def test_every_format_is_the_same_question(real_checkpoint, codec, whisper, question, tmp_path):
    sound = pcm16(a_sound())
    soundfile.write(tmp_path / "q.flac", sound, RATE_HZ)
    talker = Talker(MiniOmni.from_pretrained(real_checkpoint), codec, whisper, max_frames=FRAMES)
    questions = [question, tmp_path / "q.flac", (sound / np.float32(32768), RATE_HZ)]
    wav, flac, waveform = talker.answer_all(questions)
    assert same(wav, flac)
    assert same(wav, waveform)


def test_an_mp3_is_heard_nearly_as_the_wav_and_is_answered(real_checkpoint, codec, whisper, question, tmp_path):
    """A random model's words turn on the last digit, so what is compared is what it hears; another voice is far off."""
    soundfile.write(tmp_path / "q.mp3", pcm16(a_sound()), RATE_HZ)
    soundfile.write(tmp_path / "other.wav", pcm16(a_sound(pitch_hz=120.0)), RATE_HZ)
    talker = Talker(MiniOmni.from_pretrained(real_checkpoint), codec, whisper, max_frames=2)
    wav, mp3, other = (
        talker._request(talker._read(path), Task.A1A2).features[0].float()
        for path in (question, tmp_path / "q.mp3", tmp_path / "other.wav")
    )
    assert wav.shape == mp3.shape == other.shape
    assert (mp3 - wav).norm() < 0.1 * wav.norm() < 0.5 * (other - wav).norm()
    assert len(collect(talker.talk(tmp_path / "q.mp3"), RATE_HZ).codes) == 2


def test_batches_give_the_answers_that_each_question_gets_alone(talker, question, tmp_path):
    soundfile.write(tmp_path / "b.wav", a_sound(0.6, 120.0), RATE_HZ)
    soundfile.write(tmp_path / "silent.wav", np.zeros(9000), RATE_HZ)
    questions = [question, tmp_path / "silent.wav", Text("How far is it?"), tmp_path / "b.wav", Text(" ")]
    alone = [next(talker.answer_all([each])) for each in questions]
    for batch in (2, 8):
        together = list(talker.answer_all(questions, batch))
        for one, other in zip(alone, together, strict=True):
            assert type(one) is type(other)
            if isinstance(one, SampleError):
                assert str(one) == str(other)
            else:
                assert same(one, other)
                np.testing.assert_allclose(one.pcm, other.pcm, atol=1e-3)
                assert other.real_time_factor > 0
                assert other.seconds_to_first_audio is None
    streamed = collect(talker.talk(question), RATE_HZ)
    assert same(streamed, together[0])
    assert isinstance(together[1], SampleError)


def test_a_model_that_says_nothing_aloud_answers_in_text(checkpoint, codec):
    model = MiniOmni.from_pretrained(checkpoint)
    with torch.no_grad():  # only end of audio is left
        model.audio_head.weight.zero_()
        model.audio_embedding.weight.zero_()
        model.audio_head.weight.view(7, -1, 32)[:, model.layout.eoa] = model.final_norm.weight
    talker = Talker(model, codec, FakeWhisper(), max_frames=4)
    for answer in (collect(talker.talk(Text("Who?")), RATE_HZ), *talker.answer_all([Text("Who?")])):
        assert (len(answer.pcm), answer.speech_s, answer.codes.shape) == (0, 0.0, (0, 7))
        assert answer.seconds_to_first_audio is answer.real_time_factor is None


def test_sixteen_bits_are_rounded_and_clipped():
    assert pcm16(np.array([0, 0.5, 1.5, -2, 1.4 / 32768], np.float32)).tolist() == [0, 16384, 32767, -32768, 1]


# What cannot be asked


@pytest.mark.parametrize(
    ("make", "reason"),
    [
        (lambda path: soundfile.write(path, np.full(31 * 8000, 0.1), 8000), "too_long"),
        (lambda path: soundfile.write(path, np.zeros(8000), 8000), "silent_audio"),
        (lambda path: soundfile.write(path, np.zeros(0), 8000), "empty_audio"),
        (lambda path: path.write_bytes(b""), "not_audio"),
        (lambda path: path.write_bytes(b"not a sound at all"), "not_audio"),
    ],
)
def test_a_recording_that_cannot_be_heard_is_refused_by_name_when_it_is_asked(talker, tmp_path, make, reason):
    make(tmp_path / "q.wav")
    with pytest.raises(SampleError, match=r"q\.wav") as caught:
        talker.talk(tmp_path / "q.wav")
    assert caught.value.reason == reason
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("question", "message"),
    [
        ("What time is it?", r"What time is it\? is no file; .*Text"),
        (Text("  \n"), "empty_text"),
        ((np.full(31 * 16_000, 0.1, np.float32), 16_000), r"too_long: the question lasts 31\.0 s; the limit is 30 s"),
        ((np.zeros(16_000, np.float32), 16_000), "silent_audio"),
        ((np.zeros(16_000), 16_000), "not_float"),
    ],
)
def test_other_questions_are_refused_when_they_are_asked(talker, question, message):
    with pytest.raises((SampleError, SetupError), match=message):
        talker.talk(question)


def test_a_text_that_leaves_no_room_is_refused(talker):
    with pytest.raises(SampleError, match=r"too_long: the question takes .* of the model's 2048 positions"):
        next(talker.talk(Text("Who are you? " * 700)))


def test_parts_of_another_model_are_all_named_at_once(real_checkpoint):
    model = MiniOmni.from_pretrained(real_checkpoint)
    with pytest.raises(SetupError) as caught:
        talk(model, load_codec("fake"), FakeWhisper(), Text("Who?"))
    lines = str(caught.value).splitlines()
    assert len(lines) == 2
    assert lines[0].startswith("the codec fake is not the one that the model was trained with: name 'fake' instead of")
    assert lines[1].startswith("the Whisper fake is not the one that the model was trained with: ")


def test_where_a_checkpoint_names_nothing_the_sizes_must_fit(checkpoint, codec, whisper, tmp_path):
    model = load_model(changed(checkpoint, tmp_path, codec={}, feature={}))
    with pytest.raises(SetupError, match=r"the model takes features 4 wide, the Whisper tiny\.en gives 384"):
        talk(model, codec, whisper, Text("Who?"))
    with pytest.raises(SetupError, match=r"names no codec; give --codec"):
        load_engines(model)
    with pytest.raises(SetupError, match=r"names no Whisper; give --whisper"):
        load_engines(model, "bundled")
    assert [each.name for each in load_engines(model, "bundled", "fake")] == ["bundled", "fake"]


def test_a_checkpoints_engines_are_loaded_by_name(real_checkpoint, codec, whisper):
    codec_again, whisper_again = load_engines(load_model(real_checkpoint))
    assert codec_again.fingerprint == codec.fingerprint
    assert whisper_again.fingerprint == whisper.fingerprint


def test_a_model_is_heard_in_the_context_that_it_was_trained_in(real_checkpoint, codec, whisper, tmp_path):
    short = load_whisper("tiny.en", context="short")
    heard = {**short.fingerprint, "width": short.feature_width}
    model = load_model(changed(real_checkpoint, tmp_path, feature=heard))
    assert load_engines(model, "bundled")[1].fingerprint == short.fingerprint
    with pytest.raises(SetupError, match=r"not the one that the model was trained with: context 'full' instead of 's"):
        talk(model, codec, whisper, Text("Who?"))


def test_a_model_needs_its_own_tokenizer(model, checkpoint, codec):
    with pytest.raises(SetupError, match="more than the model's"):
        Talker(
            model,
            codec,
            FakeWhisper(),
            tokenizer=train_tokenizer([*CORPUS, "zebras quickly vexed jumping foxes"] * 9, 340),
        )
    built = MiniOmni(model.config)
    with pytest.raises(SetupError, match="was not read from a folder"):
        Talker(built, codec, FakeWhisper())
    Talker(built, codec, FakeWhisper(), tokenizer=load_tokenizer(checkpoint))


# On the command line


def changed(checkpoint, tmp_path, **values):
    """Copy a checkpoint with another config."""
    folder = tmp_path / "changed"
    shutil.copytree(checkpoint, folder)
    config = json.loads((folder / "config.json").read_text()) | values
    (folder / "config.json").write_text(json.dumps(config))
    return folder


def test_the_answer_is_a_wav_beside_text_and_figures(anytalk, checkpoint, question, talker, tmp_path):
    code, out, err = anytalk("talk", checkpoint, question, "--max-frames", FRAMES)
    assert (code, err) == (0, "")
    answer = collect(talker.talk(question), RATE_HZ)
    assert out.decode().startswith(answer.text)
    assert "  question-answer.wav: 0.8 s, truncated at --max-frames; time to first audio" in out.decode()
    pcm, rate_hz = soundfile.read(tmp_path / "question-answer.wav", dtype="int16")
    assert rate_hz == RATE_HZ
    np.testing.assert_array_equal(pcm, pcm16(answer.pcm))


def test_a_task_on_the_command_line_transcribes_or_reads_aloud(anytalk, checkpoint, question, talker, tmp_path):
    code, out, _ = anytalk("talk", checkpoint, question, "--task", "A1T1", "--max-frames", FRAMES)
    [heard] = talker.answer_all([question], task=Task.A1T1)
    assert (code, out.decode()) == (0, f"{heard.text}\n  16 steps, truncated at --max-frames\n")
    code, _, _ = anytalk(
        "talk", checkpoint, "--text", "Who?", "--task", "t1a1", "--out", "read.wav", "--max-frames", FRAMES
    )
    assert code == 0
    assert {path.name for path in tmp_path.iterdir()} == {"read.wav"}
    assert soundfile.info(tmp_path / "read.wav").frames == SAMPLES


def test_a_stream_is_the_wav_without_its_header_and_text_goes_aside(anytalk, checkpoint, question, talker, tmp_path):
    out_file = tmp_path / "new" / "said.wav"
    code, out, err = anytalk("talk", checkpoint, question, "--stream", "--out", out_file, "--max-frames", FRAMES)
    assert code == 0
    pcm, _ = soundfile.read(out_file, dtype="int16")
    assert np.array_equal(np.frombuffer(out, "<i2"), pcm)
    assert len(pcm) == SAMPLES
    assert err.strip() == collect(talker.talk(question), RATE_HZ).text.strip()
    assert anytalk("talk", checkpoint, question, "--stream", "--max-frames", FRAMES)[1] == out
    assert [path.name for path in tmp_path.iterdir()] == ["new"]


def test_json_is_one_object_and_a_run_answers_with_its_best(anytalk, checkpoint, tmp_path):
    run = tmp_path / "run"
    run.mkdir()
    (run / "best").symlink_to(checkpoint)
    chance = ["--temperature", "0.9", "--top-k", "40", "--top-p", "0.95", "--seed", "3"]
    command = ["talk", run, "--text", "Who are you?", "--json", "--max-frames", FRAMES, *chance]
    code, out, err = anytalk(*command)
    facts = json.loads(out)
    assert code == 0
    assert list(facts) == [
        "question",
        "text",
        "audio",
        "speech_s",
        "seconds_to_first_audio",
        "real_time_factor",
        "steps",
        "end",
    ]
    assert (facts["question"], facts["audio"], facts["speech_s"]) == ("Who are you?", "answer.wav", 0.768)
    assert facts["text"].strip() == err.strip()
    assert json.loads(anytalk(*command)[1])["text"] == facts["text"]
    assert json.loads(anytalk(*command, "--int8")[1])["speech_s"] == 0.768


def test_a_folder_is_answered_in_batches_and_nothing_disappears(anytalk, checkpoint, talker, tmp_path):
    asked = tmp_path / "asked"
    asked.mkdir()
    soundfile.write(asked / "a.wav", a_sound(0.6), RATE_HZ)
    soundfile.write(asked / "b.flac", a_sound(0.8, 120.0), RATE_HZ)
    soundfile.write(asked / "c.wav", np.zeros(9000), RATE_HZ)
    (asked / "notes.txt").write_text("no question")
    code, out, err = anytalk("talk", checkpoint, asked, "--json", "--batch", 2, "--max-frames", FRAMES)
    assert code == 1
    assert "silent_audio" in err
    told = json.loads(out)
    assert told["out"] == "asked-answers"
    lines = [json.loads(line) for line in (tmp_path / "asked-answers" / "answers.jsonl").read_text().splitlines()]
    assert told["answers"] == lines
    assert sorted(path.name for path in (tmp_path / "asked-answers").iterdir()) == ["a.wav", "answers.jsonl", "b.wav"]
    for line, question in zip(lines, [asked / "a.wav", asked / "b.flac"], strict=False):
        alone = collect(talker.talk(question), RATE_HZ)
        assert (line["text"], line["steps"]) == (alone.text, alone.steps)
        pcm, _ = soundfile.read(line["audio"], dtype="int16")
        np.testing.assert_allclose(pcm, pcm16(alone.pcm), atol=33)
    assert lines[2] == {"question": str(asked / "c.wav"), "error": lines[2]["error"]}
    (asked / "c.wav").unlink()
    code, out, _ = anytalk("talk", checkpoint, asked, "--out", "again", "--max-frames", FRAMES)
    assert (code, out.decode()) == (0, "again: 2 answers, 1.5 s of speech; 0 questions refused\n")


def test_what_cannot_be_done_is_one_line_before_any_model_is_loaded(anytalk, question, tmp_path):
    (tmp_path / "empty").mkdir()
    for name in ("a.wav", "a.mp3"):
        (tmp_path / "twins").mkdir(exist_ok=True)
        soundfile.write(tmp_path / "twins" / name, a_sound(0.2), RATE_HZ)
    for arguments, line in [
        (["RUN"], "give either QUESTION, a recording or a folder of them, or --text"),
        (["RUN", question, "--text", "Who?"], "give either QUESTION, a recording or a folder of them, or --text"),
        (["RUN", "Who?"], "Who? does not exist; a question in writing is given with --text"),
        (["RUN", question, "--stream", "--json"], "--stream and --json both need standard output; leave one out"),
        (["RUN", "empty", "--stream"], "empty is a folder; --stream answers one question"),
        (["RUN", question, "--top-k", 5], "--top-k and --top-p draw only with a --temperature above 0"),
        (["RUN", question, "--top-p", 0], "--top-p must be above 0"),
        (
            ["RUN", question, "--int8", "--dtype", "bfloat16"],
            "--int8 is for float32 weights on a CPU; leave it out, or --device and --dtype",
        ),
        (["RUN", question, "--task", "T1A1"], "--task T1A1 takes a text, --text"),
        (["RUN", "--text", "Who?", "--task", "A1T1"], "--task A1T1 takes a recording, QUESTION"),
        (
            ["RUN", question, "--task", "a1t1", "--stream"],
            "--task A1T1 gives text and no speech; leave out --stream",
        ),
        (
            ["RUN", question, "--task", "A1T2", "--out", "a.wav"],
            "--task A1T2 gives text and no speech; leave out --out",
        ),
        (["RUN", question, "--out", "a.mp3"], "--out a.mp3: answers are wav files; name a .wav file or a folder"),
        (["RUN", question, "--out", question], f"--out {question} is the question itself; name another file"),
        (["RUN", "twins", "--out", "twins"], None),
        (["RUN", "empty"], None),
        (["RUN", question], "RUN does not exist; name a checkpoint or a training run, or OWNER/NAME on the hub"),
    ]:
        code, out, err = anytalk("talk", *arguments)
        assert (code, out, err.count("\n")) == (2, b"", 1), err
        assert line is None or err == f"anytalk: {line}\n"
    assert {path.name for path in tmp_path.iterdir()} == {"empty", "twins"}


def test_a_model_talks_in_the_precision_that_is_asked_for(anytalk, checkpoint, monkeypatch):
    read = []
    real = MiniOmni.from_pretrained

    def from_pretrained(folder, dtype, device):
        read.append((dtype, device))
        return real(folder, dtype=dtype, device="cpu")

    monkeypatch.setattr(MiniOmni, "from_pretrained", from_pretrained)
    words = ("talk", checkpoint, "--text", "Who are you?", "--max-frames", FRAMES)
    assert anytalk(*words, "--device", "cpu", "--dtype", "bfloat16")[0] == 0
    assert anytalk(*words, "--device", "cpu", "--dtype", "float16") == (
        2,
        b"",
        "anytalk: float16 is for a GPU, and the device is cpu; name float32 or bfloat16, or a GPU\n",
    )
    assert read == [(torch.bfloat16, "cpu")]
    pretend_gpus(monkeypatch, 2)
    monkeypatch.setattr(
        talk_load, "named_codec", lambda named, device: read.append(("codec", device)) or load_codec("bundled")
    )
    monkeypatch.setattr(
        talk_load, "load_whisper", lambda name, device, **_: read.append((name, device)) or FakeWhisper()
    )
    model = talk_load.load_model(checkpoint, "cuda:1", "float16")
    talk_load.load_engines(model, device="cuda:1")
    assert read[1:] == [(torch.float16, "cuda:1"), ("codec", "cuda:1"), ("fake", "cuda:1")]


def test_a_checkpoint_without_its_parts_is_one_line(anytalk, checkpoint, question, tmp_path):
    bare = tmp_path / "bare"
    shutil.copytree(checkpoint, bare)
    (bare / "tokenizer.json").unlink()
    expected = f"anytalk: {bare} has no tokenizer.json; put its language model's there\n"
    assert anytalk("talk", bare, question) == (2, b"", expected)
    folder = changed(checkpoint, tmp_path, codec={"name": "/gone", "revision": "folder", "sha256": "0"})
    code, _, err = anytalk("talk", folder, question)
    assert code == 2
    assert err.startswith("anytalk: the checkpoint's codec /gone cannot be loaded; give --codec: ")
    code, _, err = anytalk("talk", folder, question, "--codec", "bundled")
    assert (code, err.count("\n")) == (2, 1)
    assert "the codec bundled is not the one that the model was trained with: name 'anytalk-24khz' instead of" in err
    original = tmp_path / "original"
    original.mkdir()
    (original / "lit_model.pth").touch()
    line = f"{original} is a checkpoint of the original; run: anytalk convert mini-omni {original} NEW"
    assert anytalk("talk", original, question)[2] == f"anytalk: {line}\n"


@pytest.mark.slow
def test_a_listener_who_leaves_is_no_error(checkpoint):
    command = [sys.executable, "-m", "anytalk.recipes", "talk", checkpoint, "--text", "Who?", "--stream"]
    with subprocess.Popen([*command], stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert len(process.stdout.read(1000)) == 1000
        process.stdout.close()
        err = process.stderr.read().decode()
    assert "Traceback" not in err
    assert "Errno" not in err
    assert process.returncode == 1
