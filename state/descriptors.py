"""What users declare keyed state with; names and arguments are PyFlink's.

Types may be left out (then any plain value is kept exactly) and Python's own (`int`, `str`, `list[int]`) are as good as `Types.LONG()`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Generic, Protocol, TypeAlias, TypeVar

from ..core.arguments import binding_problem
from ..core.call_site import user_line
from ..core.errors import StateError
from ..core.types import TypeInformation, Types, as_type
from .ttl_config import StateTtlConfig

T = TypeVar("T")
K = TypeVar("K")
IN = TypeVar("IN")
IN_contra = TypeVar("IN_contra", contravariant=True)
ACC = TypeVar("ACC")
OUT = TypeVar("OUT")
OUT_co = TypeVar("OUT_co", covariant=True)

TypeHint: TypeAlias = TypeInformation[T] | type[T] | None
"""A declared type, a Python type, or nothing."""


class Reducer(Protocol[T]):
    """An object that reduces, such as a `ReduceFunction`."""

    def reduce(self, value1: T, value2: T, /) -> T:
        """Both values as one."""


class Aggregator(Protocol[IN_contra, ACC, OUT_co]):
    """An object that aggregates, such as an `AggregateFunction`."""

    def create_accumulator(self) -> ACC:
        """What it begins with."""

    def add(self, value: IN_contra, accumulator: ACC, /) -> ACC:
        """The accumulator with one more value; may be the same object, changed."""

    def get_result(self, accumulator: ACC, /) -> OUT_co:
        """What the accumulator amounts to."""


class StateDescriptor:
    """Declares a state: its name, unique within the operator, and what it holds.

    Args:
        name: part of every checkpoint; a renamed state starts empty.
        type_info: what is stored under one key.

    Raises:
        StateError: the name is empty or not a string.
    """

    def __init__(self, name: str, type_info: TypeInformation[Any]) -> None:
        if type(name) is not str or not name:
            what = f"a state needs a name, and {name!r} is none"
            raise StateError(
                what, where=user_line(), fix="write for example ValueStateDescriptor('total', int)"
            )
        self.name = name
        self.type_info = type_info
        self.ttl_config: StateTtlConfig | None = None

    def enable_time_to_live(self, ttl_config: StateTtlConfig) -> None:
        """Have what the state holds expire; to be called before the state is asked for.

        Part of what a checkpoint says about the state: it cannot be turned on or off for state that is restored. How long values
        live, and when they are removed, may change.

        Raises:
            StateError: it is no `StateTtlConfig`.
        """
        given: object = ttl_config
        if not isinstance(given, StateTtlConfig):
            what = f"the time-to-live of the state '{self.name}' is {ttl_config!r}"
            raise StateError(
                what, where=user_line(), fix="pass StateTtlConfig.new_builder(Time.hours(1)).build()"
            )
        self.ttl_config = ttl_config

    def get_name(self) -> str:
        """The name."""
        return self.name

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.name!r}, {self.type_info})"


class ValueStateDescriptor(StateDescriptor, Generic[T]):
    """One value per key.

    >>> ValueStateDescriptor("total", int)
    ValueStateDescriptor('total', LONG)
    """

    def __init__(self, name: str, value_type_info: TypeHint[T] = None) -> None:
        super().__init__(name, as_type(value_type_info))


class ListStateDescriptor(StateDescriptor, Generic[T]):
    """A list of elements per key."""

    def __init__(self, name: str, elem_type_info: TypeHint[T] = None) -> None:
        self.elem_type_info: TypeInformation[T] = as_type(elem_type_info)
        super().__init__(name, Types.LIST(self.elem_type_info))


class MapStateDescriptor(StateDescriptor, Generic[K, T]):
    """A map per key, whose entries are read and written one by one."""

    def __init__(
        self, name: str, key_type_info: TypeHint[K] = None, value_type_info: TypeHint[T] = None
    ) -> None:
        self.key_type_info: TypeInformation[K] = as_type(key_type_info)
        self.value_type_info: TypeInformation[T] = as_type(value_type_info)
        super().__init__(name, Types.MAP(self.key_type_info, self.value_type_info))


class ReducingStateDescriptor(StateDescriptor, Generic[T]):
    """One value per key, to which each added value is reduced.

    Args:
        name: as everywhere.
        reduce_function: a function of two values, or an object with `reduce`.
        type_info: what the values are.
    """

    def __init__(
        self, name: str, reduce_function: Callable[[T, T], T] | Reducer[T], type_info: TypeHint[T] = None
    ) -> None:
        reduce = getattr(reduce_function, "reduce", reduce_function)
        if (
            isinstance(reduce_function, type)
            or not callable(reduce)
            or binding_problem(reduce, 2) is not None
        ):
            what = f"reducing state '{name}': {reduce_function!r} neither takes two values nor has it a method reduce that does"
            raise StateError(
                what, where=user_line(), fix="pass a function of two values, or a ReduceFunction"
            )
        self.reduce: Callable[[T, T], T] = reduce
        self._reduce_function = reduce_function
        super().__init__(name, as_type(type_info))

    def get_reduce_function(self) -> Callable[[T, T], T] | Reducer[T]:
        """The function, as it was given."""
        return self._reduce_function


class AggregatingStateDescriptor(StateDescriptor, Generic[IN, ACC, OUT]):
    """An accumulator per key, to which each value is added, and its result.

    Args:
        name: as everywhere.
        agg_function: an `AggregateFunction`, or any object with its methods.
        state_type_info: what the accumulator is.
    """

    def __init__(
        self, name: str, agg_function: Aggregator[IN, ACC, OUT], state_type_info: TypeHint[ACC] = None
    ) -> None:
        missing = [
            method
            for method, arguments in (("create_accumulator", 0), ("add", 2), ("get_result", 1))
            if not _has_method(agg_function, method, arguments)
        ]
        if missing:
            what = f"aggregating state '{name}': {agg_function!r} lacks {', '.join(missing)}, or they take other arguments"
            raise StateError(
                what, where=user_line(), fix="pass an object of a class derived from AggregateFunction"
            )
        self.agg_function = agg_function
        super().__init__(name, as_type(state_type_info))

    def get_agg_function(self) -> Aggregator[IN, ACC, OUT]:
        """The function, as it was given."""
        return self.agg_function


def _has_method(function: object, name: str, arguments: int) -> bool:
    method = getattr(function, name, None)
    return not isinstance(function, type) and callable(method) and binding_problem(method, arguments) is None
