"""Voices of speech servers: a good one of ours, one that misbehaves on purpose, and a third-party one."""

import base64
import dataclasses
import json
import struct

import numpy as np
import pyarrow.ipc
import pytest
from support.misbehaving import Fault, serve_path
from support.misbehaving_speech import EMPTY, JOINED, PASSING, PATH, STREAMED, TONE, at_16k, audio, good, pcm, tone, wav
from support.speech_server import ovos, python_of_server

from anytalk.pipelines import build
from anytalk.pipelines.dataset import Store
from anytalk.synth.errors import EngineError, SampleError, SetupError
from anytalk.synth.voice import SpeakRequest, SpeechServer, Terms, load_voice
from anytalk.synth.voice.response import BrokenResponseError, read_response
from anytalk.synth.voice.speech_server import ServedVoice

TERMS = Terms("CC0-1.0", "tests", "no recorded speaker")
KEY = "sk-very-secret"


def settings(url, **more):
    quick = {"timeout_s": 1.0, "backoff_s": 0.01, "attempts": 3, "max_wait_s": 1.0}
    return SpeechServer(**({"base_url": url, "model": "tts-1", "terms": TERMS} | quick | more))


def voice_of(server, **more):
    return load_voice("server:ours/anna", {"ours": settings(server.url, **more)})


def ask(voice, *texts, **more):
    return voice.speak([SpeakRequest(text, number, **more) for number, text in enumerate(texts)])


def after_the_probe(fault):
    return lambda number, body: fault if number > 0 else None


def test_a_server_says_what_it_is_asked_and_how():
    with serve_path(PATH, good) as server:
        voice = voice_of(server, send_seed=True, extra={"instructions": "calmly"}, language="de")
        [said] = ask(voice, "Guten Tag.", speed=1.2, pitch=1.1)
    assert (voice.name, voice.language, voice.terms, voice.sample_rate_hz) == ("server:ours/anna", "de", TERMS, 24_000)
    assert server.bodies[-1] == {
        "model": "tts-1",
        "voice": "anna",
        "input": "Guten Tag.",
        "response_format": "wav",
        "speed": 1.0909,
        "seed": 0,
        "instructions": "calmly",
    }
    assert len(said) == pytest.approx(len(tone("Guten Tag.")) / 1.2, rel=0.01)


def test_a_voice_may_have_instructions_fields_and_a_recording_of_its_own(tmp_path):
    (tmp_path / "me.wav").write_bytes(TONE)
    (tmp_path / "copy.wav").write_bytes(TONE)
    encoded = base64.b64encode(TONE).decode()
    shared = {"reference": str(tmp_path / "me.wav"), "reference_text": "A word or two."}
    voices = {
        "calm": ServedVoice(voice="anna", instructions="Speak calmly.", extra={"top_p": 0.5}),
        "me": ServedVoice(voice="clone", **shared),
        "other": ServedVoice(
            extra={"references": [{"audio": "$reference_base64", "text": "$reference_text"}]},
            **shared | {"reference": str(tmp_path / "copy.wav")},
        ),
    }
    with serve_path(PATH, good) as server:
        ours = {"ours": settings(server.url, voices=voices, extra={"top_k": 3, "top_p": 0.9})}
        loaded = {name: load_voice(f"server:ours/{name}", ours) for name in (*voices, "plain")}
        for voice in loaded.values():
            ask(voice, "Hello.")
        own = {"model", "input", "response_format"}
        calm, me, other, plain = (
            {key: value for key, value in body.items() if key not in own} for body in server.bodies[-4:]
        )
        same = dataclasses.replace(voices["me"], reference=str(tmp_path / "copy.wav"))
        ours["ours"] = dataclasses.replace(ours["ours"], voices={"me": same})
        moved = load_voice("server:ours/me", ours)
    assert calm == {"voice": "anna", "instructions": "Speak calmly.", "top_k": 3, "top_p": 0.5}
    url = f"data:audio/wav;base64,{encoded}"
    assert me == {"voice": "clone", "ref_audio": url, "ref_text": "A word or two.", "top_k": 3, "top_p": 0.9}
    assert other["references"] == [{"audio": encoded, "text": "A word or two."}]
    assert plain == {"voice": "plain", "top_k": 3, "top_p": 0.9}
    assert len({json.dumps(dict(voice.fingerprint)) for voice in loaded.values()}) == 4
    assert moved.fingerprint == loaded["me"].fingerprint
    assert encoded[:40] not in str(loaded["me"].fingerprint)


