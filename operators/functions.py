"""The classes a user may derive functions from. Names and arguments are PyFlink's; a plain callable does wherever a function
has one method. An instance is copied to every subtask, so what `open` sets up belongs to one subtask.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from ..core.errors import JobDefinitionError
from ..core.types import TypeInformation, as_type

if TYPE_CHECKING:
    from ..state.descriptors import (
        AggregatingStateDescriptor,
        ListStateDescriptor,
        MapStateDescriptor,
        ReducingStateDescriptor,
        ValueStateDescriptor,
    )
    from ..state.keyed import AggregatingState, ListState, MapState, ReducingState, ValueState
    from .windowing import TimeWindow

T = TypeVar("T")
IN = TypeVar("IN")
OUT = TypeVar("OUT")
K = TypeVar("K")
ACC = TypeVar("ACC")


@dataclass(frozen=True, slots=True)
class _OutputTagFields:
    tag_id: str
    type_info: TypeInformation[Any]


class OutputTag(_OutputTagFields, Generic[T]):
    """Names a side output. `yield tag, value` in a process function, or `ctx.output(tag, value)`, sends a record there;
    `DataStream.get_side_output(tag)` reads it. Tags with the same id are the same side output.

    Args:
        tag_id: not empty; unique within the operator.
        type_info: type of its records; a Python type or a `TypeInformation`, the generic one if omitted.

    Raises:
        JobDefinitionError: `tag_id` is empty or no string.

    >>> OutputTag("late").tag_id
    'late'
    """

    __slots__ = ()

    def __init__(self, tag_id: str, type_info: TypeInformation[T] | type[T] | None = None) -> None:
        given: Any = tag_id  # the annotation is not checked at run time
        if not isinstance(given, str) or not given:
            raise JobDefinitionError(
                f"the id of an OutputTag must be a string that is not empty, not {tag_id!r}",
                fix="write for example OutputTag('late-data')",
            )
        super().__init__(tag_id, as_type(type_info))


class RuntimeContext(ABC):
    """What a function learns in `open` about the subtask it runs in, and where it gets its keyed state."""

    @abstractmethod
    def get_task_name(self) -> str:
        """Name of the task: its chained operators, as in `Map -> Filter`."""

    @abstractmethod
    def get_number_of_parallel_subtasks(self) -> int:
        """Parallelism of the task."""

    @abstractmethod
    def get_max_number_of_parallel_subtasks(self) -> int:
        """Number of key groups, the bound of any later parallelism."""

    @abstractmethod
    def get_index_of_this_subtask(self) -> int:
        """From 0 to the parallelism - 1."""

    @abstractmethod
    def get_attempt_number(self) -> int:
        """0 at first, one more after each restart."""

    @abstractmethod
    def get_task_name_with_subtasks(self) -> str:
        """As in `Map -> Filter (2/4)`; counts from 1."""

    @abstractmethod
    def get_state(self, descriptor: ValueStateDescriptor[T]) -> ValueState[T]:
        """A value per key. On replay it is as of the restored checkpoint, as all keyed state.

        Raises:
            StateError: the stream is not keyed, or the name is taken by another declaration.
        """

    @abstractmethod
    def get_list_state(self, descriptor: ListStateDescriptor[T]) -> ListState[T]:
        """A list per key. Raises as `get_state`."""

    @abstractmethod
    def get_map_state(self, descriptor: MapStateDescriptor[K, T]) -> MapState[K, T]:
        """A map per key. Raises as `get_state`."""

    @abstractmethod
    def get_reducing_state(self, descriptor: ReducingStateDescriptor[T]) -> ReducingState[T]:
        """A value per key, to which others are reduced. Raises as `get_state`."""

    @abstractmethod
    def get_aggregating_state(
        self, descriptor: AggregatingStateDescriptor[IN, ACC, OUT]
    ) -> AggregatingState[IN, OUT]:
        """An accumulator per key. Raises as `get_state`."""


class Function:
    """Base of all functions with a life cycle. `open` may not emit; an exception of either fails the task."""

    def open(self, runtime_context: RuntimeContext) -> None:
        """Called once per subtask and attempt, before any record: connect, declare state."""

    def close(self) -> None:
        """Called at the end, also after a failure: give everything back."""


class MapFunction(Function, ABC, Generic[IN, OUT]):
    """One result per record."""

    @abstractmethod
    def map(self, value: IN) -> OUT:
        """The result for `value`."""


class FlatMapFunction(Function, ABC, Generic[IN, OUT]):
    """Any number of results per record."""

    @abstractmethod
    def flat_map(self, value: IN) -> Iterable[OUT] | None:
        """The results: a list, a generator, or None for nothing."""


class FilterFunction(Function, ABC, Generic[IN]):
    """Keeps records."""

    @abstractmethod
    def filter(self, value: IN) -> bool:
        """Whether to keep `value`."""


class KeySelector(Function, ABC, Generic[IN, K]):
    """Computes keys. Must be deterministic: the same record has the same key for ever, on every machine."""

    @abstractmethod
    def get_key(self, value: IN) -> K:
        """The key; hashable, neither None nor NaN."""


class ReduceFunction(Function, ABC, Generic[T]):
    """Combines two records into one. Must be associative; neither argument may be changed."""

    @abstractmethod
    def reduce(self, value1: T, value2: T) -> T:
        """The combination; `value1` came (or was made of what came) first."""


class AggregateFunction(Function, ABC, Generic[IN, ACC, OUT]):
    """Folds records into an accumulator. `add` may change the accumulator it is given and return it."""

    @abstractmethod
    def create_accumulator(self) -> ACC:
        """A fresh accumulator, for no record yet."""

    @abstractmethod
    def add(self, value: IN, accumulator: ACC) -> ACC:
        """The accumulator with `value` added."""

    @abstractmethod
    def get_result(self, accumulator: ACC) -> OUT:
        """The result; may be asked for several times while the accumulator goes on growing."""

    def merge(self, acc_a: ACC, acc_b: ACC) -> ACC:
        """The accumulator of both; may change and return either one.

        Without it, windows are not combined before the exchange and sliding windows add each record to every window.
        """
        del acc_a, acc_b
        raise JobDefinitionError(
            f"{type(self).__name__} has no merge(acc_a, acc_b)",
            fix=f"define {type(self).__name__}.merge; it returns the accumulator of the records of both",
        )


class TimerService(ABC):
    """Time, and timers for the current key. One timer per key and timestamp (ms), however often it is registered."""

    @abstractmethod
    def current_processing_time(self) -> int:
        """The machine's clock, ms since the epoch."""

    @abstractmethod
    def current_watermark(self) -> int:
        """The watermark (ms) this operator has reached; `MIN_TIMESTAMP` before the first one."""

    @abstractmethod
    def register_event_time_timer(self, timestamp: int) -> None:
        """Call `on_timer` when the watermark reaches `timestamp`; at once after this call if it already has."""

    @abstractmethod
    def register_processing_time_timer(self, timestamp: int) -> None:
        """Call `on_timer` when the clock reaches `timestamp`. Those not yet due when bounded input ends do not fire."""

    @abstractmethod
    def delete_event_time_timer(self, timestamp: int) -> None:
        """Forget the timer; a no-op if there is none."""

    @abstractmethod
    def delete_processing_time_timer(self, timestamp: int) -> None:
        """Forget the timer; a no-op if there is none."""


