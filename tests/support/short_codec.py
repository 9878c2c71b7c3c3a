"""A codec that cannot take everything."""

from anytalk.synth.codec.contract import CodecEngine
from anytalk.synth.codec.fake import FakeCodec
from anytalk.synth.errors import SampleError

LONGEST_SAMPLES = 48_000


class ShortCodec(FakeCodec):
    """Takes utterances of at most two seconds."""

    def encode(self, waveforms, sample_rate_hz=None):
        codes = super().encode(waveforms, sample_rate_hz)
        long = SampleError("nan_audio", "over two seconds")
        return [long if len(w) > LONGEST_SAMPLES else one for w, one in zip(waveforms, codes, strict=True)]


ENGINE = CodecEngine(load=lambda spec, settings: ShortCodec())
