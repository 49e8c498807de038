"""The C library's allocator, for processes that work on big pictures."""

from __future__ import annotations

import ctypes
import sys

_TRIM_THRESHOLD, _MMAP_THRESHOLD = -1, -3
_LARGEST = 1 << 30


def keep_freed_memory() -> bool:
    """Lets this process keep freed blocks of up to 1 GiB for its next pictures; True if it could.

    By default glibc gives every block above 32 MiB back to the system at once, and every frame
    then pays for the same memory again, page by page: about a third of the time that a swap
    spends outside its network. Sets M_MMAP_THRESHOLD and M_TRIM_THRESHOLD (mallopt(3)); to be
    called by programs alone, never on import. Elsewhere than on glibc nothing happens.
    """
    if not sys.platform.startswith("linux"):
        return False
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is None:
        return False
    return bool(mallopt(_MMAP_THRESHOLD, _LARGEST)) and bool(mallopt(_TRIM_THRESHOLD, _LARGEST))
