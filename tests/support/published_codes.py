"""SNAC codes as VoiceAssistant-400K publishes them."""

import numpy as np

CODES = np.random.default_rng(0).integers(0, 4096, (12, 7)).astype(np.uint16)


def snac_text(codes):
    return " ".join(f"# {' '.join(map(str, frame))}" for frame in codes)
