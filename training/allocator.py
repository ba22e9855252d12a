"""Memory that stays with the process between steps."""

import ctypes
import sys

M_TRIM_THRESHOLD, M_MMAP_MAX = -1, -4  # of mallopt(3)


def keep_freed_memory():
    """Tells glibc to keep what is freed. By default it maps every tensor above 32 MB afresh and gives it back to the
    kernel, which clears each page again at every step: on CPU this was most of the time of a training step (see
    `benchmarks/allocator.py`). Other platforms and C libraries are left alone."""
    libc = ctypes.CDLL(None) if sys.platform == "linux" else None
    if hasattr(libc, "mallopt"):
        libc.mallopt(M_MMAP_MAX, 0)
        libc.mallopt(M_TRIM_THRESHOLD, -1)
