"""How windows stand in state tables: as plain values that are cheap to hash and to encode. Part of the checkpoint format."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from io import BytesIO
from typing import Any

from ..core.types import TypeInformation, Types
from .window_types import (
    CountWindow,
    CountWindowSerializer,
    GlobalWindow,
    GlobalWindowSerializer,
    TimeWindow,
    TimeWindowSerializer,
    TypeSerializer,
)


@dataclass(frozen=True, slots=True)
class WindowCodec:
    """Windows to namespaces and back.

    Attributes:
        type_info: of the namespaces; differs from kind to kind, so that state of one kind is never taken for another's.
        to_namespace: the namespace of a window.
        to_window: its inverse.
    """

    type_info: TypeInformation[Any]
    to_namespace: Callable[[Any], Any]
    to_window: Callable[[Any], Any]


def codec_of(serializer: TypeSerializer[Any]) -> WindowCodec:
    """The codec of the windows that `serializer` writes: the fields of our own kinds, the bytes of any other.

    >>> codec_of(TimeWindowSerializer()).to_namespace(TimeWindow(0, 10))
    (0, 10)
    """
    match serializer:
        case TimeWindowSerializer():
            return TIME_WINDOWS
        case CountWindowSerializer():
            return WindowCodec(Types.BIG_INT(), lambda window: window.id, CountWindow)
        case GlobalWindowSerializer():
            return WindowCodec(Types.BOOLEAN(), lambda _: True, lambda _: GlobalWindow())

    def to_namespace(window: Any) -> bytes:
        stream = BytesIO()
        serializer.serialize(window, stream)
        return stream.getvalue()

    return WindowCodec(
        Types.PRIMITIVE_ARRAY(Types.BYTE()),
        to_namespace,
        lambda namespace: serializer.deserialize(BytesIO(namespace)),
    )


# Not LONG: a window that reaches beyond the end of time has an end of more than 64 bits.
TIME_WINDOWS = WindowCodec(
    Types.TUPLE([Types.BIG_INT(), Types.BIG_INT()]),
    lambda window: (window.start, window.end),
    lambda namespace: TimeWindow(*namespace),
)
"""The codec of `TimeWindow`."""
