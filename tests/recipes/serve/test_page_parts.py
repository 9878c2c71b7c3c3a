"""The page's parts, each in a real browser: sound that comes in, goes out, is played and is saved."""

import base64
import functools
import http.server
import json
import re
import threading
from pathlib import Path

import numpy as np
import pytest
import soundfile
import soxr
from support.browser import INSECURE, chromium, needs_chromium, opened

from anytalk import recipes

pytestmark = needs_chromium

PAGE = Path(recipes.__file__).parent / "serve" / "page"
RATE_HZ = 24_000


class QuietHandler(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *line):
        pass


@pytest.fixture(scope="module")
def files_url():
    """The page's files, and no server behind them."""
    handler = functools.partial(QuietHandler, directory=str(PAGE))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}/"
        server.shutdown()


@pytest.fixture(scope="module")
def browser():
    with chromium() as started:
        yield started


@pytest.fixture(scope="module")
def page(browser, files_url):
    # A page of this origin that does nothing by itself.
    with opened(browser, f"{files_url}icon.svg", may_fail="favicon") as opened_page:
        yield opened_page


def tones(rate_hz, pitches_hz, seconds=0.2):
    t = np.arange(int(seconds * rate_hz)) / rate_hz
    return sum(np.sin(2 * np.pi * pitch_hz * t) for pitch_hz in pitches_hz).astype(np.float32) / len(pitches_hz)


RESAMPLE = """async ([url, fromHz, samples, sizes]) => {
  const { Resampler } = await import(url + "resample.js");
  const resampler = new Resampler(fromHz, 24000);
  const out = [];
  for (let at = 0, n = 0; at < samples.length; at += sizes[n++ % sizes.length]) {
    out.push(...resampler.push(Float32Array.from(samples.slice(at, at + sizes[n % sizes.length]))));
  }
  return out;
}"""


@pytest.mark.parametrize("from_hz", [16_000, 44_100, 48_000])
def test_the_microphones_rate_is_converted_as_soxr_does_it(page, files_url, from_hz):
    wave = tones(from_hz, [200, 1000, 3400, 6000])
    converted = np.array(page.evaluate(RESAMPLE, [files_url, from_hz, wave.tolist(), [128]]))
    wanted = soxr.resample(wave, from_hz, RATE_HZ)[: len(converted)]
    assert len(converted) >= 0.19 * RATE_HZ
    inner = slice(400, -400)  # both begin and end with silence, smoothed each in its own way
    assert np.abs(converted[inner] - wanted[inner]).max() < 1e-3


def test_what_24_khz_cannot_hold_is_not_heard(page, files_url):
    wave = tones(48_000, [14_000])
    converted = np.array(page.evaluate(RESAMPLE, [files_url, 48_000, wave.tolist(), [128]]))
    assert np.abs(converted[400:]).max() < 1e-3


def test_pieces_of_any_size_are_converted_like_the_whole(page, files_url):
    wave = tones(44_100, [440], 0.1).tolist()
    whole = page.evaluate(RESAMPLE, [files_url, 44_100, wave, [len(wave)]])
    assert page.evaluate(RESAMPLE, [files_url, 44_100, wave, [1, 127, 3]]) == whole


def test_a_recording_is_read_as_mono_at_the_servers_rate(page, files_url, tmp_path):
    left, right = tones(44_100, [300]), tones(44_100, [500])
    soundfile.write(tmp_path / "both.flac", np.stack([left, right], axis=1), 44_100)
    read = """async ([url, data]) => {
      const { decodeRecording, toBase64 } = await import(url + "sound.js");
      const bytes = Uint8Array.from(atob(data), (letter) => letter.charCodeAt(0));
      return toBase64(await decodeRecording(bytes.buffer));
    }"""
    data = base64.b64encode((tmp_path / "both.flac").read_bytes()).decode()
    samples = np.frombuffer(base64.b64decode(page.evaluate(read, [files_url, data])), "<i2") / 32768
    wanted = soxr.resample((left + right) / 2, 44_100, RATE_HZ)
    assert abs(len(samples) - len(wanted)) <= 1
    assert np.abs(samples[400:4_000] - wanted[400:4_000]).max() < 0.01


def test_a_conversation_is_saved_with_each_side_on_a_channel_of_its_own(page, files_url, tmp_path):
    save = """async (url) => {
      const { soundFile, textFile } = await import(url + "save.js");
      const { toBase64 } = await import(url + "sound.js");
      const pcm = (value) => new Int16Array(12000).fill(value);
      const counters = { firstSoundS: 0.4, playedS: 0.5, gaps: 0, gapS: 0 };
      const answer = { text: "Yes.", status: "completed", interrupted: false, ...counters };
      const exchanges = [
        { question: { how: "spoken", text: "Is it?", pcm: pcm(100) }, answer, answerPcm: pcm(200) },
        { question: { how: "typed", text: "<b>", pcm: null }, answer, answerPcm: pcm(300) },
      ];
      const wav = new Int16Array(await soundFile(exchanges).arrayBuffer());
      return [toBase64(wav), JSON.parse(await textFile(exchanges, "m").text())];
    }"""
    content, saved = page.evaluate(save, files_url)
    (tmp_path / "conversation.wav").write_bytes(base64.b64decode(content))
    samples, rate_hz = soundfile.read(tmp_path / "conversation.wav", dtype="int16")
    assert rate_hz == RATE_HZ
    sides = {"user": samples[:, 0], "assistant": samples[:, 1]}
    heard = []
    for turn in saved["turns"]:
        if turn["start_s"] is not None:
            span = slice(round(turn["start_s"] * RATE_HZ), round(turn["end_s"] * RATE_HZ))
            heard.append((turn["role"], sorted(set(sides[turn["role"]][span].tolist()))))
    assert heard == [("user", [100]), ("assistant", [200]), ("assistant", [300])]
    assert np.count_nonzero(samples) == 3 * 12_000
    assert [turn["text"] for turn in saved["turns"]] == ["Is it?", "Yes.", "<b>", "Yes."]


