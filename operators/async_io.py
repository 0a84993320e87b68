"""Asynchronous I/O: many records are asked for at a time, while the task goes on.

What has been taken and not yet answered is in the checkpoint, record by record, and is asked for again after a restore.
Source: Flink's documented behaviour (FLIP-12, and FLIP-232 for retries).
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import takewhile
from typing import Any, ClassVar, Final

from ..core.batch import RecordBatch, Watermark, WatermarkStatus
from ..core.types import TypeInformation
from .async_calls import Answered, AskAgain, AsyncCalls, Failed, Outcome
from .async_queue import Mark, OrderedQueue, Request, RequestQueue, UnorderedQueue
from .async_retry import AsyncRetryStrategy
from .base import BufferingOperator, Operator, OperatorContext, OperatorSnapshotParts
from .results import ResultCollector
from .runtime_context import StatelessRuntimeContext
from .stored_records import RecordItems

_REQUESTS: Final = "async-requests"


@dataclass(frozen=True, slots=True)
class AsyncWaitSpec:
    """`AsyncDataStream.ordered_wait` and `unordered_wait`.

    Attributes:
        timeout_ms: from the first call for a record to its outcome, retries included; 0: no limit.
        capacity: requests under way at most, those included whose results wait for their turn.
    """

    function: Any
    value_type: TypeInformation[Any]
    ordered: bool
    timeout_ms: int
    capacity: int
    strategy: AsyncRetryStrategy[Any]
    kind: ClassVar[str] = "AsyncWait"

    def user_functions(self) -> Sequence[Any]:
        return (self.function, self.strategy)

    def create(self) -> Operator:
        return _AsyncWaitOperator(self)


class _AsyncWaitOperator(BufferingOperator):
    def __init__(self, spec: AsyncWaitSpec) -> None:
        self._spec = spec
        self._items = RecordItems(_REQUESTS, spec.value_type)
        self._queue: RequestQueue = OrderedQueue() if spec.ordered else UnorderedQueue()
        self._waiting: deque[Request] = deque()  # of the queue, those not asked for yet
        self._deadlines: dict[Request, int] = {}  # of those asked for; rising, as all have the same time
        self._alarm_is_set = False
        self._calls: AsyncCalls | None = None

    def open(self, context: OperatorContext) -> None:
        super().open(context)
        self._time = context.processing_time
        self._results = ResultCollector(context)
        calls = AsyncCalls(
            self._spec.function, self._spec.strategy, lambda: context.call_soon(self._take_outcomes)
        )
        self._calls = calls
        calls.open(StatelessRuntimeContext(context.info))
        for value, timestamp in self._items.restored(context.restored_lists):
            self._add(value, timestamp)
        self._ask()

    # ---- input

    @property
    def has_room(self) -> bool:
        # A batch is taken whole, whatever the capacity: the barrier behind it need not wait until its last record is asked for.
        return not self._waiting and len(self._queue) < self._spec.capacity

    @property
    def is_drained(self) -> bool:
        return self._queue.is_empty

    def process_batch(self, batch: RecordBatch) -> None:
        timestamps = [None] * len(batch.values) if batch.timestamps is None else batch.timestamps
        for value, timestamp in zip(batch.values, timestamps, strict=True):
            self._add(value, timestamp)
        self._ask()

    def process_watermark(self, timestamp: int) -> None:
        self._add_mark(Watermark(timestamp))

    def process_status(self, idle: bool) -> None:
        self._add_mark(WatermarkStatus(idle))

    def _add(self, value: Any, timestamp: int | None) -> None:
        request = Request(value, timestamp)
        self._queue.add(request)
        self._waiting.append(request)

    def _add_mark(self, mark: Mark) -> None:
        self._queue.add_mark(mark)
        self._emit()

    def _ask(self) -> None:
        """Make as many of the waiting requests as the capacity allows."""
        waiting, now_ms = self._waiting, self._time.now_ms()
        free = self._spec.capacity - (len(self._queue) - len(waiting))
        requests = [waiting.popleft() for _ in range(min(free, len(waiting)))]
        if not requests:
            return
        assert self._calls is not None
        self._calls.submit(requests)
        if self._spec.timeout_ms:
            deadline_ms = now_ms + self._spec.timeout_ms
            self._deadlines.update((request, deadline_ms) for request in requests)
            self._set_alarm()

    # ---- outcomes

    def flush(self) -> None:
        """What has been answered meanwhile need not be asked for again after a restore."""
        self._take_outcomes()

    def _take_outcomes(self) -> None:
        assert self._calls is not None
        for request, outcome in self._calls.outcomes():
            self._on_outcome(request, outcome)
        self._emit()
        self._ask()

    def _on_outcome(self, request: Request, outcome: Outcome) -> None:
        match outcome:
            case Answered(results=results):
                self._deadlines.pop(request, None)
                self._queue.complete(request, results)
            case AskAgain(delay_ms=delay_ms):
                calls = self._calls
                assert calls is not None
                self._time.schedule(self._time.now_ms() + delay_ms, lambda _: calls.submit([request]))
            case Failed(error=error):
                value = request.value  # noqa: F841 (the report of the failure finds the record under this name)
                raise error

    def _emit(self) -> None:
        """Let leave what may leave."""
        results = self._results
        for entry in self._queue.take():
            match entry:
                case Request(results=found, timestamp=timestamp):
                    results.collect(found, timestamp)
                case Watermark(timestamp=timestamp):
                    results.flush()
                    self.output.emit_watermark(timestamp)
                case WatermarkStatus(idle=idle):
                    results.flush()
                    self.output.emit_status(idle)
        results.flush()

    # ---- timeouts

    def _set_alarm(self) -> None:
        """One alarm for all: for the oldest."""
        oldest_ms = next(iter(self._deadlines.values()), None)
        if oldest_ms is not None and not self._alarm_is_set:
            self._alarm_is_set = True
            self._time.schedule(oldest_ms, self._on_alarm)

    def _on_alarm(self, now_ms: int) -> None:
        self._alarm_is_set = False
        late = list(takewhile(lambda request: self._deadlines[request] <= now_ms, self._deadlines))
        for request in late:
            del self._deadlines[request]
        if late:
            assert self._calls is not None
            self._calls.time_out(late)
        self._set_alarm()

    # ---- checkpoints

    def snapshot(self, checkpoint_id: int) -> OperatorSnapshotParts:
        requests = ((request.value, request.timestamp) for request in self._queue.requests())
        return OperatorSnapshotParts(lists=self._items.lists(requests))

    def close(self) -> None:
        if self._calls is not None:
            self._calls.close()
        super().close()
