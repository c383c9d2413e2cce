"""Python processes that end when the one that started them does, however that ends: killed with -9, too."""

from __future__ import annotations

import os
import sys

#: Sent to it by the kernel (prctl(2), PR_SET_PDEATHSIG and SIGTERM; Linux only).
_TIE = """
import ctypes, os, sys
if hasattr(ctypes.CDLL(None), "prctl"):
    ctypes.CDLL(None).prctl(1, 15)
if os.getppid() != int(sys.argv.pop(1)):
    sys.exit(0)
sys.path[:] = [place for place in sys.path if place]  # what lies in the working directory is not ours
"""


def tied(program: str) -> list[str]:
    """Words that start a program so; its arguments follow. To be started by the main thread.

    Args:
        program: Python's text.
    """
    return [sys.executable, "-c", _TIE + program, str(os.getpid())]