class TimeDomain:
    """What made a timer fire."""

    EVENT_TIME = "EVENT_TIME"
    PROCESSING_TIME = "PROCESSING_TIME"


class ProcessFunction(Function, ABC, Generic[IN, OUT]):
    """Any number of results and side outputs per record."""

    class Context(ABC):
        """Valid during the call alone."""

        @abstractmethod
        def timer_service(self) -> TimerService:
            """Time; registering timers needs a keyed stream and raises StateError here."""

        @abstractmethod
        def timestamp(self) -> int | None:
            """The record's event time (ms), if it has one."""

        @abstractmethod
        def output(self, tag: OutputTag[Any], value: Any) -> None:
            """Send `value` to the side output `tag`, in its place among what is yielded."""

    @abstractmethod
    def process_element(
        self, value: IN, ctx: ProcessFunction.Context
    ) -> Iterable[OUT | tuple[OutputTag[Any], Any]] | None:
        """Results, yielded or returned; a pair `(tag, value)` goes to a side output."""


class KeyedProcessFunction(Function, ABC, Generic[K, IN, OUT]):
    """Any number of results per record, with keyed state and timers."""

    class Context(ABC):
        """Valid during the call alone."""

        @abstractmethod
        def get_current_key(self) -> Any:
            """The key of the record or timer."""

        @abstractmethod
        def timer_service(self) -> TimerService:
            """Time, and timers of the current key."""

        @abstractmethod
        def timestamp(self) -> int | None:
            """The record's event time (ms), if it has one; in `on_timer` the timer's timestamp."""

        @abstractmethod
        def output(self, tag: OutputTag[Any], value: Any) -> None:
            """Send `value` to the side output `tag`, in its place among what is yielded."""

    class OnTimerContext(Context):
        """As in `process_element`, and what made the timer fire."""

        @abstractmethod
        def time_domain(self) -> str:
            """`TimeDomain.EVENT_TIME` or `TimeDomain.PROCESSING_TIME`."""

    @abstractmethod
    def process_element(
        self, value: IN, ctx: KeyedProcessFunction.Context
    ) -> Iterable[OUT | tuple[OutputTag[Any], Any]] | None:
        """Results, yielded or returned; a pair `(tag, value)` goes to a side output. State is that of the record's key."""

    def on_timer(
        self, timestamp: int, ctx: KeyedProcessFunction.OnTimerContext
    ) -> Iterable[OUT | tuple[OutputTag[Any], Any]] | None:
        """A timer of the current key is due. Results as in `process_element`; none by default."""
        del timestamp, ctx
        return None


