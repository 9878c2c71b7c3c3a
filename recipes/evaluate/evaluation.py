"""How well does a model talk? Training recordings asked again, and the same questions spoken as it never heard them.

What is measured for each question: the text of the answer against the reference; what Whisper hears in the answer's
speech against that text; the same for the codec alone, which is as good as speech through it can get; seconds to the
first sound, and seconds of work for a second of speech.
"""

import dataclasses
import json
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from statistics import fmean
from typing import Any

import jiwer
import pyarrow as pa
import soundfile

from anytalk.pipelines.dataset import Store, matrix
from anytalk.pipelines.plan import question_voices
from anytalk.pipelines.progress import Reporter
from anytalk.pipelines.recipe import Recipe, VoiceChoice
from anytalk.pipelines.speech import Utterance, VoiceEngine, said_by
from anytalk.recipes.data import MANIFEST, mapped, shard_paths
from anytalk.recipes.talk import Talker, collect, pcm16
from anytalk.synth.audio import Waveform, read_audio, resample
from anytalk.synth.batch import raise_first
from anytalk.synth.errors import SampleError, SetupError
from anytalk.synth.hearing import Whisper
from anytalk.synth.judge.error_rate import error_rate, whisper_normaliser
from anytalk.synth.language import primary
from anytalk.synth.seed import derive_seed
from anytalk.synth.text import without_tags
from anytalk.synth.wording import quantity

SPEED_MARGIN = 1.08
"""How much faster than the fastest training variant a question is spoken again, or slower than the slowest."""
COLUMNS = (
    "id",
    "split_name",
    "conversation",
    "turn",
    "language",
    "question",
    "answer",
    "question_audio",
    "answer_codes",
)


@dataclasses.dataclass(frozen=True, eq=False)
class AskedQuestion:
    """One question put to the model."""

    kind: str
    """exact: a training recording; respoken: the same words in a voice and at a speed that training did not hear."""
    row: dict[str, Any]
    voice: str
    sound_16k: Waveform | SampleError


@dataclasses.dataclass(frozen=True)
class UnaskedQuestion:
    """A question that could not be put, or whose answer could not be measured."""

    kind: str
    id: str
    question: str
    error: str


@dataclasses.dataclass(frozen=True)
class EvaluatedAnswer:
    """What came of it; word error rates are between 0 and 1 or above, and None where there is nothing to compare."""

    kind: str
    split_name: str
    """Label of the row's source."""
    voice: str
    question: str
    reference: str
    text: str
    heard: str
    text_right: bool
    text_wer: float
    speech_wer: float | None
    codec_wer: float
    seconds_to_first_audio: float | None
    real_time_factor: float | None
    steps: int
    question_audio: str
    answer_audio: str | None


