"""Keyed state that belongs to a window as well: of triggers, and of window functions."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Any, Final, TypeVar

from ..core.errors import StateError
from ..core.types import TypeInformation
from .backend import KeyedStateBackend, StateMap, StateTable, TableDescriptor
from .declared_tables import table_of_windows
from .descriptors import (
    AggregatingStateDescriptor,
    ListStateDescriptor,
    MapStateDescriptor,
    ReducingStateDescriptor,
    StateDescriptor,
    ValueStateDescriptor,
)
from .expiring import merged
from .key_context import KeyContext
from .keyed import KeyedStateStore, State

K = TypeVar("K")
T = TypeVar("T")
S = TypeVar("S", bound=State)

_MAX_REMEMBERED: Final = 64


class NamespaceContext(KeyContext):
    """Whose state it is, and of which window (as a plain value): the runtime sets both."""

    __slots__ = ("current_namespace",)

    def __init__(self) -> None:
        super().__init__()
        self.current_namespace: Any = None


class NamespacedStateStore(KeyedStateStore):
    """Hands out the state of the current key and window.

    In the tables: namespace = the window, key = the stream's key, so that the key alone decides the key group; a map is one
    value.

    Args:
        backend: where the state is.
        context: whose state is meant.
        key_type: the type of the stream's keys.
        namespace_type: the type of what stands for windows.
        prefix: before the names the user gives, to keep these states apart from those of other stores of the operator.
    """

    def __init__(
        self,
        backend: KeyedStateBackend,
        context: NamespaceContext,
        key_type: TypeInformation[Any],
        namespace_type: TypeInformation[Any],
        prefix: str,
    ) -> None:
        super().__init__(backend, context, key_type)
        self._context = context
        self._namespace_type = namespace_type
        self._prefix = prefix
        self._handles: dict[int, tuple[StateDescriptor, State]] = {}

    def get(self, descriptor: StateDescriptor) -> State:
        """The state a descriptor of any kind declares; asking again with the same object costs a look-up.

        Raises:
            StateError: the name is taken by another declaration, or this is no descriptor.
        """
        known = self._handles.get(id(descriptor))
        if known is not None and known[0] is descriptor:
            return known[1]
        if len(self._handles) >= _MAX_REMEMBERED:  # a descriptor made anew for each call
            self._handles.clear()
        state = self._find(descriptor)
        self._handles[id(descriptor)] = descriptor, state
        return state

    def _find(self, descriptor: StateDescriptor) -> State:
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
        raise StateError(
            f"{descriptor!r} does not declare a state",
            fix="pass for example ValueStateDescriptor('seen', int)",
        )

    def merge(self, descriptor: StateDescriptor, sources: Iterable[Any]) -> None:
        """Move what the current key has in these windows into the current one.

        Raises:
            StateError: the state is of a kind that cannot be merged, or its function lacks `merge`.
        """
        combine = _combining(descriptor)
        self.get(descriptor)  # refuses another declaration of the name
        table = self._backend.table(self._table_descriptor(descriptor))
        expiry = table.descriptor.expiry
        if expiry is not None and expiry.shape == "value":
            combine = merged(combine, expiry, self._backend.clock.now_ms())
        key, target = self._context.current_key, self._context.current_namespace
        for source in sources:
            entries = table.namespace(source)
            found = entries[key]
            if source == target or found is None:
                continue
            entries.remove(key)
            into = table.namespace(target)
            existing = into[key]
            into[key] = found if existing is None else combine(existing, found)

    def _shown(self, table: StateTable, descriptor: StateDescriptor) -> StateTable:
        current = _CurrentNamespace(table, self._context)
        return _WholeMaps(current, self._keys) if isinstance(descriptor, MapStateDescriptor) else current

    def _table_descriptor(self, descriptor: StateDescriptor) -> TableDescriptor:
        return table_of_windows(descriptor, self._key_type, self._namespace_type, self._prefix)


class _CurrentNamespace:
    """A table whose one namespace is that of the window at hand. Implements `StateTable` as far as handles need it."""

    __slots__ = ("_context", "_table", "descriptor")

    def __init__(self, table: StateTable, context: NamespaceContext) -> None:
        self._table = table
        self._context = context
        self.descriptor = table.descriptor

    def namespace(self, namespace: Any) -> StateMap[Any, Any]:
        return self._table.namespace(self._context.current_namespace)

    def namespaces(self) -> Iterable[Any]:
        return self._table.namespaces()

    def drop(self, namespace: Any) -> None:
        self._table.drop(self._context.current_namespace)

    def walk(self) -> Iterator[tuple[Any, Any, Any]]:
        return self._table.walk()


class _WholeMaps:
    """A table whose namespaces are the maps that one namespace of `table` holds as values; at hand is that of the current key.

    Implements `StateTable` as far as handles need it.
    """

    __slots__ = ("_keys", "_table", "descriptor")

    def __init__(self, table: StateTable, keys: KeyContext) -> None:
        self._table = table
        self._keys = keys
        self.descriptor = table.descriptor

    def namespace(self, namespace: Any) -> Any:
        return _DictEntries(self._table.namespace(None), self._keys.current_key)

    def namespaces(self) -> Iterable[Any]:
        return self._table.namespaces()

    def walk(self) -> Iterator[tuple[Any, Any, Any]]:
        return self._table.walk()

    def drop(self, namespace: Any) -> None:
        self._table.namespace(None).remove(self._keys.current_key)


class _DictEntries:
    """The entries of one map: as much of `StateMap` as `MapState` uses."""

    __slots__ = ("_key", "_maps")

    def __init__(self, maps: Any, key: Any) -> None:  # a StateMap of dicts
        self._maps = maps
        self._key = key

    def __getitem__(self, key: Any) -> Any:
        found = self._maps[self._key]
        return None if found is None else found.get(key)

    def peek(self, key: Any) -> Any:
        found = self._maps.peek(self._key)
        return None if found is None else found.get(key)

    def __setitem__(self, key: Any, value: Any) -> None:
        found = self._maps[self._key]
        if found is None:
            self._maps[self._key] = {key: value}
        else:
            found[key] = value

    def remove(self, key: Any) -> None:
        found = self._maps[self._key]
        if found is not None and found.pop(key, None) is not None and not found:
            self._maps.remove(self._key)

    def entries(self) -> Iterator[tuple[Any, Any]]:
        return iter((self._maps.peek(self._key) or {}).items())

    def is_empty(self) -> bool:
        return self._maps.peek(self._key) is None


def _combining(descriptor: StateDescriptor) -> Callable[[Any, Any], Any]:
    match descriptor:
        case ReducingStateDescriptor(reduce=reduce):
            return reduce
        case ListStateDescriptor():
            return _joined
        case AggregatingStateDescriptor(agg_function=function) if hasattr(function, "merge"):
            merge: Callable[[Any, Any], Any] = function.merge
            return merge
    raise StateError(
        f"the state of {descriptor!r} cannot be merged",
        fix="use list or reducing state, or aggregating state whose function has merge(acc_a, acc_b)",
    )


def _joined(left: list[Any], right: list[Any]) -> list[Any]:
    return [*left, *right]
