"""How a user's value looks in an error message: its repr, cut."""

from __future__ import annotations

import reprlib
from typing import Any, Final

_LIMIT: Final = 100

_REPR: Final = reprlib.Repr()
_REPR.maxstring = _REPR.maxother = _REPR.maxlong = _LIMIT
_REPR.maxlist = _REPR.maxtuple = _REPR.maxdict = _REPR.maxset = 10


def excerpt(value: Any) -> str:
    """The repr of `value`, at most about 100 characters; never raises, even if the value's own `__repr__` does.

    >>> excerpt("a" * 1000)[-4:]
    "aaa'"
    """
    text = _REPR.repr(value)
    return text if len(text) <= _LIMIT else f"{text[: _LIMIT - 4]} ..."
