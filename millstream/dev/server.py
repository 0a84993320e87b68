"""A database for tests, demos and benchmarks: given by its URL, or a local process with a port and a folder of its own."""

from __future__ import annotations

import signal
from abc import ABC, abstractmethod
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, ClassVar, Final, Protocol

from .local_process import LocalProcess, ServiceFolder, ServiceUnavailable, free_ports

if TYPE_CHECKING:
    from typing import Self

_READY_ATTEMPTS: Final = 600
_BETWEEN_ATTEMPTS_S: Final = 0.1
_STARTS: Final = 20


class Server(Protocol):
    """A server that a test may use and, where it belongs to us, stop and start."""

    @property
    def url(self) -> str:
        """Where clients connect, the same across restarts."""

    def start(self) -> None:
        """Returns when the server answers. Data of an earlier start of this object is there again."""

    def stop(self) -> None:
        """Ends the server and deletes its data. Harmless when called again."""

    def kill(self) -> None:
        """`kill -9`; data and port stay for the next `start()`."""

    def restart(self) -> None:
        """An orderly shutdown and a start, on the same port and data."""


class LocalServer(ABC):
    """A server as a child process, with its data under the temporary directory; it never outlives this process.

    Use it from the main thread, as a context manager or with `start()` and `stop()`. Subclasses say how it is set up and run.

    Raises:
        ServiceUnavailable: its program is missing, or it does not start.
        MissingDependencyError: the package of its client is not installed.
    """

    name: ClassVar[str]
    orderly: ClassVar[signal.Signals] = signal.SIGTERM

    def __init__(self) -> None:
        [self._port] = free_ports(1)
        self._folder: ServiceFolder | None = None
        self._process: LocalProcess | None = None

    @property
    @abstractmethod
    def url(self) -> str: ...

    @abstractmethod
    def answers(self) -> bool:
        """Whether the server takes commands now. Returns soon."""

    @abstractmethod
    def prepare(self, folder: Path) -> None:
        """Lay out an empty folder, once."""

    @abstractmethod
    def command(self, folder: Path) -> list[str]:
        """What is run."""

    @property
    def pid(self) -> int | None:
        """The server's process id while it runs."""
        return self._process.pid if self._process is not None and self._process.is_alive() else None

    def start(self) -> None:
        if self.pid is not None:
            return
        if self._folder is None:
            self._folder = ServiceFolder(self.name)
            self.prepare(self._folder.path)
        starts = 0
        process = self._process
        for _ in range(_READY_ATTEMPTS):
            if process is None or not process.is_alive():
                process = self._process = LocalProcess(
                    self.command(self._folder.path), self._folder.path / "output.log"
                )
                starts += 1
            if self.answers():
                return
            # After a kill -9, processes that the server had started may hold its folder for a moment.
            if process.ended_within(_BETWEEN_ATTEMPTS_S) and starts == _STARTS:
                raise ServiceUnavailable(f"{self.name} did not start: {process.last_output()}")
        assert process is not None, "there was at least one attempt"
        raise ServiceUnavailable(f"{self.name} does not answer: {process.last_output()}")

    def stop(self) -> None:
        self.kill()  # its data is deleted next: nothing to shut down in order
        if self._folder is not None:
            self._folder.remove()
        self._folder = None

    def kill(self) -> None:
        if self._process is not None:
            self._process.stop(signal.SIGKILL)
        self._process = None

    def restart(self) -> None:
        if self._process is not None:
            self._process.stop(self.orderly)
        self.start()

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.stop()


class GivenServer:
    """A server somebody else runs, known by its URL. It can be used but neither stopped nor restarted.

    Args:
        variable: the environment variable it is given in.
    """

    def __init__(self, url: str, variable: str) -> None:
        self._url: Final = url
        self._variable: Final = variable

    @property
    def url(self) -> str:
        return self._url

    def start(self) -> None:
        """It runs already; who uses it finds out when not."""

    def stop(self) -> None:
        """Leaves it running."""

    def kill(self) -> None:
        raise self._not_ours()

    def restart(self) -> None:
        raise self._not_ours()

    def _not_ours(self) -> ServiceUnavailable:
        return ServiceUnavailable(
            f"a server given in {self._variable} cannot be restarted by a test",
            fix=f"unset {self._variable}, so that a local one is started",
        )
