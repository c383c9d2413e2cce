"""Less memory for a process that moves a snapshot.

glibc gives threads heaps of their own, and none gives back what the others could use: the threads of the pipeline, the
stores and gRPC so took some 50 MB more than they need (seen with a backup to S3: 261 MB, with one heap 202 to 229).
Python runs one of them at a time anyway. Elsewhere (musl) nothing is changed.
"""

from __future__ import annotations

import ctypes
from contextlib import suppress

_M_ARENA_MAX = -8  # mallopt(3), malloc.h


def share_one_heap() -> None:
    """Let the threads that begin from now on allocate from one heap; the earlier in the process, the better."""
    with suppress(AttributeError, OSError):  # another C library
        ctypes.CDLL(None).mallopt(_M_ARENA_MAX, 1)
