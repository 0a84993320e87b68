"""A real Redis for tests, demos and benchmarks, as a local process."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import ClassVar, Final

from ..core.errors import MissingDependencyError
from .local_process import ServiceUnavailable
from .server import LocalServer


class LocalRedis(LocalServer):
    """Debian's server, or whichever is in PATH; each write is in its append-only file before it is acknowledged."""

    name: ClassVar[str] = "redis"

    def __init__(self) -> None:
        try:
            import redis  # noqa: F401 (only asked whether it is there)
        except ImportError as error:
            raise MissingDependencyError("redis", "redis", needed_for="a Redis for tests") from error
        program = shutil.which("redis-server")
        if program is None:
            raise ServiceUnavailable(
                "there is no Redis server on this machine",
                fix="apt-get install redis-server, or set MILLSTREAM_TEST_REDIS=redis://...",
            )
        self._program: Final = program
        super().__init__()

    @property
    def url(self) -> str:
        return f"redis://127.0.0.1:{self._port}/0"

    def answers(self) -> bool:
        import redis

        with redis.Redis.from_url(self.url, socket_timeout=2) as client:
            try:
                return bool(client.ping())
            except redis.ConnectionError:  # also while it reads its file
                return False

    def prepare(self, folder: Path) -> None:
        (folder / "data").mkdir()

    def command(self, folder: Path) -> list[str]:
        settings = {
            "port": str(self._port),
            "bind": "127.0.0.1",
            "dir": str(folder / "data"),
            "save": "",
            "appendonly": "yes",
            # What the kernel has survives kill -9.
            "appendfsync": "no",
        }
        return [self._program, *(part for key, value in settings.items() for part in (f"--{key}", value))]