def test_a_reference_that_is_not_there_is_a_bad_set_up(tmp_path):
    voices = {"me": ServedVoice(reference=str(tmp_path / "me.wav"))}
    with serve_path(PATH, good) as server, pytest.raises(SetupError, match=r"me\.wav cannot be read"):
        load_voice("server:ours/me", {"ours": settings(server.url, voices=voices)})
    assert server.bodies == []


def test_answers_keep_the_order_of_their_requests_and_are_asked_for_side_by_side():
    texts = ["a" * length for length in (30, 2, 17, 9, 25, 4)]
    with serve_path(PATH, lambda body: audio(good(body).audio, stall_s=0.05)) as server:
        said = ask(voice_of(server, max_concurrency=3), *texts)
    assert [len(each) for each in said] == [len(tone(text)) for text in texts]
    assert 1 < server.most_at_once <= 3


def test_another_rate_is_resampled_where_the_reply_names_it():
    with serve_path(PATH, at_16k) as server:
        [said] = ask(voice_of(server), "A word or two.")
    assert len(said) == len(tone("A word or two."))
    waveform = tone("A word or two.", rate_hz=16_000)
    for kind in ("audio/pcm; rate=16000", "audio/L16;rate=16000;channels=1"):
        assert len(read_response(pcm(waveform), kind, 24_000)) == len(said)


def test_headerless_audio_of_unknown_rate_is_refused():
    with serve_path(PATH, good, after_the_probe(audio(pcm(tone("Yes.")), "audio/pcm"))) as server:
        [said] = ask(voice_of(server), "Yes.")
        assert said.reason == "unknown_rate"
        [said] = ask(voice_of(server, response_format="pcm", pcm_rate_hz=24_000), "Yes.")
    assert len(said) == len(tone("Yes."))
    with pytest.raises(ValueError, match="set pcm_rate_hz"):
        settings("http://localhost/v1", response_format="pcm")


@pytest.mark.parametrize("size", [0, 0x7FFFFFFF, 0xFFFFFFFF])
def test_a_file_that_was_streamed_and_names_no_size_is_read_to_its_end(size):
    streamed = bytearray(TONE)
    struct.pack_into("<I", streamed, 4, 0xFFFFFFFF)
    struct.pack_into("<I", streamed, 40, size)
    np.testing.assert_array_equal(read_response(bytes(streamed), "audio/wav", 24_000), read_response(TONE, "", 24_000))


@pytest.mark.parametrize("name", STREAMED)
def test_a_body_is_read_whole_whatever_it_claims(name):
    content, kind = STREAMED[name]
    slack = 3000 if name in ("mp3", "opus", "opus called pcm") else 2
    assert len(read_response(content, kind, 24_000, 24_000)) == pytest.approx(len(tone("A word or two.")), abs=slack)


@pytest.mark.parametrize("name", JOINED)
def test_sentences_that_were_sent_as_files_of_their_own_are_read_one_after_the_other(name):
    both = len(tone("A word or two.")) + len(tone("And three."))
    assert len(read_response(JOINED[name], "", 24_000)) == pytest.approx(both, abs=6000 if "wav" not in name else 2)


@pytest.mark.parametrize("pause_at", [1, 44, 1000])
def test_a_body_may_come_in_pieces_of_any_size(pause_at):
    pieces = [TONE[:pause_at], *(TONE[place : place + 999] for place in range(pause_at, len(TONE), 999))]
    with serve_path(PATH, lambda body: Fault(pieces=tuple(pieces), content_type="audio/wav")) as server:
        [said] = ask(voice_of(server), "A word.")
    assert len(said) == len(tone("A word or two."))


def test_every_cut_of_a_file_is_noticed():
    for cut in (10, 30, 43, 44, 45, 2000, len(TONE) - 2):
        with pytest.raises(BrokenResponseError):
            read_response(TONE[:cut], "audio/wav", 24_000)


@pytest.mark.parametrize("name", PASSING)
def test_what_passes_is_tried_again(name):
    with serve_path(PATH, good, lambda number, body: PASSING[name] if number == 1 else None) as server:
        [said] = ask(voice_of(server), "A word.")
    assert len(said) == len(tone("A word."))
    assert len(server.bodies) == 3


@pytest.mark.parametrize("name", PASSING)
def test_what_stays_is_the_machinery_s_failure(name):
    with serve_path(PATH, good, after_the_probe(PASSING[name])) as server:
        voice = voice_of(server, attempts=2)
        with pytest.raises(EngineError, match="sent 2 times"):
            ask(voice, "A word.")


