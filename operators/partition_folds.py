"""Partitions folded into one value while their records come, and functions that keep a partition for each key."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, Protocol, TypeAlias

from ..core.batch import MAX_TIMESTAMP
from ..core.errors import StateError
from ..core.types import TypeInformation
from ..state.descriptors import ListStateDescriptor, ValueStateDescriptor
from .functions import AggregateFunction, KeyedProcessFunction, RuntimeContext
from .user_function import UserFunction

Add: TypeAlias = Callable[[Any, Any], Any]
"""(what is kept, a record) to what is kept then"""


class Fold(Protocol):
    """How a partition becomes one value. What is kept is None as long as there is nothing to keep."""

    @property
    def function(self) -> Any:
        """The user's."""

    @property
    def state_type(self) -> TypeInformation[Any]:
        """Of what is kept."""

    def initial(self) -> Any:
        """What is kept of no record."""

    @property
    def adding(self) -> Add:
        """What is kept with one more record."""

    def merge(self, kept: Any, other: Any) -> Any:
        """What is kept of both."""

    def results(self, kept: Any) -> list[Any]:
        """What comes of it: one result or none."""


@dataclass(frozen=True, slots=True)
class ReduceFold:
    """Nothing comes of no records."""

    function: Any
    state_type: TypeInformation[Any]

    def initial(self) -> Any:
        return None

    @property
    def adding(self) -> Add:
        reduce = UserFunction(self.function, "reduce").call
        return lambda kept, value: value if kept is None else reduce(kept, value)

    def merge(self, kept: Any, other: Any) -> Any:
        return self.adding(kept, other)

    def results(self, kept: Any) -> list[Any]:
        return [] if kept is None else [kept]


@dataclass(frozen=True, slots=True)
class AggregateFold:
    """As in Flink, a subtask without records gives the result of an empty accumulator."""

    function: Any
    state_type: TypeInformation[Any]

    def initial(self) -> Any:
        return self.function.create_accumulator()

    @property
    def adding(self) -> Add:
        add = self.function.add
        return lambda kept, value: add(value, kept)

    def merge(self, kept: Any, other: Any) -> Any:
        merged = None
        if getattr(type(self.function), "merge", AggregateFunction.merge) is not AggregateFunction.merge:
            merged = self.function.merge(kept, other)
        if merged is None:
            raise StateError(
                "a partition is restored from those of several subtasks, and the AggregateFunction cannot merge them",
                fix="implement merge(acc_a, acc_b), or restore the job at the parallelism it had",
            )
        return merged

    def results(self, kept: Any) -> list[Any]:
        return [self.function.get_result(kept)]


class FoldByKey(KeyedProcessFunction[Any, Any, Any]):
    """A fold for each key; the result comes when its records end."""

    def __init__(self, fold: Fold) -> None:
        self._fold = fold

    def open(self, runtime_context: RuntimeContext) -> None:
        self._function = UserFunction(self._fold.function, "open")
        self._add = self._fold.adding
        self._function.open(runtime_context)
        self._kept = runtime_context.get_state(ValueStateDescriptor("partition", self._fold.state_type))

    def process_element(self, value: Any, ctx: KeyedProcessFunction.Context) -> None:
        kept = self._kept.value()
        if kept is None:
            kept = self._fold.initial()
            ctx.timer_service().register_event_time_timer(MAX_TIMESTAMP)
        self._kept.update(self._add(kept, value))

    def on_timer(self, timestamp: int, ctx: KeyedProcessFunction.OnTimerContext) -> Iterable[Any]:
        kept = self._kept.value()
        self._kept.clear()
        return self._fold.results(kept)

    def close(self) -> None:
        self._function.close()


class MapPartitionByKey(KeyedProcessFunction[Any, Any, Any]):
    """Calls a function with all records of each key when they have ended."""

    def __init__(self, function: Any, record_type: TypeInformation[Any]) -> None:
        self._map_partition = function
        self._record_type = record_type

    def open(self, runtime_context: RuntimeContext) -> None:
        self._function = UserFunction(self._map_partition, "map_partition")
        self._function.open(runtime_context)
        self._records = runtime_context.get_list_state(ListStateDescriptor("partition", self._record_type))

    def process_element(self, value: Any, ctx: KeyedProcessFunction.Context) -> None:
        self._records.add(value)
        ctx.timer_service().register_event_time_timer(MAX_TIMESTAMP)

    def on_timer(self, timestamp: int, ctx: KeyedProcessFunction.OnTimerContext) -> Iterable[Any] | None:
        records = self._records.get()
        self._records.clear()
        results: Iterable[Any] | None = self._function.call(iter(records))
        return results

    def close(self) -> None:
        self._function.close()
