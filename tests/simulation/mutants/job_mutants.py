"""Bugs planted in a whole job: each is a patch of the running code, and the simulation of jobs catches every one of them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import pytest

from millstream.checkpoint import assignment
from millstream.connectors.static_splits import StaticSplitEnumerator
from millstream.core.batch import CheckpointBarrier
from millstream.operators import sink as sink_operator
from millstream.operators import timer_service
from millstream.runtime.job_manager import checkpoints
from millstream.runtime.worker import input_task, source_task
from millstream.runtime.worker.alignment import BarrierAligner
from millstream.state import heap
from millstream.state.timers import KeyedTimers
from tests.simulation.mutants.checkpoint_mutants import (
    CompletesBeforeMetadataIsDurable,
    LosesTrackOfLostNotifications,
)


def commit_before_metadata_is_durable(patch: pytest.MonkeyPatch) -> None:
    """Tasks are told that a checkpoint is complete before it is."""
    patch.setattr(checkpoints, "CheckpointCoordinator", CompletesBeforeMetadataIsDurable)


def notification_lost_for_ever(patch: pytest.MonkeyPatch) -> None:
    """A checkpoint's output waits for its own notification, and that may be lost."""
    _use_for_sinks(patch, LosesTrackOfLostNotifications)


def barrier_overtaken_by_data(patch: pytest.MonkeyPatch) -> None:
    """An input that delivered its barrier is read on before the others delivered theirs."""

    class NeverBlocks(BarrierAligner):
        def on_barrier(self, channel: int, barrier: CheckpointBarrier) -> CheckpointBarrier | None:
            complete = super().on_barrier(channel, barrier)
            self.blocked.clear()
            return complete

    patch.setattr(input_task, "BarrierAligner", NeverBlocks)


def timer_restored_twice(patch: pytest.MonkeyPatch) -> None:
    """A timer that comes from a checkpoint fires, and fires again."""

    class Twice(KeyedTimers):
        def __init__(self, *args: Any, **kwargs: Any) -> None:
            super().__init__(*args, **kwargs)
            self._restored = set(self._alive)

        def pop_due(self, up_to_ms: int) -> Iterator[tuple[int, Any]]:
            for time, key in super().pop_due(up_to_ms):
                yield time, key
                if time in self._restored:
                    yield time, key

    patch.setattr(timer_service, "KeyedTimers", Twice)


def key_group_lost_on_rescale(patch: pytest.MonkeyPatch) -> None:
    """Of the parts that hold key groups of a subtask's at another parallelism, the last one is not given to it."""
    intersecting = assignment._intersecting

    def all_but_one(handles: Any, key_groups: tuple[int, int]) -> Any:
        found = intersecting(handles, key_groups)
        return found[:-1] or found

    patch.setattr(assignment, "_intersecting", all_but_one)


def key_group_kept_on_rescale(patch: pytest.MonkeyPatch) -> None:
    """A subtask restores also the key groups that have gone to others."""
    read_blocks = heap.read_blocks
    patch.setattr(heap, "read_blocks", lambda path, first, last: read_blocks(path, 0, 1 << 30))
    patch.setattr(heap, "foreign_group", lambda *_: None)


def split_given_to_two_readers(patch: pytest.MonkeyPatch) -> None:
    """After a restore a split is among those to be shared out twice."""
    add_splits_back = StaticSplitEnumerator.add_splits_back

    def twice(self: StaticSplitEnumerator[Any], splits: Sequence[Any]) -> None:
        add_splits_back(self, [*splits, *splits[:1]])

    patch.setattr(StaticSplitEnumerator, "add_splits_back", twice)


def barrier_behind_the_position(patch: pytest.MonkeyPatch) -> None:
    """A source takes its position, and lets one more batch go before the barrier."""
    take_snapshot = source_task.SourceTask.take_snapshot

    def late(self: source_task.SourceTask, barrier: CheckpointBarrier, alignment_ms: int = 0) -> None:
        position = self._reader.snapshot_state(barrier.checkpoint_id)
        if not self.ended:
            self._take_input()
        with pytest.MonkeyPatch.context() as inner:
            inner.setattr(type(self._reader), "snapshot_state", lambda *_: position)
            take_snapshot(self, barrier, alignment_ms)

    patch.setattr(source_task.SourceTask, "take_snapshot", late)


def _use_for_sinks(patch: pytest.MonkeyPatch, two_phase_commit: type) -> None:
    class Subscripted:
        def __class_getitem__(cls, _item: Any) -> type:
            return two_phase_commit

    patch.setattr(sink_operator, "TwoPhaseCommit", Subscripted)


MUTANTS = (
    commit_before_metadata_is_durable,
    notification_lost_for_ever,
    barrier_overtaken_by_data,
    timer_restored_twice,
    key_group_lost_on_rescale,
    key_group_kept_on_rescale,
    split_given_to_two_readers,
    barrier_behind_the_position,
)
