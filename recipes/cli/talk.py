"""`anytalk talk`: one question, or a folder of them."""

import json
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from anytalk.model.layout import Task
from anytalk.recipes.device import Device, ModelDtype
from anytalk.synth.errors import SampleError, SetupError
from anytalk.synth.wording import quantity

from .console import RUN_HELP, Json, emit, interrupted, require_run

if TYPE_CHECKING:
    from anytalk.model import Piece
    from anytalk.recipes.talk import Answer, Talker, Text
    from anytalk.synth.device import Dtype

app = typer.Typer()

# A paragraph each: the bar that parts the examples of other commands is a pipe here.
EPILOG = """Examples:\n
anytalk talk out/quickstart/talker out/quickstart/answers/00-exact-question.wav\n
anytalk talk out/quickstart/talker --text 'Who are you?' --out answer.wav\n
anytalk talk RUN question.mp3 --stream | ffplay -f s16le -ar 24000 -ch_layout mono -nodisp -autoexit -\n
anytalk talk RUN question.wav --stream | aplay -f S16_LE -r 24000 -c 1\n
anytalk talk RUN first.wav second.wav third.wav\n
anytalk talk RUN questions/ --out answers/ --json\n
anytalk talk RUN speech.wav --task A1T1\n
anytalk talk RUN --text 'Read this to me.' --task T1A1 --out read.wav\n
anytalk talk RUN question.wav --device cuda --dtype bfloat16"""
ANSWERS = "answers.jsonl"


@app.command(epilog=EPILOG)
def talk(
    run: Annotated[Path, typer.Argument(metavar="RUN", help=RUN_HELP)],
    question: Annotated[
        list[Path] | None,
        typer.Argument(
            metavar="QUESTION...",
            help="A recording up to 30 s (wav, flac, mp3, ...), or a folder of them. Several are one conversation.",
        ),
    ] = None,
    text: Annotated[
        list[str] | None,
        typer.Option(help="The question in writing, instead of QUESTION. Repeated, they are one conversation."),
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option(help="A .wav file or a folder; QUESTION's name with -answer in the current folder by default."),
    ] = None,
    task: Annotated[
        Task | None,
        typer.Option(
            case_sensitive=False,
            help="A1T1 transcribes, T1A1 reads aloud, A1T2 and T1T2 answer in text only; text and speech by default.",
        ),
    ] = None,
    stream: Annotated[
        bool,
        typer.Option("--stream", help="Write the speech to standard output as it is made: s16le, 24 kHz, mono."),
    ] = False,
    as_json: Json = False,
    codec: Annotated[str | None, typer.Option(help="See anytalk codec eval; the checkpoint's own by default.")] = None,
    whisper: Annotated[
        str | None, typer.Option(help="tiny.en, small, openai:small, a folder; the checkpoint's own by default.")
    ] = None,
    device: Device = "auto",
    dtype: ModelDtype = "float32",
    int8: Annotated[
        bool, typer.Option("--int8", help="Decode in int8 on the CPU: quicker, and not always the same.")
    ] = False,
    max_frames: Annotated[
        int | None, typer.Option(min=1, help="Longest answer, in codec frames of 85.3 ms; as long as fits by default.")
    ] = None,
    temperature: Annotated[float, typer.Option(min=0.0, help="0 takes the likeliest token each time.")] = 0.0,
    top_k: Annotated[int | None, typer.Option(min=1, help="Draw from the k likeliest (with --temperature).")] = None,
    top_p: Annotated[
        float, typer.Option(min=0.0, max=1.0, help="Draw from the likeliest that make up p (with --temperature).")
    ] = 1.0,
    seed: Annotated[int, typer.Option(min=0, help="The same seed draws the same answer.")] = 0,
    batch: Annotated[int, typer.Option(min=1, help="Questions of a folder that are answered together.")] = 8,
    context_turns: Annotated[
        int | None,
        typer.Option(min=0, help="Earlier turns of a conversation that a question gets; as trained by default."),
    ] = None,
) -> None:
    """Ask a trained model something: its answer comes as text while it speaks, and as a wav file."""
    if stream and as_json:
        raise SetupError("--stream and --json both need standard output; leave one out")
    if top_p == 0.0:
        raise SetupError("--top-p must be above 0")
    if temperature == 0.0 and (top_k is not None or top_p < 1.0):
        raise SetupError("--top-k and --top-p draw only with a --temperature above 0")
    recordings, texts = question or [], text or []
    if bool(recordings) == bool(texts):
        raise SetupError("give either QUESTION, a recording or a folder of them, or --text")
    for path in recordings:
        if not path.exists():
            raise SetupError(f"{path} does not exist; a question in writing is given with --text")
    if int8 and (dtype != "float32" or device.startswith("cuda")):
        raise SetupError("--int8 is for float32 weights on a CPU; leave it out, or --device and --dtype")
    folders = [path for path in recordings if path.is_dir()]
    if folders and stream:
        raise SetupError(f"{folders[0]} is a folder; --stream answers one question")
    if folders and len(recordings) > 1:
        raise SetupError(f"{folders[0]} is a folder; the turns of a conversation are recordings")
    _check_task(task, is_written=bool(texts), to=out, stream=stream)
    drawn = (temperature, top_k, top_p)
    load = partial(_load, run, "cpu" if int8 else device, dtype, int8, codec, whisper, drawn, seed, max_frames)
    if folders:
        _answer_folder(load, folders[0], task, out, batch, as_json)
        return
    from anytalk.recipes.talk import Text

    asked: list[Path | Text] = [*recordings, *map(Text, texts)]
    _answer_in_turn(load, asked, task, out, stream, as_json, context_turns)


