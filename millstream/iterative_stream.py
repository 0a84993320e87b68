"""Iterations: streams whose records may go round."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Generic, TypeVar

from ._functions import definition_error
from .core.call_site import user_line
from .core.time import TimeLike, to_millis
from .core.types import GENERIC
from .data_stream import DataStream
from .operators.iteration import IterationHeadSpec, IterationTailSpec
from .runtime.graph.builder import StreamInput, new_node
from .runtime.graph.stream_graph import ChainingStrategy

if TYPE_CHECKING:
    from .environment import StreamExecutionEnvironment

T = TypeVar("T")


class IterativeStream(DataStream[T], Generic[T]):
    """The records of a stream, and those that are fed back. Made by `DataStream.iterate`; `close_with` closes the loop.

    - A record that is fed back keeps its timestamp, but watermarks do not go back: behind windows in a loop it may be late.
    - The records inside the loop are part of each checkpoint: exactly-once, also at another parallelism. Flink loses them.
    - It works in STREAMING mode; a job in BATCH mode is refused, and one in AUTOMATIC mode with a loop runs in STREAMING mode.
    - The feedback edge takes whatever comes, in memory: if each part of a loop waited for room in the next, none would move
      any more. A loop that makes records faster than it lets them leave grows without bound, and its checkpoints with it.
    - When the input has ended and no record is inside the loop any more, the loop ends: nothing is cut off by a time limit.
      The watermark MAX goes in before that; records that its timers feed back go round as well.

    >>> from millstream import StreamExecutionEnvironment
    >>> env = StreamExecutionEnvironment.get_execution_environment()
    >>> iteration = env.from_collection([5, 12]).iterate()
    >>> halved = iteration.map(lambda number: number // 2)
    >>> _ = iteration.close_with(halved.filter(lambda number: number > 2))
    >>> sorted(halved.filter(lambda number: number <= 2).execute_and_collect())
    [1, 2]
    """

    def __init__(self, environment: StreamExecutionEnvironment, head: StreamInput) -> None:
        super().__init__(environment, [head], head.record_type)
        self._head_id = head.node_id
        self._feedback: list[StreamInput] = []
        self._tail_id: int | None = None

    def close_with(self, feedback_stream: DataStream[T]) -> DataStream[T]:
        """Feed the records of `feedback_stream` back; several calls feed back several streams. Gives that stream, which other
        operators may read as well.

        Any partitioning may lead back, and any parallelism; also a side output does.

        Raises:
            JobDefinitionError: it is no stream behind this iteration, or its records are of another type.
        """
        builder = self._environment._builder
        if getattr(feedback_stream, "_environment", None) is not self._environment:
            raise definition_error(
                f"close_with() was given {feedback_stream!r}, which is not a stream of the same environment",
                fix="pass a stream made of the one that iterate() returned",
            )
        inputs = feedback_stream._inputs
        if self._head_id not in builder.upstream_of([i.node_id for i in inputs]):
            raise definition_error(
                "close_with() was given a stream that does not come from this iteration",
                fix="pass a stream made of the one that iterate() returned",
            )
        fed, own = feedback_stream.get_type(), self._type
        if GENERIC not in {fed, own} and fed != own:
            raise definition_error(
                f"close_with() was given records of type {fed.name}, but those of the iteration are of type {own.name}",
                fix="map them to the type of the iteration's input, or declare the types of both",
            )
        if self._tail_id is not None:
            builder.remove(self._tail_id)
        self._feedback += inputs
        tail = new_node(
            "Iteration Tail",
            IterationTailSpec(),
            own,
            defined_at=user_line(),
            chaining=ChainingStrategy.NEVER,
            feeds=self._head_id,
        )
        self._tail_id = builder.add_operator(tail, self._feedback)
        return feedback_stream


def iterate(stream: DataStream[Any], max_wait_time: TimeLike | None) -> IterativeStream[Any]:
    """See `DataStream.iterate`."""
    if max_wait_time is not None and to_millis(max_wait_time) < 0:
        raise definition_error(
            f"the max_wait_time of iterate() must not be negative, but is {max_wait_time!r}",
            fix="leave it out",
        )
    type_info = stream.get_type()
    environment = stream.get_execution_environment()
    head = new_node(
        "Iteration Head",
        IterationHeadSpec(type_info),
        type_info,
        defined_at=user_line(),
        chaining=ChainingStrategy.NEVER,
    )
    node_id = environment._builder.add_operator(head, stream._inputs)
    return IterativeStream(environment, StreamInput(node_id, type_info))
