"""A two-way message link between the JobManager and a worker, whether they share a process or not."""

from __future__ import annotations

from collections import deque
from typing import Generic, Protocol, TypeVar

from .messages import FromWorker, ToWorker

S = TypeVar("S")
R = TypeVar("R")
S_contra = TypeVar("S_contra", contravariant=True)
R_co = TypeVar("R_co", covariant=True)


class Link(Protocol[S_contra, R_co]):
    """One end. Messages arrive in the order they were sent; both methods never block."""

    def send(self, message: S_contra) -> None:
        """Queue a message for the other end. A no-op once the link is closed."""

    def receive(self) -> R_co | None:
        """The next message that has arrived, or None."""

    @property
    def closed(self) -> bool:
        """The other end is gone and everything it sent has been received."""


class LocalLink(Generic[S, R]):
    """An end of a link within one process and thread."""

    def __init__(self, outbox: deque[S], inbox: deque[R]) -> None:
        self._outbox = outbox
        self._inbox = inbox

    def send(self, message: S) -> None:
        self._outbox.append(message)

    def receive(self) -> R | None:
        return self._inbox.popleft() if self._inbox else None

    @property
    def closed(self) -> bool:
        return False


def local_link() -> tuple[LocalLink[ToWorker, FromWorker], LocalLink[FromWorker, ToWorker]]:
    """The JobManager's end and the worker's end."""
    down: deque[ToWorker] = deque()
    up: deque[FromWorker] = deque()
    return LocalLink(down, up), LocalLink(up, down)
