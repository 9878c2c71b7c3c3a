"""Ray Data without its bars and banners, on a running Ray or on one that is started for this and stopped again."""

import contextlib
import logging
import os
from collections.abc import Iterator
from typing import Any


@contextlib.contextmanager
def ray_data() -> Iterator[Any]:
    """Give `ray`, ready for `ray.data`."""
    import ray
    import ray.data

    started_here = not ray.is_initialized()
    if started_here:
        ray.init(
            address="auto" if os.environ.get("RAY_ADDRESS") else None,
            include_dashboard=False,
            log_to_driver=False,
            logging_level=logging.ERROR,
        )
    context = ray.data.DataContext.get_current()
    logger = logging.getLogger("ray.data")
    before = context.enable_progress_bars, logger.level
    context.enable_progress_bars = False
    logger.setLevel(logging.ERROR)
    try:
        yield ray
    finally:
        context.enable_progress_bars, level = before
        logger.setLevel(level)
        if started_here:
            ray.shutdown()
