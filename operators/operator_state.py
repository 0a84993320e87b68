"""Operator state: lists and maps that belong to a subtask instead of a key, kept in memory.

A list is redistributed item by item when the parallelism changes, a union list goes in full to every subtask, and a
broadcast state is the same in every subtask, of which each takes one copy.

In checkpoints: list states of the operator, under a prefix that tells them from the operator's own and says how their items
are encoded. Items of lists are single elements; the one item of a broadcast state is msgpack `[keys, values]`, each a batch.
A state that the program no longer asks for is carried on from checkpoint to checkpoint.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, Final, Generic, TypeVar

import msgspec

from ..core.errors import StateError
from ..core.types import TypeInformation, coercion_of
from ..state.descriptors import ListStateDescriptor, MapStateDescriptor, StateDescriptor
from ..state.evolved_values import EvolvedValues
from .list_schemas import SCHEMAS, restored_reader, with_schema

T = TypeVar("T")
K = TypeVar("K")
V = TypeVar("V")

LIST: Final = "function-list:"
UNION_LIST: Final = "union:function-list:"
BROADCAST: Final = "broadcast:function-map:"
KEYS_PART: Final = "/keys"
"""Behind the name of a broadcast state: the schema of its keys."""
_PREFIXES: Final = (LIST, UNION_LIST, BROADCAST)
_PREFIXES_OF_SCHEMAS: Final = tuple(SCHEMAS + prefix for prefix in _PREFIXES)


class OperatorListState(Generic[T]):
    """Elements of this subtask. Made by an `OperatorStateStore`."""

    def __init__(self, name: str, elements: list[T], type_info: TypeInformation[T]) -> None:
        self._name = name
        self._elements = elements
        self._coerce = coercion_of(type_info)

    def get(self) -> list[T]:
        """The elements; after a restore this subtask's share of them (all of them for a union list)."""
        return list(self._elements)

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
        self._elements += self._checked(values)

    def update(self, values: Iterable[T]) -> None:
        """Replace all elements. Raises as `add`."""
        self._elements = self._checked(values)

    def clear(self) -> None:
        """Forget all elements."""
        self._elements = []

    def _checked(self, values: Iterable[T]) -> list[T]:
        result = list(values if self._coerce is None else map(self._coerce, values))
        if any(value is None for value in result):
            what = f"None was added to the list state '{self._name}'"
            raise StateError(what, fix="leave such elements out, or wrap them in a tuple")
        return result


class ReadOnlyBroadcastState(Generic[K, V]):
    """A broadcast state as the other stream's records see it."""

    def __init__(self, name: str, entries: dict[K, V]) -> None:
        self._name = name
        self._entries = entries

    def get(self, key: K) -> V | None:
        """The value, None when there is none (see `contains`). For reading only."""
        return self._entries.get(key)

    def contains(self, key: K) -> bool:
        """Whether there is an entry, its value None or not."""
        return key in self._entries

    def items(self) -> Iterator[tuple[K, V]]:
        """All entries as of now, in the order of their first `put`; the state may be changed meanwhile."""
        return iter(list(self._entries.items()))

    def keys(self) -> Iterator[K]:
        """The keys, as `items`."""
        return iter(list(self._entries))

    def values(self) -> Iterator[V]:
        """The values, as `items`."""
        return iter(list(self._entries.values()))

    def is_empty(self) -> bool:
        """Whether there is no entry."""
        return not self._entries

    def __getitem__(self, key: K) -> V:
        return self._entries[key]

    def __contains__(self, key: K) -> bool:
        return key in self._entries

    def __iter__(self) -> Iterator[K]:
        return self.keys()

    def put(self, key: K, value: V) -> None:
        """Not here.

        Raises:
            StateError: always, also `put_all`, `remove` and `clear`: a record of the other stream, and a timer, is seen by
                one subtask alone, and the state must stay the same in all of them.
        """
        del key, value
        self._refuse()

    def put_all(self, dict_value: Mapping[K, V] | Iterable[tuple[K, V]]) -> None:
        """Not here. Raises as `put`."""
        del dict_value
        self._refuse()

    def remove(self, key: K) -> None:
        """Not here. Raises as `put`."""
        del key
        self._refuse()

    def clear(self) -> None:
        """Not here. Raises as `put`."""
        self._refuse()

    def _refuse(self) -> None:
        raise StateError(
            f"the broadcast state '{self._name}' was to be changed where it is read-only",
            fix="change it in process_broadcast_element, which every subtask runs for every broadcast record",
        )


