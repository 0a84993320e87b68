"""Hosts the split enumerator of one source: hands its wishes to the readers and its trouble to the job.

A new attempt makes a new one. Splits live in the checkpoint as the readers' list state `splits`; on a restore they go back to
the enumerator (`restore.plan_restore` takes them out), which gives them out again, to whichever readers there are then.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any, Protocol, TypeAlias

from ...connectors.base import HandlesReaderEvents, Source, SplitEnumerator
from ...core.clock import Clock
from ...core.errors import MillstreamError, ProtocolViolation, StateError
from ...core.ids import SubtaskId, subtask_id
from ..graph.job_graph import JobVertex
from .background import Background
from .failure import failure_of_enumerator
from .scheduling import Failure
from .watermark_alignment import Announcement, WatermarkAlignment

_LOG = logging.getLogger(__name__)

SPLITS = "splits"
"""Name of the list state in which a source operator keeps its reader's splits."""


class SplitSender(Protocol):
    """Carries splits to a reader; a message sent later arrives later."""

    def __call__(self, subtask: SubtaskId, splits: list[bytes], *, no_more: bool) -> None: ...


EventSender: TypeAlias = Callable[[SubtaskId, bytes], None]
"""Carries an event to a reader; ordered with splits."""


class SourceCoordinator:
    """The enumerator of one source in one attempt, and its `SplitEnumeratorContext`.

    All methods run in the loop's thread. An exception of the enumerator goes to `fail`, which ends the attempt; from then
    on nothing of it is called but `close`.
    """

    def __init__(
        self,
        vertex: JobVertex,
        *,
        send: SplitSender,
        send_event: EventSender,
        fail: Callable[[Failure], None],
        wake: Callable[[], None],
        clock: Clock,
    ) -> None:
        head = vertex.operators[0]
        assert head.source is not None
        self.operator_id = head.operator_id
        self._vertex = vertex
        self._source: Source[Any, Any] = head.source
        self._send = send
        self._send_event = send_event
        self._fail = fail
        self._clock = clock
        self._background = Background(f"enumerator {vertex.name}", wake)
        self._timers: list[tuple[int, Callable[[], None]]] = []
        self._enumerator: SplitEnumerator[Any] | None = None
        self._failed = False

    # ---- life ---------------------------------------------------------------------------------------------------------

    def start(self, restored: bytes | None, splits: list[bytes] | None) -> None:
        """Make the enumerator and start it; `splits` of all readers follow when the job is restored."""

        def begin() -> None:
            enumerator, decoded = self._restore(restored, splits or ())
            self._enumerator = enumerator
            enumerator.start()
            if splits is not None:
                enumerator.add_splits_back(decoded)

        self._guarded(begin)

    def _restore(
        self, restored: bytes | None, splits: Sequence[bytes]
    ) -> tuple[SplitEnumerator[Any], list[Any]]:
        try:
            return self._source.create_enumerator(self, restored), [
                self._source.decode_split(data) for data in splits
            ]
        except MillstreamError:
            raise
        except Exception as error:  # whatever a connector's decoding stumbles over
            if restored is None:
                raise
            raise StateError(
                f"the source cannot begin with its restored state: {error!r}",
                fix="if the job had another source then, give the new one another uid and start with --allow-non-restored-state"
                " (execution.savepoint.ignore-unclaimed-state)",
            ) from error

    def add_reader(self, subtask: int) -> None:
        """The reader of this subtask runs."""
        self._with_enumerator(lambda enumerator: enumerator.add_reader(subtask))

    def handle_split_request(self, subtask: int) -> None:
        """That reader has nothing to read."""
        self._with_enumerator(lambda enumerator: enumerator.handle_split_request(subtask))

    def handle_event(self, subtask: int, event: bytes) -> None:
        """That reader tells its enumerator something."""

        def handle(enumerator: SplitEnumerator[Any]) -> None:
            if not isinstance(enumerator, HandlesReaderEvents):
                raise ProtocolViolation("the enumerator of this source handles no events of its readers")
            enumerator.handle_source_event(subtask, event)

        self._with_enumerator(handle)

    def snapshot(self, checkpoint_id: int) -> bytes | None:
        """The enumerator's state; None when it failed (the attempt is ending)."""
        states: list[bytes] = []
        self._with_enumerator(lambda enumerator: states.append(enumerator.snapshot_state(checkpoint_id)))
        return states[0] if states else None

    def step(self, now_ms: int) -> bool:
        """Deliver what came back from the helper thread, repeat what is due; whether there was anything."""
        busy = self._background.deliver()
        due = [timer for timer in self._timers if timer[0] <= now_ms]
        self._timers = [timer for timer in self._timers if timer[0] > now_ms]
        for _, repeat in due:
            repeat()
        return busy or bool(due)

    def next_deadline_ms(self) -> int | None:
        """When `step` has something to repeat (monotonic)."""
        return min((at for at, _ in self._timers), default=None)

    @property
    def busy(self) -> bool:
        """Whether the enumerator has work in the helper thread."""
        return self._background.busy

    def join(self, timeout_s: float) -> None:
        """Wait until that work has ended, at most so long."""
        self._background.join(timeout_s)

    def close(self) -> None:
        """End of the attempt. Idempotent; work in the helper thread runs out by itself and is not heard of again."""
        self._background.close(join=False)
        self._timers.clear()
        enumerator, self._enumerator = self._enumerator, None
        if enumerator is None:
            return
        try:
            enumerator.close()
        except Exception as error:  # a connector's code; the attempt is over anyway, so this is for the log
            _LOG.warning("source '%s' did not close cleanly: %s", self._vertex.operators[0].name, error)

    # ---- SplitEnumeratorContext ---------------------------------------------------------------------------------------

    @property
    def parallelism(self) -> int:
        """Number of readers."""
        return self._vertex.parallelism

    def assign_splits(self, assignment: Mapping[int, Sequence[Any]]) -> None:
        """See `SplitEnumeratorContext`."""
        for subtask, splits in assignment.items():
            if splits:
                encoded = [self._source.encode_split(split) for split in splits]
                self._send(self._subtask(subtask), encoded, no_more=False)

    def signal_no_more_splits(self, subtask: int) -> None:
        """See `SplitEnumeratorContext`."""
        self._send(self._subtask(subtask), [], no_more=True)

    def send_event_to_reader(self, subtask: int, event: bytes) -> None:
        """See `SplitEnumeratorContext`."""
        self._send_event(self._subtask(subtask), event)

    def call_async(
        self, work: Callable[[], Any], handler: Callable[[Any], None], *, period_ms: int | None = None
    ) -> None:
        """See `SplitEnumeratorContext`. The period counts from one handler to the next call."""

        def on_result(result: Any) -> None:
            self._guarded(lambda: handler(result))
            if period_ms is not None and not self._failed:
                self._timers.append((self._clock.monotonic_ms() + period_ms, run))

        def run() -> None:
            self._background.submit(work, on_result, self._on_error)

        run()

    # ---- inside -------------------------------------------------------------------------------------------------------

    def _subtask(self, index: int) -> SubtaskId:
        return subtask_id(self._vertex.index, index)

    def _with_enumerator(self, call: Callable[[SplitEnumerator[Any]], None]) -> None:
        enumerator = self._enumerator
        if enumerator is not None and not self._failed:
            self._guarded(lambda: call(enumerator))

    def _guarded(self, call: Callable[[], None]) -> None:
        try:
            call()
        except Exception as error:  # a connector's code: the job decides what follows
            self._on_error(error)

    def _on_error(self, error: Exception) -> None:
        self._failed = True
        self._fail(failure_of_enumerator(error, self._vertex.operators[0].name))


