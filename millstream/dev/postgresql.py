"""A real PostgreSQL for tests, demos and benchmarks, as a local process."""

from __future__ import annotations

import os
import pwd
import shutil
import signal
from pathlib import Path
from typing import ClassVar, Final

from ..core.errors import MissingDependencyError
from .local_process import LocalProcess, ServiceUnavailable
from .server import LocalServer

_USER: Final = "postgres"
"""Whom the server runs as where we are root, which it refuses to run as."""

_SETTINGS: Final = {
    "listen_addresses": "127.0.0.1",
    "unix_socket_directories": "",
    # A killed server loses nothing that the kernel has; only a machine that dies could.
    "fsync": "off",
    "max_connections": "200",
    "max_prepared_transactions": "100",
    "logging_collector": "off",
}


class LocalPostgreSQL(LocalServer):
    """Debian's server, or whichever is in PATH; everyone on this machine may connect as its superuser."""

    name: ClassVar[str] = "postgresql"
    orderly: ClassVar[signal.Signals] = signal.SIGINT  # "fast": does not wait for clients to leave

    def __init__(self) -> None:
        try:
            import psycopg  # noqa: F401 (only asked whether it is there)
        except ImportError as error:
            raise MissingDependencyError(
                "psycopg", "postgresql", needed_for="a PostgreSQL for tests"
            ) from error
        self._programs: Final = _programs()
        super().__init__()

    @property
    def url(self) -> str:
        return f"postgresql://millstream@127.0.0.1:{self._port}/postgres"

    def answers(self) -> bool:
        import psycopg

        try:
            psycopg.connect(self.url, connect_timeout=2).close()
        except psycopg.OperationalError:
            return False
        return True

    def prepare(self, folder: Path) -> None:
        if os.geteuid() == 0:
            shutil.chown(folder, _USER)
        options = ["-U", "millstream", "--auth=trust", "--encoding=UTF8", "--locale=C", "--no-sync"]
        tool = LocalProcess(
            [*_unprivileged(), str(self._programs / "initdb"), "-D", str(folder / "data"), *options],
            folder / "output.log",
        )
        if (status := tool.wait()) != 0:
            raise ServiceUnavailable(f"initdb ended with {status}: {tool.last_output()}")

    def command(self, folder: Path) -> list[str]:
        settings = [part for key, value in _SETTINGS.items() for part in ("-c", f"{key}={value}")]
        program = str(self._programs / "postgres")
        return [*_unprivileged(), program, "-D", str(folder / "data"), "-p", str(self._port), *settings]


def _unprivileged() -> list[str]:
    """What to put before a command so that it does not run as root. Without `--pdeathsig` the change of user would make it forget
    that it is to die with us."""
    if os.geteuid() != 0:
        return []
    try:
        user = pwd.getpwnam(_USER)
    except KeyError as error:
        raise ServiceUnavailable(
            f"PostgreSQL does not run as root, and there is no user '{_USER}'",
            fix="apt-get install postgresql, or run as another user",
        ) from error
    return [
        "setpriv",
        f"--reuid={user.pw_uid}",
        f"--regid={user.pw_gid}",
        "--clear-groups",
        "--pdeathsig=keep",
    ]


def _programs() -> Path:
    """The folder of the newest server on this machine."""
    in_path = shutil.which("postgres")
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/postgres"), key=lambda p: int(p.parts[-3]))
    if in_path is None and not found:
        raise ServiceUnavailable(
            "there is no PostgreSQL server on this machine",
            fix="apt-get install postgresql, or set MILLSTREAM_TEST_POSTGRESQL=postgresql://...",
        )
    return Path(in_path).parent if in_path is not None else found[-1].parent