class ProcessWindowFunction(Function, ABC, Generic[IN, OUT, K]):
    """Any number of results per window, from all its elements (or from its one aggregate)."""

    class Context(ABC):
        """Valid during the call alone."""

        @abstractmethod
        def window(self) -> TimeWindow:
            """The window that fires."""

        @abstractmethod
        def current_processing_time(self) -> int:
            """The machine's clock, ms since the epoch."""

        @abstractmethod
        def current_watermark(self) -> int:
            """The watermark (ms) this operator has reached."""

        @abstractmethod
        def output(self, tag: OutputTag[Any], value: Any) -> None:
            """Send `value` to the side output `tag`."""

    @abstractmethod
    def process(
        self, key: K, context: ProcessWindowFunction.Context, elements: Sequence[IN]
    ) -> Iterable[OUT | tuple[OutputTag[Any], Any]] | None:
        """Results, yielded or returned; a pair `(tag, value)` goes to a side output. Called once per firing."""


class MapPartitionFunction(Function, ABC, Generic[IN, OUT]):
    """Any number of results from all records of a partition."""

    @abstractmethod
    def map_partition(self, values: Iterator[IN]) -> Iterable[OUT] | None:
        """Results, yielded or returned. Called once, when the input has ended; `values` can be gone through once."""


class WindowFunction(Function, ABC, Generic[IN, OUT, K]):
    """A `ProcessWindowFunction` that needs no context."""

    @abstractmethod
    def apply(self, key: K, window: TimeWindow, inputs: Sequence[IN]) -> Iterable[OUT] | None:
        """Results, yielded or returned. Called once per firing."""