@pytest.mark.parametrize("name", EMPTY)
def test_empty_audio_is_tried_again_and_then_the_text_s_failure(name):
    with serve_path(PATH, good, lambda number, body: EMPTY[name] if body["input"] == "Hm." else None) as server:
        first, second = ask(voice_of(server), "Hm.", "A word.")
    assert first.reason == "empty_audio"
    assert len(second) == len(tone("A word."))
    assert len(server.bodies) == 1 + 3 + 1


def test_silence_is_the_text_s_failure():
    silence = audio(wav(np.zeros(24_000, np.float32)))
    with serve_path(PATH, good, after_the_probe(silence)) as server:
        [said] = ask(voice_of(server), "A word.")
    assert said.reason == "unspeakable_text"


def test_a_text_that_the_server_refuses_does_not_spoil_the_others():
    def too_long(number, body):
        return Fault(400, "input is too long") if len(body["input"]) > 20 else None

    with serve_path(PATH, good, too_long) as server:
        first, second, third = ask(voice_of(server), "Yes.", "This one is rather long.", "...")
    assert len(first) == len(tone("Yes."))
    assert (second.reason, third.reason) == ("refused_request", "unspeakable_text")
    assert "input is too long" in second.detail


@pytest.mark.parametrize("status", [401, 403, 404])
def test_what_no_try_cures_is_sent_once(status):
    with serve_path(PATH, good, after_the_probe(Fault(status, "no"))) as server:
        voice = voice_of(server)
        with pytest.raises(EngineError, match=f"status {status}: no$"):
            ask(voice, "A word.")
    assert len(server.bodies) == 2


def test_the_server_s_patience_is_kept_and_one_that_asks_for_too_much_is_left_alone():
    busy = Fault(429, "slow down", (("Retry-After", "0.3"),))
    with serve_path(PATH, good, lambda number, body: busy if number == 1 else None) as server:
        ask(voice_of(server), "A word.")
        assert server.times[2] - server.times[1] >= 0.3
    with serve_path(PATH, good, after_the_probe(Fault(429, "", (("Retry-After", "3600"),)))) as server:
        voice = voice_of(server)
        with pytest.raises(EngineError, match="asks to wait 3600 s, and max_wait_s is 1"):
            ask(voice, "A word.")
    assert len(server.bodies) == 2


def test_a_server_that_is_down_is_not_asked_for_ever():
    with serve_path(PATH, good) as server:
        voice, other = voice_of(server, attempts=1), voice_of(server, attempts=1)
        server.fault = lambda number, body: PASSING["broken"]
        for _ in range(10):
            with pytest.raises(EngineError):
                ask(voice, "A word.")
        with pytest.raises(EngineError, match="it is left alone for 30 s"):
            ask(other, "A word.")
    assert len(server.bodies) == 2 + 8


def test_a_wrong_set_up_shows_before_the_first_row():
    with serve_path("/elsewhere", good) as server, pytest.raises(SetupError, match=r"status 404.*check base_url"):
        voice_of(server)
    with serve_path(PATH, good, lambda number, body: Fault(400, "no voice anna")) as server:
        with pytest.raises(SetupError, match="no voice anna"):
            voice_of(server)
        url = server.url
    with pytest.raises(SetupError, match="no speech from"):
        load_voice("server:ours/anna", {"ours": settings(url)})
    for name in ("server:theirs/anna", "server:ours", "server:"):
        with pytest.raises(SetupError) as caught:
            load_voice(name, {"ours": settings(url)})
        assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"base_url": "localhost:8000"}, "must begin with http"),
        ({"base_url": "http://user:secret@host/v1"}, "must hold no user, password or query"),
        ({"api_key_env": "sk-abc"}, "NAME of an environment variable"),
        ({"attempts": 0}, "attempts must be over 0"),
        ({"sample_rate_hz": 24}, "sample_rate_hz must be from 8000"),
        ({"extra": {"speed": 2}}, "extra must not hold speed"),
    ],
)
def test_settings_out_of_range_are_refused(wrong, message):
    with pytest.raises(ValueError, match=message):
        settings(**({"url": "http://localhost/v1"} | wrong) if "base_url" not in wrong else {"url": wrong["base_url"]})


def test_the_key_is_sent_and_never_told(monkeypatch):
    with serve_path(PATH, good, after_the_probe(Fault(500, f"bad key {KEY}"))) as server:
        with pytest.raises(SetupError, match="SPEECH_KEY is not set"):
            voice_of(server, api_key_env="SPEECH_KEY")
        monkeypatch.setenv("SPEECH_KEY", KEY)
        voice = voice_of(server, api_key_env="SPEECH_KEY")
        with pytest.raises(EngineError) as caught:
            ask(voice, "A word.")
    assert set(server.keys) == {f"Bearer {KEY}"}
    assert "[key]" in str(caught.value)
    assert KEY not in f"{caught.value!r} {voice.fingerprint}"


