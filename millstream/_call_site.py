"""Which line of the user's program called us: what errors about the program point at."""

from __future__ import annotations

import sys
from typing import Final

_OURS: Final = __name__.partition(".")[0]


def user_line() -> str:
    """`file:line` of the innermost caller that is not part of Millstream; "" when there is none."""
    frame = sys._getframe(1)
    while frame is not None:
        if frame.f_globals.get("__name__", "").partition(".")[0] != _OURS:
            return f"{frame.f_code.co_filename}:{frame.f_lineno}"
        if frame.f_back is None:
            break
        frame = frame.f_back
    return ""
