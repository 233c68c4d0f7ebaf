"""The process that started this one."""

from __future__ import annotations

import ctypes
import signal
from typing import Final

_PR_SET_PDEATHSIG: Final = 1
_libc: Final = ctypes.CDLL(None)


def end_with_parent(number: signal.Signals) -> None:
    """Lets the kernel send this process the signal when its parent ends, however that ends. On Linux only."""
    _libc.prctl(_PR_SET_PDEATHSIG, number)