def _check_task(task: Task | None, *, is_written: bool, to: Path | None, stream: bool) -> None:
    """Refuse what a task cannot do, before anything is loaded.

    Raises:
        SetupError: it takes the other kind of question, or gives no speech where some is wanted.
    """
    if task is None:
        return
    if task.hears == is_written:
        raise SetupError(f"--task {task.value} takes {'a recording, QUESTION' if task.hears else 'a text, --text'}")
    if not task.speaks and (stream or (to is not None and to.suffix)):
        raise SetupError(f"--task {task.value} gives text and no speech; leave out {'--stream' if stream else '--out'}")


def _load(
    run: Path,
    device: str,
    dtype: "Dtype",
    int8: bool,
    codec: str | None,
    whisper: str | None,
    drawn: tuple[float, int | None, float],
    seed: int,
    max_frames: int | None,
) -> "Talker":
    require_run(run)
    from anytalk.model import Sampling
    from anytalk.recipes.talk import Talker, load_engines, load_model

    model, sampling = load_model(run, device, dtype, int8=int8), Sampling(*drawn)
    engines = load_engines(model, codec, whisper, device)
    return Talker(model, *engines, text=sampling, audio=sampling, seed=seed, max_frames=max_frames)


# One question, or a conversation


def _answer_in_turn(
    load: "Callable[[], Talker]",
    questions: "Sequence[Path | Text]",
    task: Task | None,
    out: Path | None,
    stream: bool,
    as_json: bool,
    context_turns: int | None,
) -> None:
    targets = [None] * len(questions) if stream and out is None else _wavs(questions, out)
    talker = load()
    from anytalk.recipes.talk import Conversation, collect

    conversation = None
    if len(questions) > 1:
        trained = talker.model.config.context_turns
        conversation = Conversation(trained if context_turns is None else context_turns)
        if conversation.context_turns == 0:
            typer.echo("anytalk: trained without earlier turns; each question is answered alone", err=True)
    facts: list[dict[str, Any]] = []
    for question, target in zip(questions, targets, strict=True):
        shown = _shown(talker.talk(question, task, conversation), stream, aside=stream or as_json)
        answer = collect(shown, talker.codec.sample_rate_hz)
        typer.echo(err=stream or as_json)
        audio = target if target is not None and len(answer.pcm) else None
        if audio is not None:
            _write_wav(audio, answer, talker.codec.sample_rate_hz)
        asked = str(question) if isinstance(question, Path) else question.text
        facts.append(_facts(asked, answer, audio))
        if not stream and not as_json:
            limit = "--max-frames" if talker.max_frames else f"the model's {talker.max_positions} positions"
            typer.echo(_summary(answer, audio, limit, task is None or task.speaks))
    if as_json:
        emit(facts[0] if conversation is None else {"answers": facts}, as_json, "")


def _wavs(questions: "Sequence[Path | Text]", out: Path | None) -> list[Path | None]:
    """Decide where the answers go.

    Raises:
        SetupError: there is one name for several of them; see `_wav`.
    """
    if len(questions) > 1 and out is not None and out.suffix:
        raise SetupError(f"--out {out}: {len(questions)} answers need a folder")
    several = len(questions) > 1
    targets = [_wav(question, out, f"-{number}" if several else "") for number, question in enumerate(questions, 1)]
    if len({*targets}) < len(targets):
        raise SetupError("two questions would give answers of one name; rename one")
    return [*targets]


def _shown(pieces: "Iterable[Piece]", stream: bool, aside: bool) -> "Iterator[Piece]":
    """Show text, and play sound to standard output if it is to be streamed, while pieces pass."""
    from anytalk.recipes.talk import pcm16

    sound = typer.get_binary_stream("stdout")
    for piece in pieces:
        typer.echo(piece.text, nl=False, err=aside)
        if stream:
            sound.write(pcm16(piece.pcm).astype("<i2").tobytes())
            sound.flush()
        yield piece


