"""A real RabbitMQ for tests, demos and benchmarks: a broker of its own with its data, port mapper and cookie, as local processes."""

from __future__ import annotations

import json
import shutil
import socket
import subprocess
from pathlib import Path
from typing import ClassVar, Final, NamedTuple

from ..core.errors import MissingDependencyError
from .local_process import LocalProcess, ServiceUnavailable, free_ports
from .server import LocalServer

# Not the program in PATH, which insists on a service manager's user.
_SCRIPTS: Final = (Path("/usr/lib/rabbitmq/bin"), Path("/usr/local/sbin"), Path("/opt/rabbitmq/sbin"))
_CONTROL_TIMEOUT_S: Final = 60


class QueueDepth(NamedTuple):
    """Messages of a queue: waiting for a consumer, and delivered to one that has not acknowledged them."""

    ready: int
    unacknowledged: int


class LocalRabbitMQ(LocalServer):
    """Debian's broker; `url` is `amqp://guest:guest@127.0.0.1:port/%2F`.

    Args:
        certificates: a folder with `ca.pem`, `server.pem` and `server.key`: there is a TLS listener at `tls_port`, which asks clients
            for no certificate.
    """

    name: ClassVar[str] = "rabbitmq"

    def __init__(self, certificates: Path | None = None) -> None:
        try:
            import pika  # noqa: F401 (only asked whether it is there)
        except ImportError as error:
            raise MissingDependencyError("pika", "rabbitmq", needed_for="a RabbitMQ for tests") from error
        scripts = next((folder for folder in _SCRIPTS if (folder / "rabbitmq-server").exists()), None)
        epmd = shutil.which("epmd")
        if scripts is None or epmd is None:
            raise ServiceUnavailable(
                "there is no RabbitMQ server on this machine",
                fix="apt-get install rabbitmq-server, or set MILLSTREAM_TEST_RABBITMQ=amqp://...",
            )
        self._scripts: Final = scripts
        self._epmd_program: Final = epmd
        self._certificates: Final = certificates
        self._epmd: LocalProcess | None = None
        super().__init__()
        self._port, self.tls_port, self._epmd_port, self._dist_port = free_ports(4)

    @property
    def url(self) -> str:
        return f"amqp://guest:guest@127.0.0.1:{self._port}/%2F"

    def depth(self, queue: str) -> QueueDepth:
        """What is in a queue, of any type, as of a quarter of a second ago. Raises LookupError where there is no such queue."""
        columns = ("name", "messages_ready", "messages_unacknowledged")
        for row in json.loads(self.control("list_queues", *columns, "--formatter", "json", "--silent")):
            if row["name"] == queue:
                return QueueDepth(row["messages_ready"], row["messages_unacknowledged"])
        raise LookupError(queue)

    def close_connections(self, reason: str) -> None:
        """The broker closes every client's connection."""
        self.control("close_all_connections", reason)

    def flush(self) -> None:
        """Returns once all classic queues, exchanges and bindings declared so far are on the disk.

        The broker confirms some declarations before it has written them, so that a kill within the next seconds loses them. A new
        quorum queue needs a `restart()` instead.
        """
        self.control("eval", "mnesia:dump_log().")

    def control(self, *arguments: str) -> str:
        """What `rabbitmqctl` prints. Raises ServiceUnavailable with what it says."""
        assert self._folder is not None, "the broker was started"
        command = [
            "env",
            *self._environment(self._folder.path),
            str(self._scripts / "rabbitmqctl"),
            *arguments,
        ]
        done = subprocess.run(
            command, capture_output=True, text=True, timeout=_CONTROL_TIMEOUT_S, check=False
        )
        if done.returncode != 0:
            raise ServiceUnavailable(f"rabbitmqctl {arguments[0]} failed: {done.stdout}{done.stderr}")
        return done.stdout

    def answers(self) -> bool:
        """The listener is opened last, once all queues have been recovered."""
        try:
            with socket.create_connection(("127.0.0.1", self._port), timeout=2) as probe:
                probe.settimeout(5)
                probe.sendall(b"AMQP\x00\x00\x09\x01")
                return bool(probe.recv(1))
        except OSError:
            return False

    def start(self) -> None:
        if self._epmd is None:
            # In the foreground, so that it ends with us: the one that a broker starts by itself outlives it.
            self._epmd = LocalProcess(
                [self._epmd_program, "-port", str(self._epmd_port), "-address", "127.0.0.1"],
                Path("/dev/null"),
            )
        super().start()

    def stop(self) -> None:
        super().stop()
        if self._epmd is not None:
            self._epmd.stop()
        self._epmd = None

    def prepare(self, folder: Path) -> None:
        (folder / "home").mkdir()
        (folder / "rabbitmq.conf").write_text("\n".join(self._settings()) + "\n")
        (folder / "enabled_plugins").write_text("[].\n")
        # Quorum queues count their messages so often (ms), by default every five seconds.
        (folder / "advanced.config").write_text("[{rabbit, [{quorum_tick_interval, 200}]}].\n")

    def command(self, folder: Path) -> list[str]:
        return ["env", *self._environment(folder), str(self._scripts / "rabbitmq-server")]

    def _environment(self, folder: Path) -> list[str]:
        settings = {
            "HOME": folder / "home",  # of the cookie
            "ERL_EPMD_PORT": self._epmd_port,
            "ERL_EPMD_ADDRESS": "127.0.0.1",
            "RABBITMQ_NODENAME": f"millstream-{self._port}@localhost",
            "RABBITMQ_DIST_PORT": self._dist_port,
            "RABBITMQ_CONFIG_FILE": folder / "rabbitmq.conf",
            "RABBITMQ_ADVANCED_CONFIG_FILE": folder / "advanced.config",
            "RABBITMQ_ENABLED_PLUGINS_FILE": folder / "enabled_plugins",
            "RABBITMQ_MNESIA_BASE": folder / "data",
            "RABBITMQ_LOG_BASE": folder / "log",
            # The virtual machine itself instead of a script around it, so that signals reach it.
            "RUNNING_UNDER_SYSTEMD": "true",
        }
        return [f"{name}={value}" for name, value in settings.items()]

    def _settings(self) -> list[str]:
        settings = [
            f"listeners.tcp.1 = 127.0.0.1:{self._port}",
            "log.console = true",
            "log.console.level = warning",
            "log.file = false",
            # A developer's disk is often fuller than the broker likes.
            "disk_free_limit.absolute = 50MB",
        ]
        if self._certificates is not None:
            settings += [
                f"listeners.ssl.1 = 127.0.0.1:{self.tls_port}",
                f"ssl_options.cacertfile = {self._certificates / 'ca.pem'}",
                f"ssl_options.certfile = {self._certificates / 'server.pem'}",
                f"ssl_options.keyfile = {self._certificates / 'server.key'}",
                "ssl_options.verify = verify_none",
            ]
        return settings
