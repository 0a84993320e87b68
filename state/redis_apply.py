"""Applies what a completed checkpoint holds to Redis, in a thread of its own."""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from .backend import BackendContext
from .overlay import Layer, merged
from .redis_connection import RedisConnection
from .redis_keys import RedisKeys, applied, applying
from .redis_store import mark, operations_of


@dataclass(frozen=True, slots=True)
class Applied:
    """Redis holds a checkpoint now, and with it these layers."""

    checkpoint_id: int
    layers: tuple[Layer, ...]


class Applier:
    """Applies one checkpoint after the other; `start` and `outcome` are called in the loop's thread.

    What it writes is in the overlay until the loop has seen the outcome, so that readers never see half of it.
    """

    def __init__(
        self,
        connection: RedisConnection,
        context: BackendContext,
        keys: RedisKeys,
        states: Mapping[int, bytes],
    ) -> None:
        self._connection = connection
        self._context = context
        self._keys = keys
        self._states = states
        self._thread: threading.Thread | None = None
        self._outcome: Applied | Exception | None = None

    @property
    def busy(self) -> bool:
        """Whether an outcome is to be fetched, now or later."""
        return self._thread is not None

    def start(self, checkpoint_id: int, layers: Sequence[Layer]) -> None:
        """Begin; not while busy."""
        assert self._thread is None, "one checkpoint at a time"
        job = Applied(checkpoint_id, tuple(layers))
        self._thread = threading.Thread(target=self._run, args=(job,), name="redis-apply", daemon=True)
        self._thread.start()

    def outcome(self, *, wait: bool = False) -> Applied | None:
        """What has been applied since it was asked last, None when nothing was, or it goes on.

        Raises:
            StateError, ConnectorError: it could not be applied.
        """
        if self._thread is None or (self._thread.is_alive() and not wait):
            return None
        self._thread.join()
        self._thread = None
        outcome, self._outcome = self._outcome, None
        if isinstance(outcome, Exception):
            raise outcome
        return outcome

    def close(self) -> None:
        """Returns when what was begun is done or has failed: then the next attempt does it. Idempotent."""
        if self._thread is not None:
            self._thread.join()
            self._thread = None

    def _run(self, job: Applied) -> None:
        try:
            self._apply(job)
        except Exception as error:  # told to the loop, where it fails the task
            self._outcome = error
        else:
            self._outcome = job

    def _apply(self, job: Applied) -> None:
        first, last = self._context.key_groups
        attempt, owner = self._context.owner.attempt, self._keys.owner
        groups = range(first, last + 1)
        pieces = list(operations_of(merged(job.layers), self._keys, self._states))
        begin = mark((applying(group) for group in groups), job.checkpoint_id)
        end = mark((applied(group) for group in groups), job.checkpoint_id)
        if len(pieces) <= 1:  # in one step
            return self._connection.apply(owner, attempt, [*begin, *(pieces[0] if pieces else []), *end])
        self._connection.apply(owner, attempt, begin)
        for piece in pieces:
            self._connection.apply(owner, attempt, piece)
        return self._connection.apply(owner, attempt, end)
