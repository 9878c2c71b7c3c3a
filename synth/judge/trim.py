"""Trim a real recording to what is said in it: rooms hum and breathe, so that a level says little."""

from anytalk.synth.audio import Waveform, resample

from .contract import SAMPLE_RATE_HZ, Vad

MARGIN_S = 0.2
"""Kept before the first and after the last speech: a detector begins late at f, s and h."""
SHORTEST_WORD_S = 0.05
"""A word at either end may be as short, and must not be lost; noise that is taken for one only costs some silence."""


def trim_to_speech(waveform: Waveform, rate_hz: int, vad: Vad, keep_s: float) -> Waveform:
    """Cut what lies before the first and after the last speech.

    Args:
        waveform: samples.
        rate_hz: their rate.
        vad: hears where somebody speaks.
        keep_s: how much to leave at each end, in seconds; `MARGIN_S` at least.

    Returns:
        A slice of `waveform`; all of it where nobody speaks.
    """
    spans = vad.speech_spans(resample(waveform, rate_hz, SAMPLE_RATE_HZ), SHORTEST_WORD_S)
    if not spans:
        return waveform
    margin_s = max(keep_s, MARGIN_S)
    start, end = round((spans[0][0] - margin_s) * rate_hz), round((spans[-1][1] + margin_s) * rate_hz)
    return waveform[max(0, start) : end]
