"""Hearing: features equal Whisper's own, one encoder pass gives features and text, short sounds take short windows."""

import json
from pathlib import Path

import jiwer
import numpy as np
import pytest
import torch
import whisper
from support.random_whisper import convert_to_ctranslate2, write_random_pt
from whisper_normalizer.english import EnglishTextNormalizer

from anytalk.synth.audio import Waveform, resample
from anytalk.synth.errors import SampleError, SetupError
from anytalk.synth.hearing import FakeWhisper, Heard, faster, known_whispers, load_whisper, openai
from anytalk.synth.hearing import recogniser as batches
from anytalk.synth.hearing.contract import feature_frames
from anytalk.synth.hearing.mel import log_mel, mel_filters
from anytalk.synth.hearing.openai import OpenaiNetwork
from anytalk.synth.hearing.recogniser import ON_CPU, ON_GPU, Recogniser
from anytalk.synth.hearing.window import cut_long, is_doubtful, window_samples
from anytalk.synth.voice import SpeakRequest, load_voice

RATE_HZ = 16_000
SENTENCES = (
    "Hello there.",
    "What is the tallest mountain in the world?",
    "Turn left at the next corner, then walk straight on for about ten minutes.",
)
END_OF_TEXT = 50256

# openai-whisper does not close the file of its tokenizer.
pytestmark = pytest.mark.filterwarnings("ignore:.*tiktoken:pytest.PytestUnraisableExceptionWarning")


@pytest.fixture(scope="module")
def spoken() -> list[Waveform]:
    voice = load_voice("hibari:heart")
    waveforms = voice.speak([SpeakRequest(sentence, seed=place) for place, sentence in enumerate(SENTENCES)])
    return [resample(waveform, voice.sample_rate_hz, RATE_HZ) for waveform in waveforms]


@pytest.fixture(scope="module")
def tiny_en() -> Recogniser:
    return load_whisper("tiny.en")


