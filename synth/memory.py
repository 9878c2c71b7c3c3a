"""Keep the memory that this process frees for its own next use, instead of giving it back to the system each time."""

import ctypes
import sys

M_TRIM_THRESHOLD, M_MMAP_THRESHOLD = -1, -3
"""Of glibc's malloc.h."""

KEPT_BYTES = 1 << 30
"""Larger pieces go back to the system as before."""


def keep_freed_memory() -> bool:
    """Tell glibc to keep what is freed.

    By default every array beyond 32 MB is mapped anew and its pages cleared by the kernel: Whisper's encoder makes
    such an array of attention in each layer, and a quarter of its time went there. The price is that the process stays
    as large as it once was.

    Returns:
        Whether the C library took it; others than glibc are left alone.

    Source: mallopt(3), https://man7.org/linux/man-pages/man3/mallopt.3.html
    """
    if not sys.platform.startswith("linux"):
        return False
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is None:
        return False
    taken = [mallopt(parameter, KEPT_BYTES) == 1 for parameter in (M_MMAP_THRESHOLD, M_TRIM_THRESHOLD)]
    return all(taken)
