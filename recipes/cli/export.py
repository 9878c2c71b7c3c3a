"""`anytalk export` and `anytalk push`: a dataset in the format of another tool; a dataset or a model on the hub."""

import dataclasses
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from anytalk.synth.wording import quantity

from .console import Json, emit, interrupted

if TYPE_CHECKING:
    from anytalk.pipelines.export import Format

app = typer.Typer()
formats = typer.Typer(
    no_args_is_help=True,
    help="Export a dataset to the format of another tool; an export that was interrupted goes on.",
    epilog="Example:  anytalk export hf out/quickstart/dataset out/hf",
)
app.add_typer(formats, name="export")


class TextForm(StrEnum):
    """Which text of a row."""

    spoken = "spoken"
    written = "written"


class Side(StrEnum):
    """Which side of a row."""

    question = "question"
    answer = "answer"


class Layout(StrEnum):
    """How Lhotse finds recordings."""

    shar = "shar"
    files = "files"


class Base(StrEnum):
    """Bases of Orpheus-style models whose ids are known."""

    orpheus = "orpheus"
    qwen3 = "qwen3"
    lfm2 = "lfm2"


Dataset = Annotated[str, typer.Argument(metavar="DATASET", help="Folder or URL that anytalk build wrote.")]
Out = Annotated[str, typer.Argument(metavar="OUT", help="Folder or object-store URL to write.")]
Split = Annotated[
    list[str] | None, typer.Option("--split", help="train, validation or test; all by default. Repeatable.")
]
PartRows = Annotated[int, typer.Option("--part-rows", min=1, help="Rows of a file, a few more or less.")]
Text = Annotated[TextForm, typer.Option("--text", help="The text as spoken, or as the source has it (with digits).")]
Speaker = Annotated[
    str | None,
    typer.Option("--source", metavar="NAME", help="Speaker of all rows; each row's own by default, '' for none."),
]
AnyCodec = Annotated[bool, typer.Option("--any-codec", help="Export codes of another codec than SNAC.")]
Features = Annotated[bool, typer.Option("--features", help="Keep the Whisper features, most of the bytes.")]
OneSide = Annotated[Side | None, typer.Option(help="One side alone; both by default.")]
DEFAULT_ROWS = 500


@formats.command(epilog="Example:  anytalk export orpheus DATASET OUT --tokenizer canopylabs/orpheus-3b-0.1-ft")
def orpheus(
    dataset: Dataset,
    out: Out,
    tokenizer: Annotated[str, typer.Option(help="Hub id or folder of the tokenizer of the model that you finetune.")],
    source: Speaker = None,
    text: Text = TextForm.spoken,
    mask_prompt: Annotated[bool, typer.Option("--mask-prompt", help="No loss on the prompt (labels -100).")] = False,
    base: Annotated[
        Base, typer.Option(help="Whose ids: orpheus (Llama 3), or VyvoTTS's qwen3 or lfm2.")
    ] = Base.orpheus,
    base_offset: Annotated[
        int | None, typer.Option(min=1, help="Size of another base's vocabulary; codes begin 10 after it.")
    ] = None,
    end_of_text: Annotated[int | None, typer.Option(min=0, help="Id that ends the text, for another base.")] = None,
    max_tokens: Annotated[int | None, typer.Option(min=1, help="Leave longer rows out, and count them.")] = None,
    any_codec: AnyCodec = False,
    split: Split = None,
    part_rows: PartRows = DEFAULT_ROWS,
    as_json: Json = False,
) -> None:
    """Tokens for Orpheus-style finetuning: input_ids, labels, attention_mask in Parquet."""
    from anytalk.pipelines.export import BASES, Orpheus
    from anytalk.synth.errors import SetupError

    ids = BASES[base.value]
    if base_offset is not None:
        if end_of_text is None:
            raise SetupError("--base-offset needs --end-of-text, the id that ends the text for that base")
        ids = dataclasses.replace(ids, tokens=base_offset, first_token=None)
    if end_of_text is not None:
        ids = dataclasses.replace(ids, end_of_text=end_of_text)
    form = Orpheus(tokenizer, ids, source, text.value, mask_prompt, max_tokens, any_codec)
    _export(form, dataset, out, split, part_rows, as_json)