def _wav(question: "Path | Text", out: Path | None, number: str = "") -> Path:
    """Decide where an answer goes; that to a text bears its number, if it has one.

    Raises:
        SetupError: the name is no wav file's, or the question's own.
    """
    name = f"{question.stem}-answer.wav" if isinstance(question, Path) else f"answer{number}.wav"
    if out is None or out.is_dir() or not out.suffix:
        target = (out or Path()) / name
    elif out.suffix.lower() == ".wav":
        target = out
    else:
        raise SetupError(f"--out {out}: answers are wav files; name a .wav file or a folder")
    if isinstance(question, Path) and target.resolve() == question.resolve():
        raise SetupError(f"--out {out} is the question itself; name another file")
    return target


def _write_wav(path: Path, answer: "Answer", rate_hz: int) -> None:
    import soundfile

    from anytalk.recipes.talk import pcm16

    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("wb") as file:
            soundfile.write(file, pcm16(answer.pcm), rate_hz, format="WAV", subtype="PCM_16")
    except OSError as error:
        raise SetupError(f"{path} cannot be written: {error.strerror}") from error


def _facts(question: str, answer: "Answer", audio: Path | None) -> dict[str, Any]:
    first_s, factor = answer.seconds_to_first_audio, answer.real_time_factor
    return {
        "question": question,
        "text": answer.text,
        "audio": None if audio is None else str(audio),
        "speech_s": round(answer.speech_s, 3),
        "seconds_to_first_audio": None if first_s is None else round(first_s, 3),
        "real_time_factor": None if factor is None else round(factor, 3),
        "steps": answer.steps,
        "end": answer.end,
    }


def _summary(answer: "Answer", audio: Path | None, limit: str, speaks: bool) -> str:
    cut = f", truncated at {limit}" if answer.end == "limit" else ""
    if audio is None:
        return f"  {'no speech in ' if speaks else ''}{quantity(answer.steps, 'step')}{cut}"
    first_s, factor = answer.seconds_to_first_audio, answer.real_time_factor
    return f"  {audio}: {answer.speech_s:.1f} s{cut}; time to first audio {first_s:.2f} s, RTF {factor:.2f}"


# A folder


def _answer_folder(
    load: "Callable[[], Talker]", folder: Path, task: Task | None, out: Path | None, batch: int, as_json: bool
) -> None:
    from anytalk.pipelines.progress import reporter

    questions = _recordings(folder)
    target = out or Path(f"{folder.resolve().name}-answers")
    if target.resolve() == folder.resolve():
        raise SetupError(f"--out {target} is the questions' folder; name another one")
    if target.exists() and not target.is_dir():
        raise SetupError(f"--out {target} is a file; a folder of questions needs a folder")
    talker = load()
    rate_hz = talker.codec.sample_rate_hz
    facts: list[dict[str, Any]] = []
    progress = reporter()
    progress.start("answers", len(questions))
    target.mkdir(parents=True, exist_ok=True)
    try:
        with (target / ANSWERS).open("w", encoding="utf-8") as lines:
            for question, answer in zip(questions, talker.answer_all(questions, batch, task), strict=True):
                if isinstance(answer, SampleError):
                    facts.append({"question": str(question), "error": str(answer)})
                    progress.say(f"anytalk: {answer}")
                else:
                    audio = target / f"{question.stem}.wav" if len(answer.pcm) else None
                    if audio is not None:
                        _write_wav(audio, answer, rate_hz)
                    facts.append(_facts(str(question), answer, audio))
                lines.write(json.dumps(facts[-1], ensure_ascii=False) + "\n")
                lines.flush()
                progress.advance(1)
    except KeyboardInterrupt:
        interrupted(f"{target} holds {quantity(len(facts), 'answer')}; the same command starts over")
    finally:
        progress.stop()
    refused = sum("error" in each for each in facts)
    speech_s = sum(each.get("speech_s", 0.0) for each in facts)
    answered, declined = quantity(len(facts) - refused, "answer"), quantity(refused, "question")
    text = f"{target}: {answered}, {speech_s:.1f} s of speech; {declined} refused"
    emit({"out": str(target), "answers": facts}, as_json, text)
    raise typer.Exit(1 if refused else 0)


def _recordings(folder: Path) -> list[Path]:
    """List a folder's recordings by name.

    Raises:
        SetupError: there is none, or two would give answers of one name.
    """
    from anytalk.pipelines.source import AUDIO_SUFFIXES

    found: dict[str, Path] = {}
    for path in sorted(folder.iterdir()):
        if path.suffix.lower() in AUDIO_SUFFIXES and path.is_file() and not path.name.startswith("."):
            if path.stem in found:
                raise SetupError(f"{found[path.stem]} and {path} would both be answered by {path.stem}.wav; rename one")
            found[path.stem] = path
    if not found:
        raise SetupError(f"{folder} holds no recordings; known: {', '.join(sorted(AUDIO_SUFFIXES))}")
    return list(found.values())
