"""The server as an application of Ray Serve: replicas that own a model each, behind one address.

    serve run anytalk.recipes.serve.ray_serve:application run=out/quickstart/talker replicas=2

A WebSocket stays on the replica that accepted it, so a session is served by one model from its first word to its last,
and what a model has read of a conversation is where its next turn is asked. A replica that is to go, since there is a
new version or fewer are needed, gets no new sessions and stops when its last one is over, or after `drain_s`.
"""

import os
from pathlib import Path
from typing import TYPE_CHECKING

from pydantic import BaseModel, ConfigDict, Field
from starlette.types import ASGIApp

from anytalk.recipes.talk import Talker, load_engines, load_model
from anytalk.synth.device import Dtype
from anytalk.synth.errors import SetupError

from .app import application as server_application
from .guard import Guard
from .limits import Limits
from .run import open_house

if TYPE_CHECKING:
    from ray.serve import Application


class Arguments(BaseModel):
    """What `serve run` takes as `name=value`, and a configuration file under `args`."""

    model_config = ConfigDict(extra="forbid")

    run: str
    """A checkpoint's folder, or a training run's, which every node sees."""
    name: str = "anytalk"
    replicas: int = Field(1, ge=1)
    gpus: float = Field(0.0, ge=0.0)
    """Of each replica; it computes there if there are any."""
    cpus: float = Field(1.0, ge=0.0)
    dtype: Dtype = "float32"
    int8: bool = False
    sessions: int = Field(8, ge=1)
    """Of each replica, at once."""
    token_env: str | None = None
    """Environment variable of the replicas with the token that clients must give."""
    origins: list[str] = []
    drain_s: float = Field(600.0, ge=0.0)
    """For which a replica that is to go waits for its sessions."""


class Replica:
    """One model and its sessions.

    Args:
        arguments: see `Arguments`.

    Raises:
        SetupError: the model cannot be loaded, or the token is missing.
    """

    def __init__(self, arguments: Arguments) -> None:
        device = "cuda" if arguments.gpus else "cpu"
        model = load_model(Path(arguments.run), device, arguments.dtype, int8=arguments.int8)
        talker = Talker(model, *load_engines(model, device=device))
        limits = Limits(sessions=arguments.sessions)
        self._house = open_house(talker, limits, name=arguments.name)
        token = os.environ.get(arguments.token_env, "").strip() if arguments.token_env else None
        if token == "":
            raise SetupError(f"token_env: the replica's environment holds no {arguments.token_env}")
        # The host is the proxy's; which names it is asked for by is not known here.
        posts = limits.sessions + limits.waiting
        self._guard = Guard("0.0.0.0", arguments.origins, token, limits.sessions, posts)

    def __serve_build_asgi_app__(self) -> ASGIApp:
        """Give Ray Serve the application of this replica."""
        return server_application(self._house, self._guard)


def application(arguments: Arguments) -> "Application":
    """Build the application."""
    from ray import serve  # an extra of its own, which a configuration can be checked without

    deployed = serve.deployment(
        name="anytalk",
        num_replicas=arguments.replicas,
        # Health checks and requests beside the sessions; those beyond the sessions are told that it is full.
        max_ongoing_requests=4 * arguments.sessions,
        graceful_shutdown_timeout_s=arguments.drain_s,
        ray_actor_options={"num_cpus": arguments.cpus, "num_gpus": arguments.gpus},
    )
    return deployed(serve.ingress()(Replica)).bind(arguments)