class BroadcastState(ReadOnlyBroadcastState[K, V]):
    """A map of which every subtask has a copy. Change it in the same way in every one of them: by what is in the broadcast
    record and in the state itself, by nothing else. Its keys are not None; values may be."""

    def __init__(self, name: str, entries: dict[K, V], value_type: TypeInformation[V]) -> None:
        super().__init__(name, entries)
        self._value_type = value_type

    def put(self, key: K, value: V) -> None:
        """Set one entry.

        Raises:
            StateError: the key is None or cannot be hashed.
        """
        if key is None:
            what = f"None as a key of the broadcast state '{self._name}'"
            raise StateError(what, fix="use another key for it, such as an empty string or tuple")
        try:
            self._entries[key] = self._value_type.coerce(value)
        except TypeError as error:
            what = f"{key!r} cannot be a key of the broadcast state '{self._name}': {error}"
            raise StateError(what, fix="use a tuple, a str or an int as the key") from None

    def put_all(self, dict_value: Mapping[K, V] | Iterable[tuple[K, V]]) -> None:
        """Set several entries. Raises as `put`."""
        for key, value in dict_value.items() if isinstance(dict_value, Mapping) else dict_value:
            self.put(key, value)

    def remove(self, key: K) -> None:
        """Delete an entry; a no-op when there is none."""
        self._entries.pop(key, None)

    def clear(self) -> None:
        """Delete all entries."""
        self._entries.clear()

    def __setitem__(self, key: K, value: V) -> None:
        self.put(key, value)

    def __delitem__(self, key: K) -> None:
        del self._entries[key]

    def read_only(self) -> ReadOnlyBroadcastState[K, V]:
        """The same state, for reading."""
        return ReadOnlyBroadcastState(self._name, self._entries)