PLAY = """async ([url, steps]) => {
  const { Player } = await import(url + "player.js");
  const told = [];
  const done = new Promise((resolve) => {
    window.player = new Player({
      onStarted: (id) => told.push(["started", id]),
      onProgress: () => {},
      onDone: (id, counters) => resolve({ told, id, ...counters }),
    });
  });
  await player.open();
  player.begin("answer");
  for (const [what, seconds] of steps) {
    if (what === "push") player.push(new Int16Array(seconds * 24000).fill(8000));
    else if (what === "wait") await new Promise((resolve) => setTimeout(resolve, seconds * 1000));
    else player[what]();
  }
  return await done;
}"""


def test_speech_that_comes_in_time_is_played_whole_and_without_a_gap(page, files_url):
    steps = [["push", 0.2], ["wait", 0.05], ["push", 0.3], ["end", 0]]
    done = page.evaluate(PLAY, [files_url, steps])
    assert done["told"] == [["started", "answer"]]
    assert (done["id"], done["playedS"], done["gaps"]) == ("answer", 0.5, 0)
    assert page.evaluate("heard.peak") == pytest.approx(8000 / 32768, abs=1e-3)


def test_speech_that_comes_late_is_a_gap_and_still_played_whole(page, files_url):
    steps = [["push", 0.2], ["wait", 0.6], ["push", 0.3], ["end", 0]]
    done = page.evaluate(PLAY, [files_url, steps])
    assert (done["playedS"], done["gaps"]) == (0.5, 1)
    assert 0.1 < done["gapS"] < 2.0


def test_a_stop_is_heard_at_once(page, files_url):
    done = page.evaluate(PLAY, [files_url, [["push", 5.0], ["wait", 0.4], ["stop", 0]]])
    assert 0.0 < done["playedS"] < 2.5
    page.wait_for_function("heard.now === 0")


def reader(sockets):
    """Give a page a server that answers in writing, where the server is not what the test is about."""

    def answer(socket):
        def send(kind, **more):
            socket.send(json.dumps({"type": kind, **more}))

        def receive(message):
            if json.loads(message)["type"] == "response.create":
                send("response.created", response={"id": "r", "status": "in_progress"})
                send("response.output_audio_transcript.delta", response_id="r", delta="Read ")
                send("response.output_audio_transcript.delta", response_id="r", delta="me.")
                send("response.done", response={"id": "r", "status": "completed"})

        sockets.append(socket)
        socket.on_message(receive)
        send("session.created", session={"model": "reader"})

    return lambda page: page.route_web_socket("**/v1/realtime", answer)


def ask(page, text):
    page.locator("#send:enabled").wait_for()
    page.get_by_label("Your question").fill(text)
    page.keyboard.press("Enter")
    page.locator(".answer .text", has_text="Read me.").wait_for()


def alert(page, words):
    page.get_by_role("alert").filter(has_text=re.compile(words)).wait_for()


def test_without_a_server_the_page_says_so_and_goes_on_trying(browser, files_url):
    with opened(browser, files_url, may_fail="") as page:
        alert(page, "The server does not answer. Next try in 1 s.")
        assert page.locator("#talk").is_disabled()


def test_a_lost_connection_is_told_and_found_again(browser, files_url):
    sockets = []
    with opened(browser, files_url, prepare=reader(sockets)) as page:
        ask(page, "Who?")
        sockets[0].close()
        alert(page, "Connection lost. Next try in 0.5 s.")
        alert(page, "has forgotten what was said before")
        assert (len(sockets), page.locator("#connection").text_content()) == (2, "Connected")


def test_without_permission_for_the_microphone_the_page_says_what_to_do(browser, files_url):
    with opened(browser, files_url, prepare=reader([])) as page:
        page.locator("#talk:enabled").click()
        alert(page, "The microphone is not allowed.|There is no microphone.")
        ask(page, "And in writing?")


def test_on_an_insecure_origin_the_page_says_how_to_get_a_secure_one_and_answers_in_writing(browser, files_url):
    url = files_url.replace("127.0.0.1", INSECURE)
    with opened(browser, url, prepare=reader([])) as page:
        alert(page, rf"only on https .* ssh -L \d+:localhost:\d+ {INSECURE}")
        ask(page, "Still there?")