def test_a_fingerprint_says_what_was_asked_and_that_it_does_not_decide_the_bytes():
    with serve_path(PATH, good) as server:
        one, same, other = (
            voice_of(server, **more).fingerprint for more in ({}, {"timeout_s": 2.0}, {"revision": "v2"})
        )
    assert one == same != other
    assert one["reproducible"] == "no"


def test_voices_speak_inside_a_running_loop():
    import asyncio

    async def inside():
        return ask(voice, "A word.")

    with serve_path(PATH, good) as server:
        voice = voice_of(server)
        [said] = asyncio.run(inside())
    assert len(said) == len(tone("A word."))


def pairs(count):
    return [{"question": f"What is {n} and {n}?", "answer": f"It is {2 * n}."} for n in range(count)]


def names(store, path):
    """Identities of the rows of a file."""
    return pyarrow.ipc.open_file(store.read(path)).read_all()["id"].to_pylist()


@pytest.mark.slow
def test_every_row_ends_once_whatever_the_server_does(tmp_path, fake_recipe, write_jsonl, monkeypatch):
    # Each text meets a fault of its own the first time that it is asked for.
    first_faults = {f"It is {2 * n}.": fault for n, fault in enumerate(PASSING.values())}
    is_broken = True

    def misbehave(number, body):
        text = body["input"]
        if text == "It is 24.":
            return EMPTY["empty body"]
        if text == "It is 26.":
            return Fault(422, "this I will not say")
        if is_broken and text in ("It is 12.", "It is 20."):
            return PASSING["broken"]
        return first_faults.pop(text, None)

    monkeypatch.setenv("SPEECH_KEY", KEY)
    with serve_path(PATH, good, misbehave) as server:
        ours = {
            "base_url": server.url,
            "model": "tts-1",
            "api_key_env": "SPEECH_KEY",
            "timeout_s": 1.0,
            "backoff_s": 0.01,
            "attempts": 3,
            "terms": {"licence": "CC0-1.0", "source": "tests", "consent": "none needed"},
        }
        voices = {"question": ["fake:ann"], "answer": "server:ours/anna", "servers": {"ours": ours}}
        recipe = fake_recipe(
            source=str(write_jsonl(pairs(14))),
            voices=voices,
            shards={"unit_rows": 2},
            clean={"normalise": "none", "refuse_unspeakable": False},
        )
        first = build(recipe, tmp_path / "set", local=True)
        assert first.rows_deferred == 4
        assert all("sent 3 times" in reason for reason in first.deferred)
        is_broken = False
        second = build(recipe, tmp_path / "set", local=True)
    assert second.complete
    assert (second.rows_accepted, second.rows_rejected) == (12, 2)
    assert second.reasons == {"empty_audio": 1, "refused_request": 1}
    store = Store(tmp_path / "set")
    ids = [name for path in store.files() if path.startswith(("shards/", "rejects/")) for name in names(store, path)]
    assert len(ids) == len(set(ids)) == 14
    card = store.read("README.md").decode()
    assert "| `server:ours/anna` | CC0-1.0 | tests | none needed |" in card
    assert all(KEY.encode() not in store.read(path) for path in store.files())
    prints = json.loads(store.read("dataset.json"))["fingerprints"]["voices"]
    assert prints["server:ours/anna"]["reproducible"] == "no"


@pytest.mark.slow
def test_a_server_of_other_people_speaks_and_is_understood(tmp_path):
    from anytalk.synth.audio import resample
    from anytalk.synth.hearing import load_whisper

    python = python_of_server()
    if python is None:
        pytest.skip("no ovos-tts-server; tests/support/speech_server.py says how to install one")
    sentence = "Water freezes at zero degrees Celsius."
    with ovos(python, tmp_path / "ovos") as url:
        server = SpeechServer(url, "tts-1", language="en-US", terms=TERMS)
        voice = load_voice("server:ovos/joe", {"ovos": server})
        spoken, question, nothing = ask(voice, sentence, "Where is the library?", "...")
        lost = load_voice("server:ovos/joe", {"ovos": server})
    assert not isinstance(spoken, SampleError)
    assert nothing.reason == "unspeakable_text"
    heard = load_whisper("tiny.en").transcribe([resample(each, 24_000, 16_000) for each in (spoken, question)])
    assert "freezes" in heard[0].text
    assert "library" in heard[1].text
    with pytest.raises(EngineError):
        ask(lost, sentence)
