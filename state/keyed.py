"""Keyed state as user functions see it: always that of the current key.

Values are the caller's to read. Changing a list, dict or object that was read, without writing it back, may or may not be kept, as
in Flink: always `update` (or `add`, `put`). On replay state is what the restored checkpoint holds.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, Generic, TypeVar, cast

from ..core.errors import StateError
from ..core.types import TypeInformation, coercion_of
from .backend import KeyedStateBackend, StateMap, StateTable, TableDescriptor
from .declared_tables import table_of_keys
from .descriptors import (
    AggregatingStateDescriptor,
    ListStateDescriptor,
    MapStateDescriptor,
    ReducingStateDescriptor,
    StateDescriptor,
    ValueStateDescriptor,
)
from .expiring import TimedTable, seen_by_handle
from .key_context import KeyContext

T = TypeVar("T")
K = TypeVar("K")
IN = TypeVar("IN")
ACC = TypeVar("ACC")
OUT = TypeVar("OUT")
S = TypeVar("S", bound="State")


class State:
    """Base of all handles; they are made by a `KeyedStateStore`."""

    __slots__ = ("_coerce", "_keys", "_share", "_table")

    def __init__(self, table: StateTable, keys: KeyContext) -> None:
        # What is declared as rows becomes rows when it is written, not only where a backend encodes it.
        self._coerce: Callable[[Any], Any] | None = None
        self._table = table
        self._keys = keys
        # Values that cannot be changed in place are read where they are; others through `m[key]`, which makes them ours and
        # counts as written, because user code may change what it was given and then write it back.
        self._share = not table.descriptor.mutable_values

    def clear(self) -> None:
        """Forget what the current key has here."""
        self._table.namespace(None).remove(self._keys.current_key)


class ValueState(State, Generic[T]):
    """One value per key."""

    __slots__ = ()

    def value(self) -> T | None:
        """The value, None when unset."""
        found: StateMap[Any, T] = self._table.namespace(None)
        return found.peek(self._keys.current_key) if self._share else found[self._keys.current_key]

    def update(self, value: T | None) -> None:
        """Set the value; None unsets it."""
        if value is None:
            self.clear()
        else:
            coerced = value if self._coerce is None else self._coerce(value)
            self._table.namespace(None)[self._keys.current_key] = coerced


class ListState(State, Generic[T]):
    """A list per key."""

    __slots__ = ()

    def get(self) -> list[T]:
        """The elements in the order they were added; empty when there are none."""
        found: list[T] | None = self._table.namespace(None)[self._keys.current_key]
        return [] if found is None else list(found)

    def __iter__(self) -> Iterator[T]:
        return iter(self.get())

    def add(self, value: T) -> None:
        """Append an element.

        Raises:
            StateError: it is None, as in Flink.
        """
        self.add_all((value,))

    def add_all(self, values: Iterable[T]) -> None:
        """Append elements. Raises as `add`."""
        added = self._checked(values)
        if not added:
            return
        key = self._keys.current_key
        found = self._table.namespace(None)
        elements: list[T] | None = found[key]
        if elements is None:
            found[key] = added
        else:
            elements.extend(added)

    def update(self, values: Iterable[T]) -> None:
        """Replace all elements. Raises as `add`."""
        replaced = self._checked(values)
        if replaced:
            self._table.namespace(None)[self._keys.current_key] = replaced
        else:
            self.clear()

    def _checked(self, values: Iterable[T]) -> list[T]:
        result = list(values if self._coerce is None else map(self._coerce, values))
        if any(value is None for value in result):
            what = f"None was added to the list state '{self._table.descriptor.name}'"
            raise StateError(what, fix="leave such elements out, or wrap them in a tuple")
        return result


class _TimedListState(ListState[T]):
    """A list whose elements expire one by one: in the table each is a pair of its time and itself."""

    __slots__ = ()
    _table: TimedTable

    def get(self) -> list[T]:
        table, key = self._table, self._keys.current_key
        entries = table.namespace(None)
        stored = entries[key]
        if stored is None:
            return []
        expiry, now_ms = table.expiry, table.clock.now_ms()
        alive = expiry.kept(stored, now_ms)
        if alive is None:
            entries.remove(key)
        elif expiry.prolonged_by_reading:
            entries[key] = [(now_ms, element) for _, element in alive]
        elif not expiry.returns_expired:  # as in Flink: else all stay until none is alive
            entries[key] = alive
        shown = stored if expiry.returns_expired else alive or ()
        return [element for _, element in shown]

    def _checked(self, values: Iterable[T]) -> list[Any]:
        now_ms = self._table.clock.now_ms()
        return [(now_ms, element) for element in super()._checked(values)]


class MapState(State, Generic[K, T]):
    """A map per key; its values may be None, its keys not."""

    # In the table: namespace = the stream's key, key = the map's key, value in a tuple of one, so that None can be a value.
    __slots__ = ()

    def get(self, key: K) -> T | None:
        """The value, None when there is none (see `contains`)."""
        found = self._find(key)
        return None if found is None else found[0]

    def put(self, key: K, value: T) -> None:
        """Set one entry.

        Raises:
            StateError: the key is None.
        """
        if key is None:
            what = f"None as a key of the map state '{self._table.descriptor.name}'"
            raise StateError(what, fix="use another key for it, such as an empty string or tuple")
        self._entries()[key] = (value if self._coerce is None else self._coerce(value),)

    def put_all(self, dict_value: Mapping[K, T] | Iterable[tuple[K, T]]) -> None:
        """Set several entries. Raises as `put`."""
        for key, value in dict_value.items() if isinstance(dict_value, Mapping) else dict_value:
            self.put(key, value)

    def remove(self, key: K) -> None:
        """Delete an entry; a no-op when there is none."""
        self._entries().remove(key)

    def contains(self, key: K) -> bool:
        """Whether there is an entry, its value None or not."""
        return self._entries().peek(key) is not None

    def items(self) -> Iterator[tuple[K, T]]:
        """All entries as of now, in no particular order; the map may be changed meanwhile."""
        entries = self._entries()
        if self._share:
            return iter([(key, found[0]) for key, found in entries.entries()])
        return iter([(key, entries[key][0]) for key in self.keys()])

    def keys(self) -> Iterator[K]:
        """The keys, as `items`."""
        return iter([key for key, _ in self._entries().entries()])

    def values(self) -> Iterator[T]:
        """The values, as `items`."""
        return iter([value for _, value in self.items()])

    def is_empty(self) -> bool:
        """Whether there is no entry."""
        return self._entries().is_empty()

    def clear(self) -> None:
        self._table.drop(self._keys.current_key)

    def __getitem__(self, key: K) -> T:
        found = self._find(key)
        if found is None:
            raise KeyError(key)
        return found[0]

    def __setitem__(self, key: K, value: T) -> None:
        self.put(key, value)

    def __delitem__(self, key: K) -> None:
        if not self.contains(key):
            raise KeyError(key)
        self.remove(key)

    def __contains__(self, key: K) -> bool:
        return self.contains(key)

    def __iter__(self) -> Iterator[K]:
        return self.keys()

    def _find(self, key: K) -> tuple[T] | None:
        entries = self._entries()
        return entries.peek(key) if self._share else entries[key]

    def _entries(self) -> StateMap[K, tuple[T]]:
        return self._table.namespace(self._keys.current_key)


class ReducingState(State, Generic[T]):
    """One value per key: the reduction of all that was added."""

    __slots__ = ("_reduce",)

    def __init__(self, table: StateTable, keys: KeyContext, reduce: Callable[[T, T], T]) -> None:
        super().__init__(table, keys)
        self._reduce = reduce

    def get(self) -> T | None:
        """The reduced value, None when nothing was added."""
        found: StateMap[Any, T] = self._table.namespace(None)
        return found[self._keys.current_key]

    def add(self, value: T) -> None:
        """Reduce one more value.

        Raises:
            StateError: the value, or what the function made of it, is None.
        """
        key = self._keys.current_key
        found = self._table.namespace(None)
        reduced: T | None = found[key]
        reduced = value if reduced is None else self._reduce(reduced, value)
        if self._coerce is not None:
            reduced = self._coerce(reduced)
        if reduced is None:
            what = f"reducing state '{self._table.descriptor.name}' was to become None"
            raise StateError(what, fix="have the reduce function return a value, and add no None")
        found[key] = reduced


class AggregatingState(State, Generic[IN, OUT]):
    """An accumulator per key, and the result of it."""

    __slots__ = ("_function",)

    # The type of the accumulator is between the function and the table; nobody else sees it.
    def __init__(self, table: StateTable, keys: KeyContext, function: Any) -> None:
        super().__init__(table, keys)
        self._function = function

    def get(self) -> OUT | None:
        """The result of what was added, None when nothing was."""
        accumulator = self._table.namespace(None)[self._keys.current_key]
        # The descriptor's type variables tie the function's result to OUT.
        return None if accumulator is None else cast("OUT", self._function.get_result(accumulator))

    def add(self, value: IN) -> None:
        """Add one more value.

        Raises:
            StateError: the function returned None as accumulator.
        """
        key = self._keys.current_key
        found = self._table.namespace(None)
        accumulator = found[key]
        if accumulator is None:
            accumulator = self._function.create_accumulator()
        accumulator = self._function.add(value, accumulator)
        if self._coerce is not None:
            accumulator = self._coerce(accumulator)
        if accumulator is None:
            what = (
                f"the accumulator of the aggregating state '{self._table.descriptor.name}' was to become None"
            )
            raise StateError(what, fix=f"have {type(self._function).__name__}.add return the accumulator")
        found[key] = accumulator


class KeyedStateStore:
    """Makes the handles of one operator, one for each name (PyFlink's names for it).

    Args:
        backend: where the state is.
        keys: whose state is meant.
        key_type: the type of the stream's keys.
    """

    def __init__(self, backend: KeyedStateBackend, keys: KeyContext, key_type: TypeInformation[Any]) -> None:
        self._backend = backend
        self._keys = keys
        self._key_type = key_type
        self._opened: dict[str, State] = {}

    def get_state(self, descriptor: ValueStateDescriptor[T]) -> ValueState[T]:
        """A value per key. The same handle for the same name.

        Raises:
            StateError: the name is taken by another declaration, or was restored with other types.
        """
        handle = self._open(descriptor, ValueState, lambda table: ValueState(table, self._keys))
        return coercing(handle, descriptor.type_info)

    def get_list_state(self, descriptor: ListStateDescriptor[T]) -> ListState[T]:
        """A list per key. Raises as `get_state`."""
        handle = self._open(descriptor, ListState, lambda table: ListState(table, self._keys))
        return coercing(handle, descriptor.elem_type_info)

    def get_map_state(self, descriptor: MapStateDescriptor[K, T]) -> MapState[K, T]:
        """A map per key. Raises as `get_state`."""
        handle = self._open(descriptor, MapState, lambda table: MapState(table, self._keys))
        return coercing(handle, descriptor.value_type_info)

    def get_reducing_state(self, descriptor: ReducingStateDescriptor[T]) -> ReducingState[T]:
        """A value per key, to which others are reduced. Raises as `get_state`."""
        handle = self._open(
            descriptor, ReducingState, lambda table: ReducingState(table, self._keys, descriptor.reduce)
        )
        return coercing(handle, descriptor.type_info)

    def get_aggregating_state(
        self, descriptor: AggregatingStateDescriptor[IN, ACC, OUT]
    ) -> AggregatingState[IN, OUT]:
        """An accumulator per key. Raises as `get_state`."""
        handle = self._open(
            descriptor,
            AggregatingState,
            lambda table: AggregatingState(table, self._keys, descriptor.agg_function),
        )
        return coercing(handle, descriptor.type_info)

    def get_any_state(self, descriptor: StateDescriptor) -> State:
        """The handle that the descriptor's kind calls for. Raises as `get_state`."""
        match descriptor:
            case ValueStateDescriptor():
                return self.get_state(descriptor)
            case ListStateDescriptor():
                return self.get_list_state(descriptor)
            case MapStateDescriptor():
                return self.get_map_state(descriptor)
            case ReducingStateDescriptor():
                return self.get_reducing_state(descriptor)
            case AggregatingStateDescriptor():
                return self.get_aggregating_state(descriptor)
            case _:
                what = f"{descriptor!r} does not describe a keyed state"
                raise StateError(what, fix="pass the descriptor that the state was declared with")

    def get_keys(self, descriptor: StateDescriptor) -> list[Any]:
        """The keys of this subtask that have something in the state, in no particular order. Raises as `get_state`."""
        table = self._backend.table(self._table_descriptor(descriptor))
        if table.descriptor.routed_by == "namespace":
            return [key for key in table.namespaces() if not table.namespace(key).is_empty()]
        return [key for key, _ in table.namespace(None).entries()]

    def _open(self, descriptor: StateDescriptor, kind: type[S], make: Callable[[StateTable], S]) -> S:
        # Also for a name in use: a declaration that differs is refused there.
        table = self._backend.table(self._table_descriptor(descriptor))
        handle = self._opened.get(descriptor.name)
        if handle is None:
            handle = self._opened[descriptor.name] = self._make(table, descriptor, make)
        if not isinstance(handle, kind):
            what = f"state '{descriptor.name}' is declared as {type(handle).__name__} and as {kind.__name__}"
            raise StateError(what, fix="give each state of an operator a name of its own")
        return handle

    def _make(
        self, table: StateTable, descriptor: StateDescriptor, make: Callable[[StateTable], State]
    ) -> State:
        shown, expiry = self._shown(table, descriptor), table.descriptor.expiry
        if expiry is None:
            return make(shown)
        timed_table = seen_by_handle(shown, table, expiry, self._backend, self._keys)
        if expiry.shape == "list":
            return _TimedListState(timed_table, self._keys)
        return make(timed_table)

    def _shown(self, table: StateTable, descriptor: StateDescriptor) -> StateTable:
        """The table as handles see it."""
        return table

    def _table_descriptor(self, descriptor: StateDescriptor) -> TableDescriptor:
        return table_of_keys(descriptor, self._key_type)


def coercing(handle: S, type_info: TypeInformation[Any]) -> S:
    """The handle, which takes field values for rows of this type."""
    handle._coerce = coercion_of(type_info)
    return handle
