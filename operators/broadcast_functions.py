"""The classes a user derives functions on a stream and a broadcast stream from. Names and arguments are PyFlink's; `apply_to_keyed_state`
is Java Flink's."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any, Generic, Protocol, TypeVar

from .functions import Function, OutputTag, TimerService

if TYPE_CHECKING:
    from ..state.descriptors import MapStateDescriptor, StateDescriptor
    from .operator_state import BroadcastState, ReadOnlyBroadcastState

IN1 = TypeVar("IN1")
IN2 = TypeVar("IN2")
OUT = TypeVar("OUT")
K = TypeVar("K")
V = TypeVar("V")
KS = TypeVar("KS")
KS_contra = TypeVar("KS_contra", contravariant=True)


class KeyedStateFunction(Protocol[KS_contra]):
    """What may be given to `apply_to_keyed_state` in place of a callable."""

    def process(self, key: KS_contra, state: Any) -> None:
        """Look at, or change, the state of one key."""


class BaseBroadcastProcessFunction(Function, ABC):
    """What the functions on a broadcast stream have in common."""

    class BaseContext(ABC):
        """Valid during the call alone."""

        @abstractmethod
        def timestamp(self) -> int | None:
            """The record's event time (ms), if it has one; in `on_timer` the timer's timestamp."""

        @abstractmethod
        def current_processing_time(self) -> int:
            """The machine's clock, ms since the epoch."""

        @abstractmethod
        def current_watermark(self) -> int:
            """The watermark (ms) this operator has reached."""

        @abstractmethod
        def output(self, tag: OutputTag[Any], value: Any) -> None:
            """Send `value` to the side output `tag`, in its place among what is yielded."""

    class Context(BaseContext):
        """For a record of the broadcast stream."""

        @abstractmethod
        def get_broadcast_state(self, state_descriptor: MapStateDescriptor[K, V]) -> BroadcastState[K, V]:
            """The state, for reading and writing.

            Raises:
                StateError: it was not declared in `broadcast(...)`.
            """

    class ReadOnlyContext(BaseContext):
        """For a record of the other stream."""

        @abstractmethod
        def get_broadcast_state(
            self, state_descriptor: MapStateDescriptor[K, V]
        ) -> ReadOnlyBroadcastState[K, V]:
            """The state, for reading.

            Raises:
                StateError: it was not declared in `broadcast(...)`.
            """


class BroadcastProcessFunction(BaseBroadcastProcessFunction, ABC, Generic[IN1, IN2, OUT]):
    """Records of a stream, and records that every subtask sees, with state made of the latter.

    Nothing is promised about the order in which records of the two streams come.
    """

    @abstractmethod
    def process_element(
        self, value: IN1, ctx: BaseBroadcastProcessFunction.ReadOnlyContext
    ) -> Iterable[OUT | tuple[OutputTag[Any], Any]] | None:
        """Results for a record of the stream; a pair `(tag, value)` goes to a side output."""

    @abstractmethod
    def process_broadcast_element(
        self, value: IN2, ctx: BaseBroadcastProcessFunction.Context
    ) -> Iterable[OUT | tuple[OutputTag[Any], Any]] | None:
        """The same for a record of the broadcast stream, in every subtask: change the state in the same way in each."""


class KeyedBroadcastProcessFunction(BaseBroadcastProcessFunction, ABC, Generic[K, IN1, IN2, OUT]):
    """The same with timers and keyed state on the side of the keyed stream."""

    class Context(BaseBroadcastProcessFunction.Context):
        """For a record of the broadcast stream, which has no key."""

        @abstractmethod
        def apply_to_keyed_state(
            self,
            state_descriptor: StateDescriptor,
            function: Callable[[Any, Any], None] | KeyedStateFunction[Any],
        ) -> None:
            """Call `function(key, state)` for each key of this subtask that has something in the state, in no particular
            order; it may change what it is given."""

    class ReadOnlyContext(BaseBroadcastProcessFunction.ReadOnlyContext):
        """For a record of the keyed stream."""

        @abstractmethod
        def timer_service(self) -> TimerService:
            """Time, and timers of the current key."""

        @abstractmethod
        def get_current_key(self) -> Any:
            """The key of the record or timer."""

    class OnTimerContext(ReadOnlyContext):
        """As in `process_element`, and what made the timer fire."""

        @abstractmethod
        def time_domain(self) -> str:
            """`TimeDomain.EVENT_TIME` or `TimeDomain.PROCESSING_TIME`."""

    @abstractmethod
    def process_element(
        self, value: IN1, ctx: KeyedBroadcastProcessFunction.ReadOnlyContext
    ) -> Iterable[OUT | tuple[OutputTag[Any], Any]] | None:
        """Results for a record of the keyed stream; a pair `(tag, value)` goes to a side output."""

    @abstractmethod
    def process_broadcast_element(
        self, value: IN2, ctx: KeyedBroadcastProcessFunction.Context
    ) -> Iterable[OUT | tuple[OutputTag[Any], Any]] | None:
        """The same for a record of the broadcast stream, in every subtask: change the state in the same way in each."""

    def on_timer(
        self, timestamp: int, ctx: KeyedBroadcastProcessFunction.OnTimerContext
    ) -> Iterable[OUT | tuple[OutputTag[Any], Any]] | None:
        """A timer of the current key is due. Results as for records; none by default."""
        del timestamp, ctx
        return None