def evaluate(
    talker: Talker,
    dataset: str,
    out: Path,
    *,
    exact: int,
    respoken: int,
    progress: Reporter,
    split: str = "train",
    device: str = "cpu",
    recogniser: Whisper | None = None,
) -> dict[str, Any]:
    """Ask questions of a dataset, write what was said, and sum it up.

    Args:
        talker: the model and its engines.
        dataset: folder of the dataset that it was trained on.
        out: folder for evaluation.json and a wav file of every question and answer.
        exact: how many recordings are asked as they are.
        respoken: how many questions are spoken anew: the dataset's own voices, beyond the speeds of its recipe.
        progress: who is answers how far it is.
        split: the split that questions are taken from.
        device: where voices compute; see `synth.device.resolve`.
        recogniser: listens to the answers; the one that the model hears with by default.

    Returns:
        What evaluation.json holds: the figures, an entry for each question, and those that `failed`, which count in no
        other figure than `questions_failed`.

    Raises:
        SetupError: the dataset is unfinished or has no such rows, the recogniser does not know their language, or no
            question at all could be asked.
    """
    rows = pick(dataset, split, max(exact, respoken))
    if recogniser is not None:
        recogniser.require({row["language"] for row in rows})
    out.mkdir(parents=True, exist_ok=True)
    recipe = read_recipe_of(dataset)
    tags = recipe.clean.style_tags
    progress.start("questions asked", min(exact, len(rows)) + min(respoken, len(rows)))
    answers, failed = [], []
    try:
        codec_wer: dict[str, float] = {}
        asked = [*_as_recorded(rows[:exact]), *_respoken(rows[:respoken], split, recipe, device)]
        for number, each in enumerate(asked):
            name = each.row["id"]
            try:
                if isinstance(each.sound_16k, SampleError):
                    raise each.sound_16k
                if name not in codec_wer:
                    codec_wer[name] = _codec_word_error_rate(talker, each.row, recogniser, tags)
                answers.append(_ask(talker, each, each.sound_16k, codec_wer[name], out, number, recogniser, tags))
                progress.advance(1, f"{each.kind}: {answers[-1].text[:40]}")
            except SampleError as error:
                failed.append(UnaskedQuestion(each.kind, name, each.row["question"], str(error)))
                progress.advance(1, f"{each.kind}: failed")
    finally:
        progress.stop()
    if failed and not answers:
        raise SetupError(f"none of {quantity(len(failed), 'question')} could be asked; the first: {failed[0].error}")
    result = {
        "recogniser": (recogniser or talker.whisper).name,
        "figures": figures(answers) | {"questions_failed": len(failed)},
        "answers": [dataclasses.asdict(each) for each in answers],
        "failed": [dataclasses.asdict(each) for each in failed],
    }
    (out / "evaluation.json").write_text(json.dumps(result, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
    return result


def pick(dataset: str, split: str, count: int) -> list[dict[str, Any]]:
    """Rows that begin conversations, one a conversation, spread evenly over the split.

    Raises:
        SetupError: there are none with recorded questions and encoded answers.
    """
    firsts: dict[str, tuple[pa.Table, int]] = {}
    for path in shard_paths(dataset, split):
        table = mapped(path)
        if missing := set(COLUMNS) - set(table.column_names):
            raise SetupError(f"{path} lacks {', '.join(sorted(missing))}; asking again needs them")
        for index, (conversation, turn) in enumerate(zip(table["conversation"], table["turn"], strict=True)):
            if turn.as_py() == 0:
                firsts.setdefault(conversation.as_py(), (table, index))
    if not firsts:
        raise SetupError(f"{dataset} has no rows in split {split!r}")
    places = list(firsts.values())
    chosen = [places[k * len(places) // min(count, len(places))] for k in range(min(count, len(places)))]
    return [_row(table, index) for table, index in chosen]


def _row(table: pa.Table, index: int) -> dict[str, Any]:
    row = {name: table[name][index].as_py() for name in COLUMNS if name != "answer_codes"}
    return row | {"answer_codes": matrix(table["answer_codes"], index)}


def read_recipe_of(dataset: str) -> Recipe:
    """Read the recipe that a dataset was made from."""
    manifest = json.loads(Store(dataset).read(MANIFEST))
    return Recipe.model_validate(manifest["recipe"])


def _as_recorded(rows: Sequence[dict[str, Any]]) -> Iterator[AskedQuestion]:
    for row in rows:
        try:
            sound: Waveform | SampleError = read_audio(row["question_audio"]["bytes"], 16_000, max_s=30.0)
        except SampleError as error:
            sound = error
        yield AskedQuestion("exact", row, "as recorded", sound)


def _respoken(rows: Sequence[dict[str, Any]], split: str, recipe: Recipe, device: str) -> Iterator[AskedQuestion]:
    pools = [question_voices(row["language"], split, recipe) or recipe.voices.question for row in rows]
    names = sorted({choice.voice for choices in pools for choice in choices})
    speaking = VoiceEngine(names, recipe.audio, recipe.voices, device=device)
    for number, (row, choices) in enumerate(zip(rows, pools, strict=True)):
        choice = choices[number % len(choices)]
        seed = derive_seed(recipe.seed, "respoken", row["id"]) % 2**32
        speed, pitch = unheard(choice, choices, faster=number // len(choices) % 2 == 0)
        text = said_by(choice, row["question"], recipe)
        job = Utterance(text, choice.voice, seed, speed, pitch, 16_000, recipe.audio.max_question_s)
        [spoken] = speaking.speak([job])
        yield AskedQuestion("respoken", row, f"{choice.voice} speed={speed:g} pitch={pitch:g}", spoken)


def unheard(choice: VoiceChoice, choices: Sequence[VoiceChoice], faster: bool) -> tuple[float, float]:
    """Speed outside all ranges that training heard the choice's voice in, and a pitch in the middle of the choice's."""
    speeds = [speed for other in choices if other.voice == choice.voice for speed in other.speed]
    speed = max(speeds) * SPEED_MARGIN if faster else min(speeds) / SPEED_MARGIN
    return round(min(2.0, max(0.5, speed)), 3), round(fmean(choice.pitch), 3)


def _codec_word_error_rate(
    talker: Talker, row: dict[str, Any], recogniser: Whisper | None, tags: Sequence[str]
) -> float:
    """What the codec alone loses: the reference's own codes, decoded and heard."""
    [sound] = raise_first(talker.codec.decode([row["answer_codes"]]))
    normalised = _normaliser(row["language"], tags)
    return _wrong(normalised(row["answer"]), normalised(_listen(talker, sound, row["language"], recogniser)))


def _ask(
    talker: Talker,
    asked: AskedQuestion,
    sound_16k: Waveform,
    codec_wer: float,
    out: Path,
    number: int,
    recogniser: Whisper | None,
    tags: Sequence[str],
) -> EvaluatedAnswer:
    """Put one question, write both sounds, and listen to what was said."""
    rate_hz = talker.codec.sample_rate_hz
    answer = collect(talker.talk((sound_16k, 16_000)), rate_hz)
    normalised = _normaliser(asked.row["language"], tags)
    reference = normalised(asked.row["answer"])
    said = normalised(answer.text)
    heard = _listen(talker, answer.pcm, asked.row["language"], recogniser)
    name = f"{number:02d}-{asked.kind}"
    question_audio, answer_audio = f"{name}-question.wav", f"{name}-answer.wav" if len(answer.pcm) else None
    soundfile.write(out / question_audio, pcm16(sound_16k), 16_000, subtype="PCM_16")
    if answer_audio:
        soundfile.write(out / answer_audio, pcm16(answer.pcm), rate_hz, subtype="PCM_16")
    return EvaluatedAnswer(
        kind=asked.kind,
        split_name=asked.row["split_name"],
        voice=asked.voice,
        question=asked.row["question"],
        reference=asked.row["answer"],
        text=answer.text,
        heard=heard,
        text_right=said == reference,
        text_wer=_wrong(reference, said),
        speech_wer=_wrong(said, normalised(heard)) if said else None,
        codec_wer=codec_wer,
        seconds_to_first_audio=_rounded(answer.seconds_to_first_audio),
        real_time_factor=_rounded(answer.real_time_factor),
        steps=answer.steps,
        question_audio=question_audio,
        answer_audio=answer_audio,
    )


def _listen(talker: Talker, pcm: Waveform, language: str, recogniser: Whisper | None) -> str:
    """What Whisper hears in speech at the codec's rate; nothing in silence."""
    if not len(pcm):
        return ""
    whisper = recogniser or talker.whisper
    sound = resample(pcm, talker.codec.sample_rate_hz, whisper.sample_rate_hz)
    [heard] = raise_first(whisper.transcribe([sound], [language]))
    return heard.text


def _normaliser(language: str, tags: Sequence[str]) -> Callable[[str], str]:
    """What texts are compared after: style tags are no words."""
    whisper_normalise = whisper_normaliser(primary(language))
    return lambda text: whisper_normalise(without_tags(text, tags))


def _wrong(reference: str, said: str) -> float:
    """Word error rate."""
    return round(float(error_rate(jiwer.wer, reference, said)), 4)


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(value, 4)


def figures(answers: Sequence[EvaluatedAnswer]) -> dict[str, Any]:
    """Means over each kind, as shares between 0 and 1; a speech that says nothing counts as all wrong."""
    found: dict[str, Any] = {}
    for kind in ("exact", "respoken"):
        of_kind = [each for each in answers if each.kind == kind]
        if not of_kind:
            continue
        found[f"questions_{kind}"] = len(of_kind)
        found[f"text_right_{kind}"] = fmean(each.text_right for each in of_kind)
        found[f"text_wer_{kind}"] = fmean(each.text_wer for each in of_kind)
        found[f"speech_wer_{kind}"] = fmean(1.0 if each.speech_wer is None else each.speech_wer for each in of_kind)
        for name in ("seconds_to_first_audio", "real_time_factor"):
            values = [value for each in of_kind if (value := getattr(each, name)) is not None]
            found[f"{name}_{kind}"] = fmean(values) if values else None
    found["codec_ceiling_wer"] = fmean(each.codec_wer for each in answers)
    return {name: _rounded(value) if isinstance(value, float) else value for name, value in found.items()}