@formats.command(epilog="Example:  anytalk export tts-parquet out/quickstart/dataset out/tts --source heart")
def tts_parquet(
    dataset: Dataset,
    out: Out,
    side: Annotated[Side, typer.Option(help="Whose speech.")] = Side.answer,
    source: Speaker = None,
    text: Text = TextForm.spoken,
    split: Split = None,
    part_rows: PartRows = DEFAULT_ROWS,
    as_json: Json = False,
) -> None:
    """Text, audio and source (the speaker) in Parquet, for notebooks that finetune text to speech."""
    from anytalk.pipelines.export import TtsParquet

    _export(TtsParquet(side.value, source, text.value), dataset, out, split, part_rows, as_json)


@formats.command(epilog="Example:  anytalk export hf out/quickstart/dataset out/hf --split train")
def hf(
    dataset: Dataset,
    out: Out,
    features: Features = False,
    split: Split = None,
    part_rows: PartRows = DEFAULT_ROWS,
    as_json: Json = False,
) -> None:
    """All columns as Parquet, which `datasets` loads and the hub's viewer shows with players."""
    from anytalk.pipelines.export import HubParquet

    _export(HubParquet(features), dataset, out, split, part_rows, as_json)


@formats.command(
    name="voiceassistant-400k",
    epilog="Example:  anytalk export voiceassistant-400k out/quickstart/dataset out/va --any-codec",
)
def voiceassistant(
    dataset: Dataset,
    out: Out,
    text: Text = TextForm.spoken,
    any_codec: AnyCodec = False,
    split: Split = None,
    part_rows: PartRows = DEFAULT_ROWS,
    as_json: Json = False,
) -> None:
    """The seven columns of VoiceAssistant-400K, for Mini-Omni and SLAM-LLM."""
    from anytalk.pipelines.export import VoiceAssistant400k

    _export(VoiceAssistant400k(text.value, any_codec), dataset, out, split, part_rows, as_json)


@formats.command(epilog="Example:  anytalk export webdataset out/quickstart/dataset out/wds")
def webdataset(
    dataset: Dataset,
    out: Out,
    features: Features = False,
    split: Split = None,
    part_rows: PartRows = DEFAULT_ROWS,
    as_json: Json = False,
) -> None:
    """Tar files for WebDataset: json, question.flac, answer.flac and codes.npy of each row."""
    from anytalk.pipelines.export import WebDataset

    _export(WebDataset(features), dataset, out, split, part_rows, as_json)


@formats.command(epilog="Example:  anytalk export lhotse out/quickstart/dataset out/lhotse --side answer")
def lhotse(
    dataset: Dataset,
    out: Out,
    layout: Annotated[Layout, typer.Option(help="Shar, or a CutSet with its recordings as files.")] = Layout.shar,
    side: OneSide = None,
    text: Text = TextForm.spoken,
    split: Split = None,
    part_rows: PartRows = DEFAULT_ROWS,
    as_json: Json = False,
) -> None:
    """A CutSet of Lhotse: the question as recording, the answer as target_audio and target_codes; or one side."""
    from anytalk.pipelines.export import Lhotse

    _export(Lhotse(layout.value, side.value if side else None, text.value), dataset, out, split, part_rows, as_json)


@formats.command(epilog="Example:  anytalk export messages out/quickstart/dataset out/chats")
def messages(
    dataset: Dataset,
    out: Out,
    system: Annotated[str | None, typer.Option(help="A system message at the start of every chat.")] = None,
    prompt: Annotated[str, typer.Option(help="Text after <audio> in every question.")] = "",
    answer_audio: Annotated[bool, typer.Option("--answer-audio", help="Write the answers' recordings, too.")] = False,
    text: Text = TextForm.written,
    split: Split = None,
    part_rows: PartRows = DEFAULT_ROWS,
    as_json: Json = False,
) -> None:
    """Chats with audios, for ms-swift and LLaMA-Factory (Qwen-Omni, ...): spoken questions, text answers."""
    from anytalk.pipelines.export import Messages

    _export(Messages(system, prompt, answer_audio, text.value), dataset, out, split, part_rows, as_json)