class OperatorStateStore:
    """The operator state of one operator in one subtask. Asking twice for one state gives the same object.

    Args:
        restored: list states of the operator as restored; those that are its own are left alone.
    """

    def __init__(self, restored: Mapping[str, Sequence[bytes]]) -> None:
        self._restored = {name: list(items) for name, items in restored.items() if name.startswith(_PREFIXES)}
        self._schemas = {  # of all subtasks; most say the same
            name: sorted(set(items))
            for name, items in restored.items()
            if name.startswith(_PREFIXES_OF_SCHEMAS)
        }
        self._states: dict[str, tuple[StateDescriptor, Any]] = {}

    def get_list_state(self, descriptor: ListStateDescriptor[T]) -> OperatorListState[T]:
        """A list whose items are shared out among the subtasks when the parallelism changes.

        Raises:
            StateError: the descriptor is of another kind of state, the name is taken by another declaration, or what was
                restored is not of the declared type.
        """
        return self._list(LIST, descriptor)

    def get_union_list_state(self, descriptor: ListStateDescriptor[T]) -> OperatorListState[T]:
        """A list that every subtask gets in full, the items of all subtasks, at each restore. Raises as `get_list_state`."""
        return self._list(UNION_LIST, descriptor)

    def get_broadcast_state(self, state_descriptor: MapStateDescriptor[K, V]) -> BroadcastState[K, V]:
        """A map that is the same in all subtasks. Raises as `get_list_state`."""
        _require(state_descriptor, MapStateDescriptor, "get_broadcast_state")
        found = self._known(BROADCAST, state_descriptor)
        if found is None:
            entries = self._restored_entries(state_descriptor)
            made = BroadcastState(state_descriptor.name, entries, state_descriptor.value_type_info)
            found = self._remember(BROADCAST, state_descriptor, made)
        return found  # type: ignore[no-any-return]  # under this prefix there are no others

    def snapshot(self) -> dict[str, list[bytes]]:
        """All of it, encoded; also what was restored and nobody has asked for.

        Raises:
            RecordSerializationError: a value is not of the declared type.
        """
        lists = {**self._restored, **self._schemas}
        for name, (descriptor, state) in self._states.items():
            if isinstance(descriptor, MapStateDescriptor):
                items = [_encode_entries(descriptor, state)]
                lists |= with_schema(name, items, descriptor.value_type_info)
                lists |= with_schema(name, items, descriptor.key_type_info, part=KEYS_PART)
            else:
                assert isinstance(descriptor, ListStateDescriptor)
                dumps = descriptor.elem_type_info.serializer().dumps
                items = [dumps(element) for element in state]
                lists |= with_schema(name, items, descriptor.elem_type_info)
        return lists

    def _list(self, prefix: str, descriptor: ListStateDescriptor[T]) -> OperatorListState[T]:
        _require(descriptor, ListStateDescriptor, "a list state")
        found = self._known(prefix, descriptor)
        if found is None:
            loads = self._reader(prefix + descriptor.name, descriptor, descriptor.elem_type_info).loads
            elements = [loads(item) for item in self._restored.pop(prefix + descriptor.name, ())]
            _check_restored(descriptor, descriptor.elem_type_info, elements)
            made = OperatorListState(descriptor.name, elements, descriptor.elem_type_info)
            found = self._remember(prefix, descriptor, made)
        return found  # type: ignore[no-any-return]  # under these prefixes there are no others

    def _restored_entries(self, descriptor: MapStateDescriptor[K, V]) -> dict[K, V]:
        name = BROADCAST + descriptor.name
        read_keys = self._reader(name + KEYS_PART, descriptor, descriptor.key_type_info).loads_batch
        read_values = self._reader(name, descriptor, descriptor.value_type_info).loads_batch
        items = self._restored.pop(name, None)
        if not items:
            return {}
        encoded_keys, encoded_values = msgspec.msgpack.decode(items[0], type=tuple[bytes, bytes])
        keys, values = read_keys(encoded_keys), read_values(encoded_values)
        _check_restored(descriptor, descriptor.key_type_info, keys)
        _check_restored(descriptor, descriptor.value_type_info, values)
        return dict(zip(keys, values, strict=True))

    def _reader(
        self, name: str, descriptor: StateDescriptor, declared: TypeInformation[Any]
    ) -> EvolvedValues:
        reader = restored_reader(self._schemas, name, f"operator state '{descriptor.name}'", declared)
        self._schemas.pop(SCHEMAS + name, None)
        return reader

    def _known(self, prefix: str, descriptor: StateDescriptor) -> Any:
        for other in _PREFIXES:
            declared, state = self._states.get(other + descriptor.name, (None, None))
            if declared is None:
                continue
            if other != prefix or declared.type_info != descriptor.type_info:
                what = f"the operator state '{descriptor.name}' is declared twice, as {declared!r} and as {descriptor!r}"
                raise StateError(what, fix="give each state of an operator a name of its own")
            return state
        return None

    def _remember(self, prefix: str, descriptor: StateDescriptor, state: Any) -> Any:
        self._states[prefix + descriptor.name] = (descriptor, state)
        return state


def _require(descriptor: Any, kind: type[StateDescriptor], what: str) -> None:
    if not isinstance(descriptor, kind):
        message = f"{what} was asked for with {descriptor!r}"
        raise StateError(message, fix=f"declare it with a {kind.__name__}")
    if descriptor.ttl_config is not None and descriptor.ttl_config.is_enabled():
        message = f"the operator state '{descriptor.name}' was declared with time-to-live, which only keyed state can have"
        raise StateError(message, fix="leave enable_time_to_live out, or keep the value in keyed state")


def _encode_entries(descriptor: MapStateDescriptor[Any, Any], state: BroadcastState[Any, Any]) -> bytes:
    keys = descriptor.key_type_info.serializer().dumps_batch(list(state.keys()))
    values = descriptor.value_type_info.serializer().dumps_batch(list(state.values()))
    return msgspec.msgpack.encode((keys, values))


def _check_restored(
    descriptor: StateDescriptor, type_info: TypeInformation[Any], values: Sequence[Any]
) -> None:
    reason = type_info.mismatch(values)
    if reason is not None:
        raise StateError(
            f"what was restored of the operator state '{descriptor.name}' is not of the declared type {type_info.name}:"
            f" {reason}",
            fix="declare the type that it was saved with, or give the state another name to start it empty",
        )
