"""A real browser: headless Chromium, driven by Playwright. Its microphone plays a file; what it plays is measured."""

import contextlib
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, ConsoleMessage, Page, sync_playwright

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)

needs_chromium = [
    pytest.mark.browser,
    pytest.mark.skipif(CHROMIUM is None, reason="there is no Chromium; Debian has it: apt-get install chromium"),
]

INSECURE = "anytalk.test"
"""A name of this machine that browsers do not trust as they trust localhost."""

MEASURE = """
// Beside each way out to the speaker, an AnalyserNode of the browser's own: whatever plays, it is seen here.
window.heard = {peak: 0, now: 0, lastMs: 0, events: {}};
const connect = AudioNode.prototype.connect;
AudioNode.prototype.connect = function (to, ...more) {
  if (to instanceof AudioDestinationNode && this.context instanceof AudioContext) {
    const analyser = this.context.createAnalyser();
    const wave = new Float32Array(analyser.fftSize);
    connect.call(this, analyser);
    setInterval(() => {
      analyser.getFloatTimeDomainData(wave);
      heard.now = wave.reduce((most, x) => Math.max(most, Math.abs(x)), 0);
      heard.peak = Math.max(heard.peak, heard.now);
      if (heard.now > 0) heard.lastMs = performance.now();
    }, 20);
  }
  return connect.call(this, to, ...more);
};
// When the server told what.
window.WebSocket = class extends WebSocket {
  constructor(...given) {
    super(...given);
    this.addEventListener("message", ({ data }) => {
      (heard.events[JSON.parse(data).type] ??= []).push(performance.now());
    });
  }
};
"""


@contextlib.contextmanager
def chromium(microphone: Path | None = None) -> Iterator[Browser]:
    """Start a browser whose microphone plays a WAV again and again; without one, it has none that is allowed."""
    arguments = ["--no-sandbox", f"--host-resolver-rules=MAP {INSECURE} 127.0.0.1"]
    if microphone:
        arguments += [
            "--use-fake-ui-for-media-stream",
            "--use-fake-device-for-media-stream",
            f"--use-file-for-fake-audio-capture={microphone}",
        ]
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=arguments)
        try:
            yield browser
        finally:
            browser.close()


@contextlib.contextmanager
def opened(
    browser: Browser,
    url: str,
    may_fail: str = "\0",
    prepare: Callable[[Page], None] | None = None,
    **settings: object,
) -> Iterator[Page]:
    """Open a page that measures what it plays; what it complains of to the console fails the test.

    Args:
        browser: where.
        url: of the page.
        may_fail: a complaint with this in it is expected.
        prepare: called before the page is loaded, with a page that is still empty.
        settings: of the browser's context: viewport, colour scheme, ...
    """
    with browser.new_context(**settings) as context:
        page = context.new_page()
        page.set_default_timeout(20_000)
        complaints: list[str] = []
        page.add_init_script(MEASURE)
        page.on("pageerror", lambda error: complaints.append(str(error)))
        page.on("console", lambda line: line.type in ("error", "warning") and complaints.append(_told(line)))
        if prepare:
            prepare(page)
        page.goto(url)
        yield page
        wrong = [line for line in complaints if may_fail not in line]
        assert not wrong, wrong


def _told(line: ConsoleMessage) -> str:
    return f"{line.text} ({line.location['url']})"
