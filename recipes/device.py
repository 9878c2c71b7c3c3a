"""The options --device and --dtype of commands that load models."""

from typing import Annotated

import typer

from anytalk.synth.device import Dtype

Device = Annotated[
    str,
    typer.Option(metavar="DEVICE", help="auto (a GPU where there is one), cpu, cuda, or cuda:1."),
]
ModelDtype = Annotated[Dtype, typer.Option("--dtype", help="Precision of the model's weights; float16 takes a GPU.")]
CodecDtype = Annotated[Dtype, typer.Option("--dtype", help="Precision of SNAC's encoder; half precision takes a GPU.")]
WhisperDtype = Annotated[
    Dtype,
    typer.Option("--dtype", help="Precision of the Whisper; half precision takes a GPU."),
]
