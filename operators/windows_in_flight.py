"""The windows that merging assigners have open, per key: state, so that it is checkpointed and moves with its keys."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from ..core.types import TypeInformation, Types
from ..state.backend import KeyedStateBackend, StateMap, TableDescriptor
from .window_codec import WindowCodec


class WindowsInFlight:
    """Window -> the window under which its contents are, for each key.

    Args:
        backend: where that is kept.
        key_type: the type of the stream's keys.
        codec: how windows are written.
    """

    def __init__(
        self, backend: KeyedStateBackend, key_type: TypeInformation[Any], codec: WindowCodec
    ) -> None:
        self._codec: Final = codec
        self._table: Final = backend.table(
            TableDescriptor(
                "merging-windows",
                key_type,
                Types.MAP(codec.type_info, codec.type_info),
                mutable_values=False,
                kind="window",
            )
        )

    def of(self, key: Any) -> Mapping[Any, Any]:
        """The windows of a key."""
        found = self._entries().peek(key)
        if found is None:
            return {}
        to_window = self._codec.to_window
        return {to_window(window): to_window(state) for window, state in found.items()}

    def update(self, key: Any, windows: Mapping[Any, Any]) -> None:
        """Replace the windows of a key."""
        if windows:
            to_namespace = self._codec.to_namespace
            plain = {to_namespace(window): to_namespace(state) for window, state in windows.items()}
            self._entries()[key] = plain
        else:
            self._entries().remove(key)

    def state_namespace(self, key: Any, namespace: Any) -> Any | None:
        """Where the contents of a window are, by what stands for it; None when there is no such window (any more)."""
        found = self._entries().peek(key)
        return None if found is None else found.get(namespace)

    def retire(self, key: Any, namespace: Any) -> None:
        """Forget a window."""
        found = self._entries().peek(key) or {}
        left = {window: state for window, state in found.items() if window != namespace}
        if left:
            self._entries()[key] = left
        else:
            self._entries().remove(key)

    def _entries(self) -> StateMap[Any, dict[Any, Any]]:
        return self._table.namespace(None)
