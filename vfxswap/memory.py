"""The C library's allocator, for processes that work on big pictures."""

from __future__ import annotations

import ctypes
import sys

_TRIM_THRESHOLD, _MMAP_THRESHOLD, _ARENA_MAX = -1, -3, -8
_LARGEST = 1 << 30


def keep_freed_memory() -> bool:
    """Lets this process keep freed blocks of up to 1 GiB for its next pictures; True if it could.

    By default glibc gives every block above 32 MiB back to the system at once, and every frame
    then pays for the same memory again, page by page: about a third of the time that a swap
    spends outside its network. Arenas of other threads than the main one hold blocks of 64 MiB at
    most and so cannot keep larger ones: all threads share one. Sets M_MMAP_THRESHOLD,
    M_TRIM_THRESHOLD and M_ARENA_MAX (mallopt(3)); to be called by programs alone and before they
    start threads, never on import. Elsewhere than on glibc nothing happens.
    """
    if not sys.platform.startswith("linux"):
        return False
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is None:
        return False
    options = ((_MMAP_THRESHOLD, _LARGEST), (_TRIM_THRESHOLD, _LARGEST), (_ARENA_MAX, 1))
    return all(bool(mallopt(*option)) for option in options)
