"""Barrier alignment: when a task with several inputs takes its snapshot, and which inputs wait meanwhile. Pure.

Source: Carbone et al., "Lightweight Asynchronous Snapshots for Distributed Dataflows" (2015), section 4.2.
"""

from __future__ import annotations

from ...core.batch import CheckpointBarrier


class BarrierAligner:
    """Follows the barriers of one task.

    Args:
        channels: number of inputs.
        exactly_once: an input that delivered its barrier waits for the others; otherwise it goes on (at-least-once).

    Attributes:
        blocked: inputs that must not be read now.
    """

    def __init__(self, channels: int, *, exactly_once: bool) -> None:
        self._channels = channels
        self._exactly_once = exactly_once
        self._aligning: CheckpointBarrier | None = None
        self._arrived: set[int] = set()
        self._settled_id = 0
        self.blocked: set[int] = set()

    @property
    def aligning(self) -> bool:
        """Whether some barriers of a checkpoint have come and others not yet."""
        return self._aligning is not None

    def on_barrier(self, channel: int, barrier: CheckpointBarrier) -> CheckpointBarrier | None:
        """A barrier came. Returns it when it has come on all inputs: take the snapshot now.

        A barrier of a later checkpoint gives up the one being aligned; one of a settled checkpoint is ignored.
        """
        if barrier.checkpoint_id <= self._settled_id:
            return None
        if self._aligning is None or barrier.checkpoint_id > self._aligning.checkpoint_id:
            self._settle(0 if self._aligning is None else self._aligning.checkpoint_id)
            self._aligning = barrier
        elif barrier.checkpoint_id < self._aligning.checkpoint_id:
            return None
        self._arrived.add(channel)
        if self._exactly_once:
            self.blocked.add(channel)
        if len(self._arrived) < self._channels:
            return None
        self._settle(barrier.checkpoint_id)
        return barrier

    def on_aborted(self, checkpoint_id: int) -> None:
        """The coordinator gave the checkpoint up: nothing waits for its barriers any more."""
        if self._aligning is not None and self._aligning.checkpoint_id <= checkpoint_id:
            self._settle(checkpoint_id)
        elif self._aligning is None:
            self._settled_id = max(self._settled_id, checkpoint_id)

    def _settle(self, checkpoint_id: int) -> None:
        self._settled_id = max(self._settled_id, checkpoint_id)
        self._aligning = None
        self._arrived.clear()
        self.blocked.clear()
