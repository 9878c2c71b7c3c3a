"""A connection to Ray that is closed by whoever opened it."""

import contextlib
import logging
import os
import signal
import socket
import threading
from collections.abc import Iterator

from anytalk.synth.errors import SetupError

REACHED_S = 10.0
"""How long the head of a cluster may take to answer; Ray itself tries for minutes, and then ends the process."""


@contextlib.contextmanager
def connected() -> Iterator[None]:
    """Be connected to Ray: as this process already is, to the cluster of RAY_ADDRESS, or to one on this machine.

    With RAY_ADDRESS=local a new one is started although there is one on this machine.

    Raises:
        SetupError: there is no cluster at that address, or none can be started here.
    """
    import ray

    started_here = not ray.is_initialized()
    if started_here:
        address = os.environ.get("RAY_ADDRESS")
        _refuse_unreachable(address)
        at_sigterm = signal.getsignal(signal.SIGTERM)
        try:
            ray.init(
                address="auto" if address and address != "local" else address,
                include_dashboard=False,
                log_to_driver=False,
                logging_level=logging.ERROR,
            )
        except (OSError, RuntimeError, ValueError, ray.exceptions.RayError) as error:
            raise SetupError(_unreachable(address, str(error).strip().partition("\n")[0])) from error
        if threading.current_thread() is threading.main_thread():
            signal.signal(signal.SIGTERM, at_sigterm)  # Ray's own aborts the process, with a trace.
    try:
        yield
    finally:
        if started_here:
            ray.shutdown()


def _refuse_unreachable(address: str | None) -> None:
    host, colon, port = (address or "").rpartition(":")
    if not colon or not port.isdigit() or "/" in host:
        return  # `auto`, or an address that Ray alone understands.
    try:
        socket.create_connection((host, int(port)), REACHED_S).close()
    except OSError as error:
        raise SetupError(_unreachable(address, str(error))) from error


def _unreachable(address: str | None, why: str) -> str:
    if address is None:
        return f"Ray does not start on this machine: {why}; RAY_ADDRESS=local starts another one, --local needs none"
    return f"there is no Ray cluster at RAY_ADDRESS={address}: {why}; unset it to start Ray on this machine"