@pytest.fixture(scope="module")
def small_pt(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A Whisper of two layers with random weights, as openai-whisper saves its models."""
    return write_random_pt(tmp_path_factory.mktemp("whisper") / "small.pt")


@pytest.fixture(scope="module")
def heard_by_tiny_en(tiny_en: Recogniser, spoken: list[Waveform]) -> list[Heard]:
    return tiny_en.listen(spoken)


@pytest.fixture(scope="module")
def original(small_pt: Path) -> whisper.model.Whisper:
    return whisper.load_model(str(small_pt), device="cpu")


def original_features(model: whisper.model.Whisper, waveform: Waveform) -> np.ndarray:
    mel = whisper.log_mel_spectrogram(whisper.pad_or_trim(torch.from_numpy(waveform)))
    with torch.inference_mode():
        states = model.embed_audio(mel[None])[0].numpy()
    return states[: min(1500, len(waveform) // 320 + 1)]


def assert_equal_within_float16(features: np.ndarray, original: np.ndarray) -> None:
    assert features.dtype == np.float16
    assert features.shape == original.shape
    # Half a unit in the last place of float16 is 2**-11 of the value; the rest is float32 rounding.
    np.testing.assert_allclose(features.astype(np.float32), original, rtol=2**-11 + 1e-4, atol=1e-4)


@pytest.mark.parametrize("samples", [0, 100, 8_000, 127_990, 479_700, 479_900, 480_000, 500_000])
@pytest.mark.parametrize("window_s", [8, 30])
def test_the_spectrogram_equals_openai_whispers(samples: int, window_s: int):
    rng = np.random.default_rng(samples)
    waveform = (rng.standard_normal(samples) * np.hanning(samples) * 0.1).astype(np.float32)
    padded = whisper.pad_or_trim(torch.from_numpy(waveform), window_s * RATE_HZ)
    original = whisper.log_mel_spectrogram(padded).numpy()
    ours = log_mel(waveform, window_samples=window_s * RATE_HZ, band_count=80)
    assert ours.dtype == np.float32
    np.testing.assert_allclose(ours, original, atol=1e-4)


@pytest.mark.parametrize("band_count", [80, 128])
def test_mel_filters_equal_openai_whispers(band_count: int):
    original = whisper.audio.mel_filters("cpu", band_count).numpy()
    np.testing.assert_allclose(mel_filters(band_count), original, atol=1e-8)


def test_the_spectrogram_of_speech_equals_openai_whispers(spoken: list[Waveform]):
    for waveform in spoken:
        original = whisper.log_mel_spectrogram(whisper.pad_or_trim(torch.from_numpy(waveform))).numpy()
        ours = log_mel(waveform, window_samples=480_000, band_count=80)
        np.testing.assert_allclose(ours, original, atol=1e-4)


def test_features_of_a_pt_file_equal_the_originals_within_float16(
    small_pt: Path, original: whisper.model.Whisper, spoken: list[Waveform]
):
    for waveform, heard in zip(spoken[:2], load_whisper(str(small_pt)).listen(spoken[:2]), strict=True):
        assert isinstance(heard, Heard)
        assert_equal_within_float16(heard.features, original_features(original, waveform))


def test_a_pt_file_decodes_as_openai_whisper_does(
    small_pt: Path, original: whisper.model.Whisper, spoken: list[Waveform]
):
    network = OpenaiNetwork(str(small_pt))
    options = whisper.DecodingOptions(language="en", without_timestamps=True, fp16=False, sample_len=12)
    mels = [log_mel(waveform, window_samples=480_000, band_count=80) for waveform in spoken[:2]]
    ours = network.decode(network.encode(np.stack(mels)), 12, [network.prompt("en")] * 2)
    for mel, tokens in zip(mels, ours, strict=True):
        theirs = whisper.decode(original, torch.from_numpy(mel), options).tokens
        assert tokens == [token for token in theirs if token < END_OF_TEXT]


@pytest.mark.slow  # imports transformers and converts a model
@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning")  # the converter's own
def test_the_same_weights_through_ctranslate2_give_the_same_features(
    small_pt: Path, original: whisper.model.Whisper, spoken: list[Waveform], tmp_path: Path
):
    folder = convert_to_ctranslate2(small_pt, tmp_path)
    through_ctranslate2 = load_whisper(str(folder))
    assert through_ctranslate2.feature_width == 64
    for waveform, heard in zip(spoken, through_ctranslate2.listen(spoken), strict=True):
        assert isinstance(heard, Heard)
        assert_equal_within_float16(heard.features, original_features(original, waveform))


def test_each_utterance_passes_the_encoder_once(small_pt: Path, spoken: list[Waveform]):
    recogniser = load_whisper(str(small_pt))
    recogniser.listen(spoken[:2])
    assert recogniser.encoder_passes == 2


def test_a_sound_that_comes_several_times_is_encoded_once_for_its_features(small_pt: Path, spoken: list[Waveform]):
    recogniser = load_whisper(str(small_pt))
    first, second, again = recogniser.features([spoken[0], spoken[1], spoken[0].copy()])
    assert recogniser.encoder_passes == 2
    assert np.array_equal(first, again)
    assert np.array_equal(second, recogniser.features([spoken[1]])[0])


def test_transcribing_hears_what_listening_hears(
    tiny_en: Recogniser, spoken: list[Waveform], heard_by_tiny_en: list[Heard]
):
    normalise = EnglishTextNormalizer()
    heard = [normalise(each.text) for each in heard_by_tiny_en]
    assert [normalise(each.text) for each in tiny_en.transcribe(spoken)] == heard
    assert heard == [normalise(sentence) for sentence in SENTENCES]


def test_features_and_text_do_not_depend_on_the_batch(
    tiny_en: Recogniser, spoken: list[Waveform], heard_by_tiny_en: list[Heard]
):
    [alone] = tiny_en.listen(spoken[2:])
    assert alone.text == heard_by_tiny_en[2].text
    np.testing.assert_array_equal(alone.features, heard_by_tiny_en[2].features)


def test_int8_is_for_text_and_leaves_the_features_alone(
    tiny_en: Recogniser, spoken: list[Waveform], heard_by_tiny_en: list[Heard]
):
    mixed = load_whisper("tiny.en", text_compute_type="int8")
    [heard] = mixed.listen(spoken[1:2])
    np.testing.assert_array_equal(heard.features, heard_by_tiny_en[1].features)
    assert heard.text == SENTENCES[1]
    assert mixed.fingerprint != tiny_en.fingerprint


@pytest.mark.slow  # forty seconds of speech
def test_speech_over_thirty_seconds_is_transcribed_whole(tiny_en: Recogniser):
    story = (
        "Once upon a time, a crow found a piece of cheese and flew up to a branch. A clever fox came by and told the "
        "crow how lovely her voice must be. The crow opened her beak to sing, and the cheese fell straight down to the "
        "fox. Water boils at a lower temperature in the mountains. To make a simple omelette, beat two eggs with a "
        "pinch of salt, melt some butter in a pan, and cook them gently until they are just set. Most adults need "
        "seven hours of sleep every night. The capital of Australia is Canberra, although many people think that it is "
        "Sydney. Turn left at the next corner, then walk straight on for about ten minutes."
    )
    voice = load_voice("hibari:heart")
    [waveform] = voice.speak([SpeakRequest(story, seed=0)])
    sound = resample(waveform, voice.sample_rate_hz, RATE_HZ)
    assert len(sound) > 32 * RATE_HZ
    normalise = EnglishTextNormalizer()
    assert jiwer.wer(normalise(story), normalise(tiny_en.transcribe([sound])[0].text)) < 0.03


@pytest.mark.parametrize("samples", [1, 319, 320, 16_000, 479_999, 480_000])
def test_a_waveform_has_a_frame_every_20_ms_and_one_more(samples: int):
    assert feature_frames(samples) == min(1500, int(samples / RATE_HZ * 1000 / 20) + 1)


def test_an_utterance_over_thirty_seconds_is_too_long_and_spoils_no_other(small_pt: Path, spoken: list[Waveform]):
    whisper_of_noise = load_whisper(str(small_pt))
    refused, heard = whisper_of_noise.listen([np.zeros(480_001, np.float32), spoken[0]])
    assert isinstance(refused, SampleError)
    assert refused.reason == "too_long"
    assert isinstance(heard, Heard)
    assert whisper_of_noise.encoder_passes == 1


@pytest.mark.slow
def test_features_alone_are_those_of_listening(tiny_en: Recogniser, spoken: list[Waveform]):
    sounds = [*spoken, np.zeros(31 * RATE_HZ, np.float32)]
    for heard, alone in zip(tiny_en.listen(sounds), tiny_en.features(sounds), strict=True):
        if isinstance(heard, SampleError):
            assert isinstance(alone, SampleError)
            assert alone.reason == "too_long"
        else:
            np.testing.assert_array_equal(alone, heard.features)


def test_silence_and_no_sound_at_all_are_heard_without_an_error(small_pt: Path):
    sounds = [np.zeros(0, np.float32), np.zeros(RATE_HZ, np.float32)]
    empty, silent = load_whisper(str(small_pt)).listen(sounds)
    assert empty.features.shape == (1, 64)
    assert silent.features.shape == (51, 64)
    assert np.isfinite(silent.features).all()


def test_windows_leave_silence_after_the_speech():
    for seconds in (0.5, 5.9, 6.1, 13.9, 14.1):
        assert window_samples(int(seconds * RATE_HZ)) >= (seconds + 2) * RATE_HZ
    assert window_samples(29 * RATE_HZ) == 30 * RATE_HZ


def test_long_speech_is_cut_at_its_quietest_point():
    rng = np.random.default_rng(0)
    waveform = rng.uniform(-0.5, 0.5, 50 * RATE_HZ).astype(np.float32)
    waveform[26 * RATE_HZ : 27 * RATE_HZ] *= 0.01
    first, second = cut_long(waveform)
    assert 26 * RATE_HZ < len(first) < 27 * RATE_HZ
    np.testing.assert_array_equal(np.concatenate([first, second]), waveform)


def test_speech_of_thirty_seconds_is_not_cut():
    assert len(cut_long(np.zeros(480_000, np.float32))) == 1


@pytest.mark.parametrize(
    ("words", "doubtful"),
    [
        ("a spider has eight legs", False),
        ("", True),
        ("yes . yes . yes .", True),
        ("one two three four one two three four", True),
        ("but it boils at a lower point . But it boils at a lower point .", True),
        ("row row your boat", False),
    ],
)
def test_a_transcript_that_repeats_its_end_is_doubted(words: str, doubtful: bool):
    ids: dict[str, int] = {}
    assert is_doubtful([ids.setdefault(word, len(ids)) for word in words.split()]) is doubtful


@pytest.mark.slow
@pytest.mark.parametrize("name", ["tiny.en", "openai"])
def test_batches_as_on_a_gpu_hear_what_each_hears_alone(
    name: str, small_pt: Path, spoken: list[Waveform], monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(batches, "TOKENS_PER_SECOND", 25 if name == "tiny.en" else 1)
    name = str(small_pt) if name == "openai" else name
    alone = load_whisper(name)
    for engine in (faster, openai):
        monkeypatch.setattr(engine, "batching_on", lambda device: ON_GPU)
    together = load_whisper(name)
    sounds = [spoken[0], spoken[1]]
    for one, other in zip(alone.listen(sounds), together.listen(sounds), strict=True):
        assert one.text == other.text
        np.testing.assert_allclose(one.features.astype(np.float32), other.features.astype(np.float32), atol=0.02)
    assert [heard.text for heard in alone.transcribe(sounds)] == [heard.text for heard in together.transcribe(sounds)]


class LoopingNetwork:
    """Says one word for ever unless it is shown the whole context."""

    batching = ON_CPU
    band_count = 80
    width = 4
    fingerprint: dict[str, str] = {}  # noqa: RUF012

    def encode(self, mels_BMN: np.ndarray) -> np.ndarray:
        return np.zeros((len(mels_BMN), mels_BMN.shape[2] // 2, self.width), np.float32)

    encode_for_text = encode

    def prompt(self, language: str) -> list[int]:
        return []

    def language_probabilities(self, states_BTD: np.ndarray, languages: list[str]) -> list[float | None]:
        return [None] * len(states_BTD)

    def decode(self, states_BTD: np.ndarray, token_limit: int, prompts: list[list[int]]) -> list[list[int]]:
        spoken = [1, 2, 3] if states_BTD.shape[1] == 1500 else [7] * token_limit
        return [spoken for _ in states_BTD]

    def text(self, tokens: list[int]) -> str:
        return f" {tokens}"


def test_a_loop_in_a_short_window_is_heard_again_in_thirty_seconds():
    recogniser = Recogniser(LoopingNetwork(), "looping", "en")
    sounds = [np.zeros(RATE_HZ, np.float32), np.zeros(2 * RATE_HZ, np.float32)]
    assert [heard.text for heard in recogniser.transcribe(sounds)] == ["[1, 2, 3]"] * 2
    assert recogniser.encoder_passes == 4
    assert [heard.text for heard in recogniser.listen(sounds)] == ["[1, 2, 3]"] * 2
    # Listening has all the states already.
    assert recogniser.encoder_passes == 6


@pytest.mark.slow
def test_a_short_context_shows_the_encoder_the_window_that_fits(small_pt: Path, spoken: list[Waveform]):
    full, short = load_whisper(str(small_pt)), load_whisper(str(small_pt), context="short")
    network = OpenaiNetwork(str(small_pt))
    for waveform, seconds in zip([spoken[0], np.tile(spoken[1], 4), spoken[2]], (8, 16, 8), strict=True):
        assert window_samples(len(waveform)) == seconds * RATE_HZ
        [states] = network.encode(log_mel(waveform, window_samples=seconds * RATE_HZ, band_count=80)[None]).numpy()
        [heard], [alone] = short.listen([waveform]), short.features([waveform])
        assert np.array_equal(heard.features, states[: feature_frames(len(waveform))].astype(np.float16))
        assert np.array_equal(heard.features, alone)
        assert full.features([waveform])[0].shape == alone.shape


def test_a_loop_in_the_short_context_is_heard_again_and_the_features_stay():
    recogniser = Recogniser(LoopingNetwork(), "looping", "en", context="short")
    [heard] = recogniser.listen([np.zeros(RATE_HZ, np.float32)])
    assert (heard.text, len(heard.features), recogniser.encoder_passes) == ("[1, 2, 3]", 51, 2)


def test_the_fingerprint_says_a_short_context_and_a_full_one_goes_without_saying(small_pt: Path):
    full, short = (load_whisper(str(small_pt), context=context).fingerprint for context in ("full", "short"))
    assert short == {**full, "context": "short"}


def test_the_fingerprint_names_weights_arithmetic_engine_and_threads(tiny_en: Recogniser, small_pt: Path):
    for recogniser in (tiny_en, load_whisper(str(small_pt))):
        fingerprint = recogniser.fingerprint
        assert {"model", "language", "weights_sha256", "compute_type", "engine", "cpu_threads"} <= set(fingerprint)
        assert len(fingerprint["weights_sha256"]) == 64
        assert json.loads(json.dumps(dict(fingerprint))) == fingerprint


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("tinny.en", "there is no Whisper 'tinny.en'"),
        ("./no/such/folder", "there is no Whisper './no/such/folder'"),
        ("nowhere.pt", "no such file"),
        ("openai:smal", "no model 'smal'"),
    ],
)
def test_an_unknown_recogniser_is_a_setup_error_that_says_what_to_give(name: str, says: str):
    with pytest.raises(SetupError) as error:
        load_whisper(name)
    assert says in str(error.value)
    assert "small" in str(error.value)


def test_a_folder_without_a_model_is_a_setup_error(tmp_path: Path):
    with pytest.raises(SetupError, match=r"no model\.bin"):
        load_whisper(str(tmp_path))


def test_a_broken_pt_file_is_a_setup_error(tmp_path: Path):
    path = tmp_path / "broken.pt"
    path.write_bytes(b"no weights")
    with pytest.raises(SetupError, match="cannot read"):
        load_whisper(str(path))


def test_a_hub_model_without_the_hub_is_a_setup_error(monkeypatch: pytest.MonkeyPatch):
    import huggingface_hub.constants

    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    with pytest.raises(SetupError, match="neither in the hub's cache nor could it be downloaded"):
        load_whisper("anytalk/no-such-whisper")


def test_an_english_model_refuses_another_language(small_pt: Path):
    for name in ("tiny.en", str(small_pt)):
        assert load_whisper(name, language="en-GB").language == "en"
        with pytest.raises(SetupError, match="knows only English"):
            load_whisper(name, language="de")


def test_openai_whisper_is_not_asked_for_another_arithmetic(small_pt: Path):
    with pytest.raises(SetupError, match="float32"):
        load_whisper(str(small_pt), compute_type="int8")


def test_the_fake_hears_the_text_of_the_nearest_length_the_same_each_time():
    fake = FakeWhisper({16_000: "one", 48_000: "three"}, feature_width=3)
    rng = np.random.default_rng(0)
    sounds = [rng.uniform(-1, 1, samples).astype(np.float32) for samples in (15_000, 47_000)]
    heard = fake.listen(sounds)
    assert [each.text for each in heard] == ["one", "three"] == [each.text for each in fake.transcribe(sounds)]
    assert [each.features.shape for each in heard] == [(47, 3), (147, 3)]
    np.testing.assert_array_equal(heard[0].features, fake.listen(sounds)[0].features)
    assert fake.listen([np.zeros(480_001, np.float32)])[0].reason == "too_long"


def test_the_list_of_recognisers_names_what_is_installed():
    infos = {info.name: info for info in known_whispers()}
    assert infos["tiny.en"].installed
    assert infos["openai:small"].extra == "openai-whisper"
    assert all(info.licence for info in infos.values())
