"""`anytalk serve`: a trained model for browsers and for clients of OpenAI's audio APIs."""

import contextlib
import os
import time
import webbrowser
from pathlib import Path
from typing import Annotated

import typer

from anytalk.recipes.device import Device, ModelDtype
from anytalk.synth.errors import SetupError
from anytalk.synth.extra import import_extra

from .console import RUN_HELP, Json, emit, require_run

app = typer.Typer()

EPILOG = """Examples:\n
anytalk serve out/quickstart/talker --open\n
anytalk serve RUN --int8 --port 8080 --sessions 4\n
TOKEN=secret anytalk serve RUN --host 0.0.0.0 --token-env TOKEN --origin https://example.org\n
anytalk serve RUN --device cuda --dtype bfloat16 --save conversations/"""


@app.command(epilog=EPILOG)
def serve(
    run: Annotated[Path, typer.Argument(metavar="RUN", help=RUN_HELP)],
    host: Annotated[str, typer.Option(help="Address to listen on; 0.0.0.0 for every one of this machine.")] = (
        "127.0.0.1"
    ),
    port: Annotated[int, typer.Option(min=0, max=65535, help="Port to listen on; 0 for any that is free.")] = 8000,
    device: Device = "auto",
    dtype: ModelDtype = "float32",
    int8: Annotated[
        bool, typer.Option("--int8", help="Decode in int8 on the CPU: quicker, and not always the same.")
    ] = False,
    sessions: Annotated[int, typer.Option(min=1, max=256, help="Conversations, and answers, at once.")] = 8,
    token_env: Annotated[
        str | None,
        typer.Option(
            metavar="NAME", help="Environment variable with the token that clients must give; none by default."
        ),
    ] = None,
    origin: Annotated[
        list[str] | None,
        typer.Option(metavar="URL", help="Pages of another origin that may connect. Repeatable."),
    ] = None,
    save: Annotated[
        Path | None,
        typer.Option(metavar="DIR", help="Write what is said into this folder; nothing is kept by default."),
    ] = None,
    open_page: Annotated[bool, typer.Option("--open", help="Open the page in this machine's browser.")] = False,
    codec: Annotated[str | None, typer.Option(help="See anytalk codec eval; the checkpoint's own by default.")] = None,
    whisper: Annotated[
        str | None, typer.Option(help="tiny.en, small, openai:small, a folder; the checkpoint's own by default.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Serve a trained model: a page to talk to it, OpenAI's Realtime API, and its audio endpoints."""
    require_run(run)
    if int8 and (dtype != "float32" or device.startswith("cuda")):
        raise SetupError("--int8 is for float32 weights on a CPU; leave it out, or --device and --dtype")
    token = None
    if token_env is not None and not (token := os.environ.get(token_env, "").strip()):
        raise SetupError(f"--token-env {token_env}: the environment holds no {token_env}, or an empty one")
    for module in ("starlette", "uvicorn", "websockets", "prometheus_client", "multipart"):
        import_extra(module, "anytalk serve", "serve")
    from anytalk.recipes import serve as serving
    from anytalk.recipes.talk import Talker, load_engines, load_model

    serving.leave_a_core()
    started_s = time.perf_counter()
    listening = serving.bound(host, port)  # before what takes seconds
    model = load_model(run, "cpu" if int8 else device, dtype, int8=int8)
    talker = Talker(model, *load_engines(model, codec, whisper, device))
    limits = serving.Limits(sessions=sessions)
    house = serving.open_house(talker, limits, name=_name(run), save=save)
    guard = serving.Guard(host, origin or (), token, sessions, posts=sessions + limits.waiting)
    server = serving.server(serving.application(house, guard), limits)
    seconds = time.perf_counter() - started_s
    address = serving.address(listening)
    text = f"{address} answers as {house.model}, ready in {seconds:.1f} s; Ctrl-C stops it"
    emit({"address": address, "model": house.model, "ready_s": round(seconds, 1)}, as_json, text)
    if open_page:
        webbrowser.open(address)  # it waits for an answer: the socket listens already
    with contextlib.suppress(KeyboardInterrupt):  # uvicorn stops cleanly, and raises again what stopped it
        server.run(sockets=[listening])
    typer.echo("stopped", err=as_json)


def _name(run: Path) -> str:
    folder = run.resolve()
    return folder.parent.name if folder.name in ("best", "last") else folder.name
