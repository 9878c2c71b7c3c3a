"""A connection to Ray that is closed by whoever opened it."""

import contextlib
import logging
import os
from collections.abc import Iterator


@contextlib.contextmanager
def connected() -> Iterator[None]:
    """Be connected to Ray: as this process already is, to the cluster of RAY_ADDRESS, or to one on this machine."""
    import ray

    started_here = not ray.is_initialized()
    if started_here:
        ray.init(
            address="auto" if os.environ.get("RAY_ADDRESS") else None,
            include_dashboard=False,
            log_to_driver=False,
            logging_level=logging.ERROR,
        )
    try:
        yield
    finally:
        if started_here:
            ray.shutdown()
