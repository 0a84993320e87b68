"""Keys that cannot be keys are errors where the key is computed."""

from __future__ import annotations

from typing import Any, Final

from ..core.types import KeyEncoder, TypeInformation

_MAX_REMEMBERED: Final = 100_000


class KeyValidator:
    """Raises InvalidKeyError for None, NaN, unhashable keys and keys of another type than declared; remembers good ones."""

    def __init__(self, key_type: TypeInformation[Any]) -> None:
        self._encode = KeyEncoder(key_type).encode
        self._good: set[Any] = set()

    def __call__(self, key: Any) -> None:
        try:
            if key in self._good:
                return
        except TypeError:  # unhashable: the encoder says so in our words
            pass
        self._encode(key)
        if len(self._good) >= _MAX_REMEMBERED:
            self._good.clear()
        self._good.add(key)
