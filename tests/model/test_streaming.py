"""Streaming: no seams, nothing lost, first sound as soon as there can be any."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn
from transformers import Qwen2Config

from anytalk.model.batch import Request
from anytalk.model.config import MiniOmniConfig, backbone_fields
from anytalk.model.decoding import decode, generate
from anytalk.model.layout import Layout, Task, Turn
from anytalk.model.network import MiniOmni
from anytalk.model.streaming import StreamingDecoder, StreamingText, stream

LAYOUT = Layout(text_size=40, codebook_size=60, layers=7, text_specials=8, audio_specials=5)
HOP = 16


class ConvCodec:
    """A small convolutional decoder: each frame's sound depends on four frames before it and some after."""

    sample_rate_hz = 24_000
    frame_samples = HOP
    decode_grid_frames = 1

    def __init__(self, look_ahead: bool):
        torch.manual_seed(0)
        self.look_ahead = look_ahead
        self.table = torch.randn(7, 64, 8)
        self.over_frames = nn.Conv1d(8, 8, kernel_size=5)
        self.up = nn.ConvTranspose1d(8, 1, kernel_size=2 * HOP, stride=HOP)
        self.decode_left_frames = 4 if look_ahead else 5
        self.decode_lookahead_samples = HOP + HOP // 2 if look_ahead else 0
        self.decoded_frames = 0

    @torch.no_grad()
    def decode(self, codes):
        self.decoded_frames += sum(len(x) for x in codes)
        return [self._decode(torch.from_numpy(x.astype(np.int64))) for x in codes]

    def _decode(self, codes_N7):
        x = self.table[torch.arange(7), codes_N7].sum(1).T[None]
        right = 1 if self.look_ahead else 0
        x = torch.tanh(self.over_frames(nn.functional.pad(x, (4 - right, right))))
        start = HOP // 2 if self.look_ahead else 0
        return torch.tanh(self.up(x))[0, 0, start : start + len(codes_N7) * HOP].numpy()


def frames_of(count, seed=0):
    return np.random.default_rng(seed).integers(0, 60, (count, 7)).astype(np.uint16)


@settings(deadline=None, max_examples=60)
@given(st.booleans(), st.integers(0, 40), st.integers(1, 4), st.integers(0, 3))
def test_chunks_put_together_are_the_whole_answer(look_ahead, count, first, doublings):
    codec, frames = ConvCodec(look_ahead), frames_of(count)
    decoder = StreamingDecoder(codec, first, first * 2**doublings)
    chunks = [decoder.push(frame) for frame in frames.tolist()]
    chunks.append(decoder.flush())
    together = np.concatenate(chunks)
    assert together.dtype == np.float32
    whole = codec.decode([frames])[0] if count else np.zeros(0)
    assert together.shape == (count * HOP,)
    np.testing.assert_allclose(together, whole, atol=1e-6)
    assert decoder.flush().size == 0


def test_the_codec_needs_what_it_says_it_needs():
    """Without its left context, or with its last samples taken for final, the seams show."""
    for name, value in (("decode_left_frames", 2), ("decode_lookahead_samples", HOP)):
        codec, frames = ConvCodec(look_ahead=True), frames_of(20)
        whole = codec.decode([frames])[0]
        setattr(codec, name, value)
        decoder = StreamingDecoder(codec, 1, 1)
        together = np.concatenate([*[decoder.push(frame) for frame in frames.tolist()], decoder.flush()])
        assert np.abs(together - whole).max() > 1e-3


