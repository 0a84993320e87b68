"""Services in containers, where Docker answers; testcontainers removes them also when this process is killed."""

from __future__ import annotations

import importlib.util
import shutil
import subprocess
from typing import TYPE_CHECKING, Final

from .kafka import KAFKA_VERSION, answers, broker_settings
from .local_process import ServiceUnavailable, free_ports

if TYPE_CHECKING:
    from testcontainers.core.container import DockerContainer

_DOCKER_TIMEOUT_S: Final = 10
_READY_TIMEOUT_S: Final = 60


def docker_answers() -> bool:
    """Whether containers can be started here: Docker's command line reaches a daemon, and testcontainers is installed."""
    docker = shutil.which("docker")
    if docker is None or importlib.util.find_spec("testcontainers") is None:
        return False
    # The Python client would leave an unclosed socket behind where nobody answers.
    command = [docker, "version", "--format", "{{.Server.Version}}"]
    try:
        return (
            subprocess.run(command, capture_output=True, timeout=_DOCKER_TIMEOUT_S, check=False).returncode
            == 0
        )
    except subprocess.TimeoutExpired:
        return False


class ContainerKafka:
    """Apache Kafka's own image, listening on a port of this machine that stays the same across restarts."""

    def __init__(self) -> None:
        [self._port] = free_ports(1)
        self._container: DockerContainer | None = None

    @property
    def bootstrap_servers(self) -> str:
        return f"127.0.0.1:{self._port}"

    def start(self) -> None:
        if self._container is None:
            self._container = self._describe()
            self._container.start()
        else:
            self._container.get_wrapped_container().start()
        self._await_ready()

    def stop(self) -> None:
        if self._container is not None:
            self._container.stop()
        self._container = None

    def kill(self) -> None:
        if self._container is not None:
            self._container.get_wrapped_container().kill()

    def restart(self) -> None:
        if self._container is not None:
            self._container.get_wrapped_container().restart()
        self._await_ready()

    def _describe(self) -> DockerContainer:
        from testcontainers.core.container import DockerContainer

        settings = broker_settings(
            listen="PLAINTEXT://0.0.0.0:9092,CONTROLLER://0.0.0.0:9093",
            advertise=self.bootstrap_servers,
            controller="localhost:9093",
        )
        container = DockerContainer(f"apache/kafka:{KAFKA_VERSION}").with_bind_ports(9092, self._port)
        for key, value in settings.items():
            container = container.with_env(environment_name(key), value)
        return container

    def _await_ready(self) -> None:
        if not answers(self.bootstrap_servers, timeout_s=_READY_TIMEOUT_S):
            raise ServiceUnavailable(
                f"Kafka in its container did not answer within {_READY_TIMEOUT_S} s",
                where=self.bootstrap_servers,
            )


def environment_name(setting: str) -> str:
    """The variable that Kafka's image turns into this broker setting.

    >>> environment_name("log.retention.ms")
    'KAFKA_LOG_RETENTION_MS'
    """
    return "KAFKA_" + setting.replace(".", "_").upper()
