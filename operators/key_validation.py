"""Keys that cannot be keys are errors where the key is computed."""

from __future__ import annotations

from typing import Any, Final

from ..core.types import KeyEncoder, TypeInformation

_MAX_REMEMBERED: Final = 100_000


class KeyValidator:
    """Raises InvalidKeyError for None, NaN, unhashable keys and keys of another type than declared; remembers good ones.

    Attributes:
        good: keys that need no further look; the same set for ever.
    """

    def __init__(self, key_type: TypeInformation[Any]) -> None:
        self._encode = KeyEncoder(key_type).encode
        self.good: set[Any] = set()

    def __call__(self, key: Any) -> None:
        try:
            if key in self.good:
                return
        except TypeError:  # unhashable: the encoder says so in our words
            pass
        self._encode(key)
        if len(self.good) >= _MAX_REMEMBERED:
            self.good.clear()
        self.good.add(key)
