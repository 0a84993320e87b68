"""Shifts the wall clock of a Python process, from its start, by what stands in a file: seconds, as a big-endian 64-bit number.

Python imports this by itself where its folder is on PYTHONPATH. Monotonic clocks go on as they are, as when a machine's clock is set.
"""

from __future__ import annotations

import mmap
import os
import struct
import time

_SECONDS = struct.Struct(">q")
_path = os.environ.get("CHAOS_CLOCK")

if _path is not None:
    with open(_path, "r+b") as _file:  # noqa: PTH123 (imported by every process that starts: as little as possible)
        _shared = mmap.mmap(_file.fileno(), _SECONDS.size)
    _now, _now_ns = time.time, time.time_ns

    def _shifted() -> float:
        return _now() + _SECONDS.unpack(_shared[:8])[0]

    def _shifted_ns() -> int:
        return _now_ns() + int(_SECONDS.unpack(_shared[:8])[0]) * 1_000_000_000

    time.time, time.time_ns = _shifted, _shifted_ns