@formats.command(epilog="Example:  anytalk export moshi out/quickstart/dataset out/moshi --words small.en")
def moshi(
    dataset: Dataset,
    out: Out,
    words: Annotated[str, typer.Option(help="Recogniser of word times: a faster-whisper size, folder or hub id.")] = (
        "tiny.en"
    ),
    device: Annotated[str, typer.Option(help="Where it runs: cpu or cuda.")] = "cpu",
    gap_s: Annotated[float, typer.Option("--gap", min=0.0, max=60.0, help="Seconds of silence between turns.")] = 0.5,
    split: Split = None,
    part_rows: PartRows = DEFAULT_ROWS,
    as_json: Json = False,
) -> None:
    """Stereo conversations with word times, for moshi-finetune: answers left, questions right."""
    from anytalk.pipelines.export import Moshi

    _export(Moshi(words, device, gap_s), dataset, out, split, part_rows, as_json)


@formats.command(epilog="Example:  anytalk export preferences out/quickstart/dataset out/pairs --side answer")
def preferences(
    dataset: Dataset,
    out: Out,
    side: OneSide = None,
    split: Split = None,
    part_rows: PartRows = DEFAULT_ROWS,
    as_json: Json = False,
) -> None:
    """Speech that passed its checks beside failed attempts at the same text, as pairs in Parquet."""
    from anytalk.pipelines.export import Preferences

    _export(Preferences(side.value if side else None), dataset, out, split, part_rows, as_json)


@app.command(
    epilog="Examples:  anytalk push out/quickstart/dataset me/quickstart  |  anytalk push RUN OWNER/NAME --public"
)
def push(
    what: Annotated[
        str, typer.Argument(metavar="DATASET|RUN", help="Folder that anytalk build wrote; or a run, or a checkpoint.")
    ],
    repo: Annotated[str, typer.Argument(metavar="OWNER/NAME", help="Repository of the hub; made if there is none.")],
    public: Annotated[bool, typer.Option("--public", help="Make a new repository public; private by default.")] = False,
    as_json: Json = False,
) -> None:
    """Send a dataset or a trained model to the Hugging Face hub; what is there already is not sent again."""
    try:
        if any((Path(what) / name).exists() for name in ("config.json", "best")):
            _push_model(what, repo, public, as_json)
        else:
            _push_dataset(what, repo, public, as_json)
    except KeyboardInterrupt:
        interrupted(f"the same command sends what {repo} lacks")


def _push_model(run: str, repo: str, public: bool, as_json: bool) -> None:
    from anytalk.recipes.talk import push_model

    found = push_model(run, repo, public=public)
    emit(dataclasses.asdict(found), as_json, f"{found.url}: {found.checkpoint} sent; anytalk talk {repo} talks with it")


def _push_dataset(dataset: str, repo: str, public: bool, as_json: bool) -> None:
    from anytalk.pipelines.progress import reporter
    from anytalk.pipelines.push import push as send

    found = send(dataset, repo, public=public, progress=reporter())
    other = f"; it has {quantity(found.files_other, 'file')} that are none of this dataset" if found.files_other else ""
    sent = f"{quantity(found.files_sent, 'file')} sent, {found.files_there} there already{other}"
    emit(dataclasses.asdict(found), as_json, f"{found.url}: {sent}")


def _export(form: "Format", dataset: str, out: str, split: list[str] | None, part_rows: int, as_json: bool) -> None:
    from anytalk.pipelines import export
    from anytalk.pipelines.progress import reporter

    try:
        found = export.export(dataset, form, out, splits=split or (), part_rows=part_rows, progress=reporter())
    except KeyboardInterrupt:
        interrupted(f"what is finished is kept in {out}; the same command goes on from there")
    emit(dataclasses.asdict(found), as_json, _text(found))


def _text(found: Any) -> str:
    splits = ", ".join(f"{split} {rows:,}" for split, rows in found.splits.items())
    left_out = ", ".join(f"{reason} {rows:,}" for reason, rows in found.left_out.items())
    return "\n".join(
        [
            f"{found.out}: {found.format}, complete",
            f"  written    {quantity(found.rows, 'row')} ({splits}) in {quantity(found.files, 'file')}, "
            f"{found.bytes / 1e6:,.1f} MB",
            *([f"  left out   {left_out}; left_out.jsonl names them"] if left_out else []),
            *([f"  kept       {quantity(found.parts_kept, 'part')} of an earlier run"] if found.parts_kept else []),
        ]
    )
