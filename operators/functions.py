"""The classes a user may derive functions from. Names and arguments are PyFlink's; a plain callable does wherever a function
has one method. An instance is copied to every subtask, so what `open` sets up belongs to one subtask.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from ..core.errors import JobDefinitionError, StateError
from ..core.types import TypeInformation, as_type
from .window_types import TimeWindow, W, W_co

if TYPE_CHECKING:
    from ..state.descriptors import (
        AggregatingStateDescriptor,
        ListStateDescriptor,
        MapStateDescriptor,
        ReducingStateDescriptor,
        ValueStateDescriptor,
    )
    from ..state.keyed import (
        AggregatingState,
        KeyedStateStore,
        ListState,
        MapState,
        ReducingState,
        ValueState,
    )
    from .accumulators import Accumulator, DoubleCounter, Histogram, IntCounter, LongCounter
    from .metrics import MetricGroup

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
    def get_job_id(self) -> str:
        """32 hexadecimal digits, kept by `--resume`."""

    @abstractmethod
    def get_job_name(self) -> str:
        """Name of the job."""

    @abstractmethod
    def get_job_parameter(self, key: str, default_value: str | None = None) -> str | None:
        """A global job parameter (`ExecutionConfig.set_global_job_parameters`)."""

    @abstractmethod
    def get_global_job_parameters(self) -> Mapping[str, str]:
        """All of them."""

    @abstractmethod
    def get_metrics_group(self) -> MetricGroup:
        """Where metrics of the operator are declared; their values are in `JobClient.statistics`."""

    @abstractmethod
    def add_accumulator(self, name: str, accumulator: Accumulator[Any, Any]) -> None:
        """Have the job merge `accumulator` over all subtasks, under a name that is one result for the whole job.

        After a restart it is as of the restored checkpoint.

        Raises:
            StateError: this operator has one of that name, or the checkpoint holds one of another kind.
        """

    @abstractmethod
    def get_accumulator(self, name: str) -> Accumulator[Any, Any] | None:
        """The accumulator of this operator and subtask with that name."""

    @abstractmethod
    def get_int_counter(self, name: str) -> IntCounter:
        """The `IntCounter` of that name, added if there is none.

        Raises (as its siblings do):
            StateError: it is of another kind.
        """

    @abstractmethod
    def get_long_counter(self, name: str) -> LongCounter:
        """As `get_int_counter`."""

    @abstractmethod
    def get_double_counter(self, name: str) -> DoubleCounter:
        """As `get_int_counter`."""

    @abstractmethod
    def get_histogram(self, name: str) -> Histogram:
        """As `get_int_counter`."""

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


class RichFunction(Function):
    """A function that may ask for its context at any time after `open` began, not only as `open`'s argument."""

    _runtime_context: RuntimeContext | None = None

    def set_runtime_context(self, context: RuntimeContext) -> None:
        """Called before `open`."""
        self._runtime_context = context

    def get_runtime_context(self) -> RuntimeContext:
        """The context that `open` is given.

        Raises:
            StateError: the function is not open yet.
        """
        if self._runtime_context is None:
            raise StateError(
                f"{type(self).__name__} asked for its runtime context before it was opened",
                fix="ask in open(), or while records are processed",
            )
        return self._runtime_context


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


class Partitioner(Function, ABC, Generic[K]):
    """Says which subtask of the next operator a record goes to, for `DataStream.partition_custom`."""

    @abstractmethod
    def partition(self, key: K, num_partitions: int) -> int:
        """From 0 to `num_partitions` - 1."""


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


class OfAnyWindow:
    """Lets `F[IN, OUT, K]` stand for `F[IN, OUT, K, TimeWindow]` at run time too; type checkers know it from `W`'s default."""

    if not TYPE_CHECKING:

        def __class_getitem__(cls, parameters: Any) -> Any:
            given = parameters if isinstance(parameters, tuple) else (parameters,)
            declared = len(cls.__parameters__)
            missing = (TimeWindow,) if len(given) == declared - 1 and W in cls.__parameters__ else ()
            return super().__class_getitem__((*given, *missing))


class ProcessWindowFunction(OfAnyWindow, Function, ABC, Generic[IN, OUT, K, W]):
    """Any number of results per window, from all its elements (or from its one aggregate).

    State asked of the RuntimeContext in `open` belongs to the key, as `Context.global_state`.
    """

    class Context(ABC, Generic[W_co]):
        """Valid during the call alone."""

        @abstractmethod
        def window(self) -> W_co:
            """The window that fires, or is cleaned up."""

        @abstractmethod
        def current_processing_time(self) -> int:
            """The machine's clock, ms since the epoch."""

        @abstractmethod
        def current_watermark(self) -> int:
            """The watermark (ms) this operator has reached."""

        @abstractmethod
        def window_state(self) -> KeyedStateStore:
            """State of this key and window. Nothing but `clear` deletes it.

            Raises:
                StateError: the windows merge, as sessions do, so that no state is of one window alone.
            """

        @abstractmethod
        def global_state(self) -> KeyedStateStore:
            """State of this key, over all its windows. Never deleted."""

        @abstractmethod
        def output(self, tag: OutputTag[Any], value: Any) -> None:
            """Send `value` to the side output `tag`."""

    @abstractmethod
    def process(
        self, key: K, context: ProcessWindowFunction.Context[W], elements: Sequence[IN]
    ) -> Iterable[OUT | tuple[OutputTag[Any], Any]] | None:
        """Results, yielded or returned; a pair `(tag, value)` goes to a side output. Called once per firing."""

    def clear(self, context: ProcessWindowFunction.Context[W]) -> None:
        """The window of this key is over, allowed lateness included: delete its `window_state`. Called once, after its last
        firing; nothing to do by default."""


class MapPartitionFunction(Function, ABC, Generic[IN, OUT]):
    """Any number of results from all records of a partition."""

    @abstractmethod
    def map_partition(self, values: Iterator[IN]) -> Iterable[OUT] | None:
        """Results, yielded or returned. Called once, when the input has ended; `values` can be gone through once."""


class WindowFunction(OfAnyWindow, Function, ABC, Generic[IN, OUT, K, W]):
    """A `ProcessWindowFunction` that needs no context."""

    @abstractmethod
    def apply(self, key: K, window: W, inputs: Sequence[IN]) -> Iterable[OUT] | None:
        """Results, yielded or returned. Called once per firing."""
