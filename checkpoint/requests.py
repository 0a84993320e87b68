"""Checkpoints and savepoints that were asked for and have not begun. Pure, owned by the coordinator alone."""

from __future__ import annotations

from itertools import takewhile

from .coordination import TriggerRequested


class RequestQueue:
    """Requests in the order they came: one checkpoint answers all that wait together, a savepoint answers its own alone."""

    def __init__(self) -> None:
        self._waiting: list[TriggerRequested] = []

    def __bool__(self) -> bool:
        return bool(self._waiting)

    @property
    def next_is_savepoint(self) -> bool:
        """Whether the next one to be answered wants a savepoint."""
        return bool(self._waiting) and self._waiting[0].savepoint is not None

    @property
    def next_is_final(self) -> bool:
        """Whether the checkpoint that is taken next is the last one of a bounded job."""
        return any(request.final for request in self._next())

    @property
    def stops_job(self) -> bool:
        """Whether one of them ends the job."""
        return any(request.savepoint is not None and request.savepoint.stops for request in self._waiting)

    def add(self, request: TriggerRequested) -> None:
        """Behind the others."""
        self._waiting.append(request)

    def put_back(self, requests: tuple[TriggerRequested, ...]) -> None:
        """Before the others: what answered them failed, and is tried again."""
        self._waiting[:0] = requests

    def take_next(self) -> tuple[TriggerRequested, ...]:
        """Those that the checkpoint which begins now answers."""
        taken = self._next()
        del self._waiting[: len(taken)]
        return taken

    def take_all(self) -> tuple[TriggerRequested, ...]:
        """All of them: none will be answered."""
        taken, self._waiting = tuple(self._waiting), []
        return taken

    def _next(self) -> tuple[TriggerRequested, ...]:
        if self.next_is_savepoint:
            return (self._waiting[0],)
        return tuple(takewhile(lambda request: request.savepoint is None, self._waiting))
