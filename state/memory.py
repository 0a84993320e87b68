"""The memory that the RocksDB backends of one worker share, in bytes.

A part of it is for the objects above RocksDB (what the cached tables hold), the rest for RocksDB itself: one block cache for
all databases, with the blocks of their indexes and filters in it, and one manager of their write buffers, which takes its memory
from that cache. Source: Flink's `state.backend.rocksdb.memory.*`.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable
from enum import Enum
from itertools import islice
from typing import TYPE_CHECKING, Any, Final
from weakref import WeakValueDictionary

if TYPE_CHECKING:  # a native module of megabytes, loaded when a backend needs it
    import rocksdict

DEFAULT_BYTES: Final = 512 << 20
_MOST_ITEMS: Final = 32
_REFERENCE_BYTES: Final = 120
"""What an entry costs in the dicts of a cached table and its layers, which are at most two thirds full, beside its key and value."""
_FIELD_BYTES: Final = 16
"""What a field takes in its object, with the room for more that the interpreter keeps."""
_HEADER_BYTES: Final = 64
_SHARED: Final = (type(None), bool, Enum, type)
"""Types whose objects are there anyway."""
_DEEPEST: Final = 8
"""Objects may refer to each other in a circle."""


class WorkerMemory:
    """The bound for one worker and who shares it. Used by the loop's thread alone.

    Args:
        total_bytes: for all backends together.
        objects_ratio: the part of it that is for objects.
        write_buffer_ratio: the part of what is left to RocksDB that its write buffers may take.
    """

    def __init__(
        self,
        total_bytes: int = DEFAULT_BYTES,
        objects_ratio: float = 0.4,
        write_buffer_ratio: float = 0.5,
    ) -> None:
        self._objects_bytes: Final = int(total_bytes * objects_ratio)
        self.native_bytes: Final = total_bytes - self._objects_bytes
        self.write_buffer_bytes: Final = int(self.native_bytes * write_buffer_ratio)
        self._backends = 0
        self._native: tuple[rocksdict.Cache, rocksdict.WriteBufferManager] | None = None

    def join(self) -> None:
        """One more backend takes its share."""
        self._backends += 1

    def leave(self) -> None:
        """A backend that has joined gives its share back."""
        self._backends -= 1

    @property
    def objects_bytes(self) -> int:
        """What each backend that has joined may hold as objects."""
        return self._objects_bytes // max(1, self._backends)

    def native(self) -> tuple[rocksdict.Cache, rocksdict.WriteBufferManager]:
        """The block cache and the write buffers of all databases."""
        if self._native is None:
            from rocksdict import Cache, WriteBufferManager

            cache = Cache(self.native_bytes)
            # Writers are not to be stalled: a full buffer is written to disk early instead.
            manager = WriteBufferManager.new_write_buffer_manager_with_cache(
                self.write_buffer_bytes, allow_stall=False, cache=cache
            )
            self._native = cache, manager
        return self._native


_IN_USE: Final[WeakValueDictionary[tuple[int, float, float], WorkerMemory]] = WeakValueDictionary()


def worker_memory(total_bytes: int, objects_ratio: float, write_buffer_ratio: float) -> WorkerMemory:
    """The memory of this process under these settings: the same for all attempts that are there at one time, as when a region restarts
    beside others that go on."""
    settings = total_bytes, objects_ratio, write_buffer_ratio
    memory = _IN_USE.get(settings)
    if memory is None:
        memory = _IN_USE[settings] = WorkerMemory(*settings)
    return memory


def entry_bytes(key: Any, value: Any) -> int:
    """About how much memory an entry of a cached table takes.

    >>> entry_bytes("k", b"x" * 1000) > entry_bytes("k", b"x") + 900
    True
    """
    return _REFERENCE_BYTES + _bytes_of(key) + _bytes_of(value)


def _bytes_of(value: Any, depth: int = 0) -> int:
    """The object and what it refers to; of many items some are looked at, the others counted like these."""
    if depth > _DEEPEST or isinstance(value, _SHARED):
        return 0
    size = sys.getsizeof(value, _HEADER_BYTES)
    match value:
        case str() | bytes() | int() | float():
            return size
        case dict():
            keys, values = value.keys(), value.values()
            return size + _of_items(keys, len(value), depth + 1) + _of_items(values, len(value), depth + 1)
        case list() | tuple() | set() | frozenset():
            return size + _of_items(value, len(value), depth + 1)
        case _:
            return size + _of_fields(value, depth + 1)


def _of_items(items: Iterable[Any], count: int, depth: int) -> int:
    looked_at = sum(_bytes_of(item, depth) for item in islice(items, _MOST_ITEMS))
    return looked_at if count <= _MOST_ITEMS else looked_at * count // _MOST_ITEMS


def _of_fields(value: Any, depth: int) -> int:
    fields = getattr(value, "__dict__", None)
    if (
        fields is not None
    ):  # the interpreter shares the names, and makes the dict itself only for those who ask
        return _FIELD_BYTES * len(fields) + _of_items(fields.values(), len(fields), depth + 1)
    names: Any = getattr(type(value), "__struct_fields__", None) or getattr(type(value), "__slots__", ())
    names = (names,) if isinstance(names, str) else names
    return sum(_bytes_of(getattr(value, name, None), depth) for name in names)
