"""Which line of the user's program called us: what errors about the program point at."""

from __future__ import annotations

import sys
import sysconfig
from types import FrameType
from typing import Final

_OURS: Final = __name__.partition(".")[0]
# Frames of Python's own library between the user and us (functools, a thread's bootstrap) say nothing to the user.
_STANDARD_LIBRARY: Final = sysconfig.get_paths()["stdlib"]
_PACKAGES: Final = ("site-packages", "dist-packages")


def user_line() -> str:
    """`file:line` of the innermost caller that is part neither of Millstream nor of Python; "" when there is none."""
    frame: FrameType | None = sys._getframe(1)
    while frame is not None:
        if not _is_ours(frame) and not _is_python_s(frame.f_code.co_filename):
            return f"{frame.f_code.co_filename}:{frame.f_lineno}"
        frame = frame.f_back
    return ""


def _is_ours(frame: FrameType) -> bool:
    # `python -m millstream` has the package's name elsewhere; of the console script only what it imports is ours.
    names = (frame.f_globals.get("__name__"), frame.f_globals.get("__package__"))
    if any(str(name).partition(".")[0] == _OURS for name in names):
        return True
    main = frame.f_globals.get("main") if names[0] == "__main__" else None
    return str(getattr(main, "__module__", "")) == f"{_OURS}.cli"


def _is_python_s(file: str) -> bool:
    if file.startswith("<frozen "):
        return True
    return file.startswith(_STANDARD_LIBRARY) and not any(folder in file for folder in _PACKAGES)
