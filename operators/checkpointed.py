"""User functions with operator state of their own (Flink's `CheckpointedFunction`)."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, Protocol, runtime_checkable

from ..core.batch import CheckpointBarrier
from .base import OperatorSnapshotParts
from .operator_state import OperatorStateStore


class FunctionInitializationContext:
    """What a function is initialized with."""

    def __init__(self, store: OperatorStateStore, restored_checkpoint_id: int | None) -> None:
        self._store = store
        self._restored_checkpoint_id = restored_checkpoint_id

    def is_restored(self) -> bool:
        """Whether the job starts from a checkpoint, be the state of this function in it or not."""
        return self._restored_checkpoint_id is not None

    def get_restored_checkpoint_id(self) -> int | None:
        """That checkpoint's id."""
        return self._restored_checkpoint_id

    def get_operator_state_store(self) -> OperatorStateStore:
        """Where operator state is declared and, after a restore, found."""
        return self._store


class FunctionSnapshotContext:
    """Which checkpoint is being taken."""

    def __init__(self, barrier: CheckpointBarrier) -> None:
        self._barrier = barrier

    def get_checkpoint_id(self) -> int:
        """Rises with every checkpoint."""
        return self._barrier.checkpoint_id

    def get_checkpoint_timestamp(self) -> int:
        """When the coordinator triggered it (ms since the epoch)."""
        return self._barrier.timestamp_ms


@runtime_checkable
class CheckpointedFunction(Protocol):
    """A function with these two methods, whatever else it is (`MapFunction`, `ProcessFunction`, ...), keeps operator state.

    >>> from millstream import MapFunction
    >>> class Numbered(MapFunction):
    ...     def initialize_state(self, context):
    ...         self.state = context.get_operator_state_store().get_list_state(ListStateDescriptor("count", int))
    ...         self.count = sum(self.state.get())
    ...     def map(self, value):
    ...         self.count += 1
    ...         return self.count, value
    ...     def snapshot_state(self, context):
    ...         self.state.update([self.count])
    >>> from millstream import ListStateDescriptor
    >>> isinstance(Numbered(), CheckpointedFunction)
    True
    """

    def initialize_state(self, context: FunctionInitializationContext) -> None:
        """Called once per subtask and attempt, before `open`: declare state, and take up what was restored."""

    def snapshot_state(self, context: FunctionSnapshotContext) -> None:
        """Called at every checkpoint, between records: bring the declared state up to date. It must not emit."""


class CheckpointedFunctions:
    """The operator state of one operator in one subtask, and the functions of it that have to be asked.

    Args:
        functions: all of the operator's; a function of ours around a user's tells it as `wrapped_function`.
        store: shared with the operator itself.
        restored_checkpoint_id: None on a fresh start.
        name: of the operator, for messages.
    """

    def __init__(
        self,
        functions: Sequence[Any],
        store: OperatorStateStore,
        restored_checkpoint_id: int | None,
        name: str,
    ) -> None:
        self.name = name
        self._functions = tuple({id(f): f for f in checkpointed_functions(functions)}.values())
        self._store = store
        self._restored_checkpoint_id = restored_checkpoint_id

    def initialize(self) -> None:
        """Before the operator is opened."""
        context = FunctionInitializationContext(self._store, self._restored_checkpoint_id)
        for function in self._functions:
            function.initialize_state(context)

    def snapshot(
        self, parts: OperatorSnapshotParts | None, barrier: CheckpointBarrier
    ) -> OperatorSnapshotParts | None:
        """The operator's snapshot with this state in it."""
        context = FunctionSnapshotContext(barrier)
        for function in self._functions:
            function.snapshot_state(context)
        lists = self._store.snapshot()
        if not lists:
            return parts
        parts = parts or OperatorSnapshotParts()
        parts.lists.update(lists)
        return parts


def checkpointed_functions(functions: Sequence[Any]) -> Iterator[CheckpointedFunction]:
    """Those of an operator's functions that keep operator state, also where a function of ours is around them."""
    for function in functions:
        if isinstance(function, type):
            continue
        if isinstance(function, CheckpointedFunction):
            yield function
        wrapped = getattr(function, "wrapped_function", None)
        if wrapped is not None:
            yield from checkpointed_functions((wrapped,))
