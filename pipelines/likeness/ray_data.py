"""Ray Data without its bars and banners, on a running Ray or on one that is started for this and stopped again."""

import contextlib
import logging
from collections.abc import Iterator
from typing import Any

from anytalk.pipelines.cluster import connected


@contextlib.contextmanager
def ray_data() -> Iterator[Any]:
    """Give `ray`, ready for `ray.data`."""
    import ray
    import ray.data

    with connected():
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
