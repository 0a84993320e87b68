"""Barrier alignment: when a task with several inputs takes its snapshot, and which inputs wait meanwhile. Pure.

Aligned, a snapshot is taken when the barrier has been read on all inputs. A barrier that may overtake is announced when it
joins the queue of an input; the snapshot is then taken as soon as its time has come, and the inputs whose barrier has not been
read are recorded up to it. Some inputs keep their order for good (broadcast and pointwise exchanges): the snapshot waits for
these in any case.

At-least-once, barriers are only counted, and those of several checkpoints may come at the same time. Aligned that cannot happen: an
input that has delivered a barrier is not read on.

Source: Carbone et al., "Lightweight Asynchronous Snapshots for Distributed Dataflows" (2015), section 4.2; FLIP-76; FLINK-19680
(checkpoints that begin aligned).
"""

from __future__ import annotations

from collections.abc import Collection

import msgspec

from ...core.batch import CheckpointBarrier


class BarrierAligner:
    """Follows the barriers of one task.

    Args:
        channels: number of inputs.
        exactly_once: an input that delivered its barrier waits for the others; otherwise it goes on (at-least-once).
        overtakable: inputs in which a barrier may go ahead of records.

    Attributes:
        blocked: inputs that must not be read now.
    """

    def __init__(self, channels: int, *, exactly_once: bool, overtakable: Collection[int] = ()) -> None:
        self._channels = channels
        self._exactly_once = exactly_once
        self._overtakable = frozenset(overtakable)
        self._ordered = frozenset(range(channels)) - self._overtakable
        self._aligning: CheckpointBarrier | None = None
        self._arrived: set[int] = set()
        self._counted: dict[int, set[int]] = {}
        self._aborted: set[int] = set()  # before all their barriers have come
        self._settled_id = 0
        self.blocked: set[int] = set()

    @property
    def aligning(self) -> bool:
        """Whether some barriers of a checkpoint have come, or were announced, and others not yet."""
        return self._aligning is not None or bool(self._counted)

    @property
    def has_overtaken(self) -> bool:
        """Whether the barrier being aligned is ahead of records that are still under way to this task."""
        return self._aligning is not None and self._aligning.overtake_after_ms == 0

    @property
    def overtake_after_ms(self) -> int:
        """How long after its trigger the barrier being aligned may overtake at the earliest."""
        return (self._aligning and self._aligning.overtake_after_ms) or 0

    @property
    def may_overtake_at_ms(self) -> int | None:
        """Wall-clock time from which on `overtake` may be called; None: not as things are."""
        barrier = self._aligning
        if barrier is None or barrier.overtake_after_ms is None or not self._ordered <= self._arrived:
            return None
        return barrier.timestamp_ms + barrier.overtake_after_ms if self._overtakable else None

    def on_announced(self, barrier: CheckpointBarrier) -> None:
        """A barrier joined the queue of an overtakable input, and may go ahead of what is in there."""
        if barrier.overtake_after_ms is not None:
            self._join(barrier)

    def on_barrier(self, channel: int, barrier: CheckpointBarrier) -> CheckpointBarrier | None:
        """A barrier was read in its turn. Returns it when it has been on all inputs: take the snapshot now.

        A barrier of a later checkpoint gives up the one being aligned; one of a settled checkpoint is ignored.
        """
        if not self._exactly_once:
            return self._count(channel, barrier)
        if not self._join(barrier):
            return None
        self._arrived.add(channel)
        self.blocked.add(channel)
        if len(self._arrived) < self._channels:
            return None
        complete = self._aligning
        self._settle(barrier.checkpoint_id)
        return complete

    def _count(self, channel: int, barrier: CheckpointBarrier) -> CheckpointBarrier | None:
        if self._is_over(barrier):
            return None
        arrived = self._counted.setdefault(barrier.checkpoint_id, set())
        arrived.add(channel)
        if len(arrived) < self._channels:
            return None
        self._settle(barrier.checkpoint_id)
        return barrier

    def overtake(self) -> tuple[CheckpointBarrier, frozenset[int]]:
        """Take the snapshot now. Returns the barrier to pass on, and the inputs to be recorded until theirs has come."""
        barrier = self._aligning
        assert barrier is not None
        missing = self._overtakable - self._arrived
        self._settle(barrier.checkpoint_id)
        return msgspec.structs.replace(barrier, overtake_after_ms=0), missing

    def on_aborted(self, checkpoint_id: int) -> None:
        """The coordinator gave the checkpoint up: nothing waits for its barriers any more. An earlier one may go on."""
        if self._aligning is not None and self._aligning.checkpoint_id == checkpoint_id:
            self._settle(checkpoint_id)
        elif checkpoint_id > self._settled_id:
            self._aborted.add(checkpoint_id)
            self._counted.pop(checkpoint_id, None)

    def _is_over(self, barrier: CheckpointBarrier) -> bool:
        return barrier.checkpoint_id <= self._settled_id or barrier.checkpoint_id in self._aborted

    def _join(self, barrier: CheckpointBarrier) -> bool:
        """Whether the barrier is of the checkpoint that is being aligned, or begins to be."""
        if self._is_over(barrier):
            return False
        aligning = self._aligning
        if aligning is None or barrier.checkpoint_id > aligning.checkpoint_id:
            self._settle(0 if aligning is None else aligning.checkpoint_id)
            self._aligning = barrier
        elif barrier.checkpoint_id < aligning.checkpoint_id:
            return False
        elif barrier.overtake_after_ms == 0:
            self._aligning = barrier  # it has overtaken elsewhere: so may the others
        return True

    def _settle(self, checkpoint_id: int) -> None:
        self._settled_id = max(self._settled_id, checkpoint_id)
        self._aligning = None
        self._arrived.clear()
        self.blocked.clear()
        self._aborted = {aborted for aborted in self._aborted if aborted > self._settled_id}
        self._counted = {id_: arrived for id_, arrived in self._counted.items() if id_ > self._settled_id}
