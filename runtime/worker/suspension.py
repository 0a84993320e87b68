"""A subtask behind the barrier of a savepoint that stops the job: what would give results waits until it is known how that ends."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable

from ...operators.base import ProcessingTime


class Suspension:
    """Whether a subtask stands still, and what came up meanwhile.

    INVARIANT V1: nothing is emitted behind the barrier of a savepoint that stops the job, so that whoever starts from it emits
    nothing twice. Kept by: tests/worker/test_suspension.py, tests/integration/engine/test_savepoints.py.
    """

    def __init__(self) -> None:
        self._checkpoint_id: int | None = None
        self._waiting: deque[Callable[[], None]] = deque()

    @property
    def active(self) -> bool:
        """Whether the subtask stands still."""
        return self._checkpoint_id is not None

    def begin(self, checkpoint_id: int) -> None:
        """The subtask has taken its part of this savepoint."""
        self._checkpoint_id = checkpoint_id

    def abort(self, checkpoint_id: int) -> None:
        """A checkpoint or savepoint was given up. If it is this one or a later one, which there would not be had this one stopped the
        job (a notification may be lost), go on: first with what has waited."""
        if self._checkpoint_id is None or checkpoint_id < self._checkpoint_id:
            return
        self._checkpoint_id = None
        while self._waiting:
            self._waiting.popleft()()

    def run(self, action: Callable[[], None]) -> None:
        """Now, or when the subtask goes on."""
        if self.active:
            self._waiting.append(action)
        else:
            action()


class SuspendableTime:
    """Processing time of one subtask: callbacks wait while it stands still."""

    def __init__(self, time: ProcessingTime, suspension: Suspension) -> None:
        self._time = time
        self._suspension = suspension

    def now_ms(self) -> int:
        """Processing time."""
        return self._time.now_ms()

    def schedule(self, at_ms: int, callback: Callable[[int], None]) -> None:
        """Run `callback(now_ms)` once, at `at_ms` or soon after."""
        self._time.schedule(at_ms, lambda now_ms: self._suspension.run(lambda: callback(now_ms)))