def test_chunks_grow_so_that_little_is_decoded_twice():
    codec = ConvCodec(look_ahead=False)
    decoder = StreamingDecoder(codec, largest_frames=16)
    sizes = [len(decoder.push(frame)) // HOP for frame in frames_of(64).tolist()]
    assert [size for size in sizes if size] == [1, 1, 2, 4, 8, 16, 16, 16]
    assert sizes[0] == 1
    assert codec.decoded_frames < 1.6 * 64


@pytest.mark.parametrize("look_ahead", [False, True])
def test_at_twice_the_speed_of_speech_no_chunk_comes_too_late(look_ahead):
    decoder = StreamingDecoder(ConvCodec(look_ahead=look_ahead))
    played_until = None
    for step, frame in enumerate(frames_of(120).tolist()):
        now = step * HOP / 2
        if samples := len(decoder.push(frame)):
            played_until = now if played_until is None else played_until
            assert played_until >= now
            played_until += samples


def test_first_chunk_comes_as_soon_as_a_sample_is_final():
    decoder = StreamingDecoder(ConvCodec(look_ahead=True))
    sizes = [len(decoder.push(frame)) for frame in frames_of(5).tolist()]
    assert sizes == [0, HOP // 2, HOP, 0, 2 * HOP]


def test_chunk_sizes_must_make_sense():
    with pytest.raises(ValueError, match="1 <= first <= largest"):
        StreamingDecoder(ConvCodec(look_ahead=True), first_frames=4, largest_frames=2)


def as_utf8(tokens):
    return bytes(tokens).decode(errors="replace")


@settings(deadline=None, max_examples=40)
@given(st.text(max_size=20))
def test_text_pieces_put_together_are_the_whole_text(text):
    words = StreamingText(as_utf8)
    pieces = [words.push(token) for token in text.encode()]
    assert "".join(pieces) + words.flush() == text


def test_half_a_character_waits_for_its_other_half():
    words = StreamingText(as_utf8)
    assert [words.push(token) for token in "né".encode()] == ["n", "", "é"]
    assert words.push(0xC3) == ""
    assert words.flush() == "\N{REPLACEMENT CHARACTER}"


@pytest.fixture(scope="module")
def model():
    shape = Qwen2Config(
        vocab_size=40,
        hidden_size=32,
        intermediate_size=48,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        max_position_embeddings=128,
        initializer_range=0.3,
    )
    torch.manual_seed(0)
    model = MiniOmni(MiniOmniConfig(LAYOUT, backbone_fields(shape, LAYOUT), 10, adapter_hidden=20)).eval()
    with torch.no_grad():  # a random model would say special ids now and then; this one speaks on
        model.audio_head.weight.view(7, 65, 32)[:, 60:] = 0
        model.audio_head.weight.view(7, 65, 32)[:, :60] += model.audio_head.weight.std()
    return model


@pytest.mark.parametrize("parallel", [False, True])
@pytest.mark.parametrize("look_ahead", [False, True])
def test_a_stream_gives_the_whole_answer_piece_by_piece(model, parallel, look_ahead):
    request = Request([Turn(Task.A1A2, positions=4)], [torch.ones(4, 10)])
    codec = ConvCodec(look_ahead)

    def spelled(tokens):
        return "".join(chr(ord("a") + token) for token in tokens)

    pieces = list(stream(decode(model, [request], parallel=parallel, max_positions=60), codec, spelled))
    (answer,) = generate(model, [request], parallel=parallel, max_positions=60)
    assert "".join(piece.text for piece in pieces) == spelled(answer.text)
    assert len(answer.codes) > 10
    np.testing.assert_allclose(
        np.concatenate([piece.pcm for piece in pieces]), codec.decode([answer.codes])[0], atol=1e-3
    )
    assert [piece.end for piece in pieces if piece.end] == [answer.end] == [pieces[-1].end]


def test_first_sound_needs_the_prompt_its_last_column_and_seven_steps(model):
    passes = []
    hook = model.final_norm.register_forward_hook(lambda *_: passes.append(1))
    request = Request([Turn(Task.A1A2, positions=4)], [torch.ones(4, 10)])
    for piece in stream(decode(model, [request], max_positions=60), ConvCodec(look_ahead=False), lambda tokens: ""):
        if len(piece.pcm):
            break
    hook.remove()
    assert len(passes) == 1 + 1 + 7
    assert len(piece.pcm) == HOP
