"""The page of an evaluation in a real browser: its sounds lie beside it, and play under its security policy."""

from datetime import date

import numpy as np
import soundfile
from support.browser import chromium, needs_chromium, opened
from support.hostile import HOSTILE

from anytalk.recipes.evaluate import answer_page

pytestmark = needs_chromium

ANSWER = {
    "kind": "exact",
    "voice": "as recorded",
    "question": "Where?",
    "reference": "Here.",
    "text": HOSTILE,
    "heard": HOSTILE,
    "text_right": False,
    "text_wer": 1.0,
    "speech_wer": None,
    "codec_wer": 0.0,
    "seconds_to_first_audio": None,
    "real_time_factor": None,
    "steps": 1,
    "question_audio": "00-exact-question.wav",
    "answer_audio": None,
}
FIGURES = {
    "questions_exact": 1,
    "text_right_exact": 0.0,
    "text_wer_exact": 1.0,
    "speech_wer_exact": 1.0,
    "seconds_to_first_audio_exact": None,
    "real_time_factor_exact": None,
    "codec_ceiling_wer": 0.0,
}


def test_its_sounds_play_and_its_texts_do_not_run(tmp_path):
    soundfile.write(tmp_path / ANSWER["question_audio"], np.zeros(16_000), 16_000)
    page = answer_page("RUN", "DATASET", date(2026, 11, 30), {"figures": FIGURES, "answers": [ANSWER]})
    (tmp_path / "report.html").write_text(page)
    settings = {"viewport": {"width": 390, "height": 800}, "color_scheme": "dark"}
    with chromium() as browser, opened(browser, f"file://{tmp_path / 'report.html'}", **settings) as shown:
        assert (
            shown.evaluate(
                """async () => new Promise((done) => {
              const audio = document.querySelector("audio");
              audio.addEventListener("loadedmetadata", () => done(audio.duration));
              audio.addEventListener("error", () => done(-1));
              audio.load();
              audio.play();
            })"""
            )
            == 1.0
        )
        assert HOSTILE in shown.text_content(".answers")
        assert shown.title() == "Evaluation of RUN on DATASET"
        assert shown.evaluate("document.documentElement.scrollWidth") <= 390