class SourceCoordinators:
    """Those of all sources of the job whose region runs, and how these are aligned with each other.

    Args:
        make: the coordinator of one source.
        announce: tells readers how far they may read.
    """

    def __init__(
        self, make: Callable[[JobVertex], SourceCoordinator], announce: Callable[[Announcement], None]
    ) -> None:
        self._make = make
        self._announce = announce
        self._by_vertex: dict[int, SourceCoordinator] = {}
        self._alignment = WatermarkAlignment()

    def start(
        self,
        vertices: Sequence[JobVertex],
        enumerators: Mapping[str, bytes],
        splits: Mapping[str, list[bytes]],
        now_ms: int,
    ) -> None:
        """Make and start one for each source of a region, with what was restored for it. `now_ms` is monotonic."""
        self._alignment.add(vertices, now_ms)
        started = {vertex.index: self._make(vertex) for vertex in vertices if vertex.is_source}
        self._by_vertex |= started
        for coordinator in started.values():
            id_ = coordinator.operator_id
            coordinator.start(enumerators.get(id_), splits.get(id_))

    def add_reader(self, vertex: int, subtask: int) -> None:
        """A subtask of a source vertex runs; for other vertices nothing happens."""
        if vertex in self._by_vertex:
            self._by_vertex[vertex].add_reader(subtask)

    def handle_split_request(self, vertex: int, subtask: int) -> None:
        """See `SourceCoordinator`."""
        if vertex in self._by_vertex:
            self._by_vertex[vertex].handle_split_request(subtask)

    def handle_event(self, vertex: int, subtask: int, event: bytes) -> None:
        """See `SourceCoordinator`."""
        if vertex in self._by_vertex:
            self._by_vertex[vertex].handle_event(subtask, event)

    def report_watermark(self, vertex: int, subtask: int, watermark: int) -> None:
        """How far a reader with aligned watermarks is (ms)."""
        if vertex in self._by_vertex:
            self._alignment.report(vertex, subtask, watermark)

    def snapshot(self, checkpoint_id: int) -> dict[str, bytes] | None:
        """All states by operator id; None when one of them failed."""
        states: dict[str, bytes] = {}
        for coordinator in self._by_vertex.values():
            state = coordinator.snapshot(checkpoint_id)
            if state is None:
                return None
            states[coordinator.operator_id] = state
        return states

    def step(self, now_ms: int) -> bool:
        """See `SourceCoordinator`."""
        busy = False
        for coordinator in tuple(self._by_vertex.values()):
            busy = coordinator.step(now_ms) or busy
        for announcement in self._alignment.due(now_ms):
            self._announce(announcement)
        return busy

    def next_deadline_ms(self) -> int | None:
        """The earliest of all."""
        deadlines = [coordinator.next_deadline_ms() for coordinator in self._by_vertex.values()]
        deadlines.append(self._alignment.next_deadline_ms())
        return min((deadline for deadline in deadlines if deadline is not None), default=None)

    @property
    def busy(self) -> bool:
        """Whether any of them is."""
        return any(coordinator.busy for coordinator in self._by_vertex.values())

    def join(self, timeout_s: float) -> None:
        """Wait until the work of all has ended, at most so long for each."""
        for coordinator in self._by_vertex.values():
            coordinator.join(timeout_s)

    def close(self, vertices: Collection[int] | None = None) -> None:
        """End of the attempt that these belong to; of all if None. Idempotent."""
        closing = [vertex for vertex in self._by_vertex if vertices is None or vertex in vertices]
        self._alignment.remove(closing)
        for vertex in closing:
            self._by_vertex.pop(vertex).close()
