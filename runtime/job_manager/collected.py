"""Results on their way from collecting sinks to the client's iterators, each counted once."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from queue import SimpleQueue
from threading import Lock

from ..messages import ClientData


class CollectedResults:
    """One unbounded queue per collecting operator: filled by the job's loop, emptied by the client's threads."""

    def __init__(self) -> None:
        self._queues: dict[str, SimpleQueue[bytes | None]] = defaultdict(SimpleQueue)
        self._lock = Lock()
        self._seen: set[tuple[str, str, int]] = set()
        self._ended = False

    def add(self, message: ClientData) -> None:
        """Take results. Those of one operator, subtask and checkpoint count once: a repeated commit brings them again."""
        if message.checkpoint_id is not None:
            key = (message.operator_id, message.subtask, message.checkpoint_id)
            if key in self._seen:
                return
            self._seen.add(key)
        self._queue(message.operator_id).put(message.data)

    def end(self) -> None:
        """The job is over: iterators end once they have given what is there."""
        with self._lock:
            self._ended = True
            for queue in self._queues.values():
                queue.put(None)

    def of(self, operator_id: str) -> Iterator[bytes]:
        """The results of one operator, in order; waits for more until the job is over. For one consumer."""
        queue = self._queue(operator_id)
        while (data := queue.get()) is not None:
            yield data
        queue.put(None)

    def _queue(self, operator_id: str) -> SimpleQueue[bytes | None]:
        with self._lock:
            is_new = operator_id not in self._queues
            queue = self._queues[operator_id]
            if is_new and self._ended:
                queue.put(None)
            return queue
