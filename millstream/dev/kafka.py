"""A real Apache Kafka for tests, demos and benchmarks: one KRaft node, given, in a container, or a local process."""

from __future__ import annotations

import signal
from collections.abc import Mapping, Sequence
from types import TracebackType
from typing import TYPE_CHECKING, Final, Protocol

from ..core.errors import MissingDependencyError
from .local_process import LocalProcess, ServiceFolder, ServiceUnavailable, free_ports
from .maven import find_java, jars

if TYPE_CHECKING:
    from typing import Self

KAFKA_VERSION: Final = "4.4.0"
# Without the last one the broker says nothing at all, not even why it does not start.
_JARS: Final = (
    f"org.apache.kafka:kafka_2.13:{KAFKA_VERSION}",
    "org.apache.logging.log4j:log4j-slf4j-impl:2.25.5",
)
# Ready in two thirds of the time, with half the CPU; at full load for minutes the JVM's own choice would be faster.
SHORT_LIVED_JVM: Final = ("-XX:TieredStopAtLevel=1", "-XX:+UseSerialGC", "-Xmx512m")
# Any 16 bytes; the same on purpose, a broker of ours has one node and its own folder.
_CLUSTER_ID: Final = "millstreamLocalBrokerA"
_READY_ATTEMPTS: Final = 120


class KafkaBroker(Protocol):
    """A broker that a test may use and, where it belongs to us, stop and start."""

    @property
    def bootstrap_servers(self) -> str:
        """`host:port`, the same across restarts."""

    def start(self) -> None:
        """Returns when the broker answers a metadata request. Data of an earlier start of this object is there again."""

    def stop(self) -> None:
        """Ends the broker and deletes its data. Harmless when called again."""

    def kill(self) -> None:
        """`kill -9`; data and port stay for the next `start()`."""

    def restart(self) -> None:
        """An orderly shutdown and a start, on the same port and data."""


class LocalKafka:
    """A broker as a child process, with its data under the temporary directory; it never outlives this process.

    Use it from the main thread, as a context manager or with `start()` and `stop()`.

    Args:
        jvm_options: benchmarks pass `("-Xmx512m",)`, for the compiler that is slow to start and fast in the end.

    Raises:
        ServiceUnavailable: Java or Kafka's jars are missing, or the broker does not start.
        MissingDependencyError: the extra `kafka` is not installed.
    """

    def __init__(self, jvm_options: Sequence[str] = SHORT_LIVED_JVM) -> None:
        self._jvm_options: Final = tuple(jvm_options)
        self._java: Final = find_java(at_least=17)
        self._jars: Final = jars(f"kafka-{KAFKA_VERSION}", _JARS)
        _require_client()
        self._port, self._controller_port = free_ports(2)
        self._folder: ServiceFolder | None = None
        self._process: LocalProcess | None = None

    @property
    def bootstrap_servers(self) -> str:
        return f"127.0.0.1:{self._port}"

    @property
    def pid(self) -> int | None:
        """The broker's process id while it runs."""
        return self._process.pid if self._process is not None and self._process.is_alive() else None

    def start(self) -> None:
        if self.pid is not None:
            return
        if self._folder is None:
            self._folder = ServiceFolder("kafka")
            self._format(self._folder)
        self._process = self._launch(self._folder, "kafka.Kafka", "server.properties")
        self._await_ready(self._process)

    def stop(self) -> None:
        if self._process is not None:
            self._process.stop(signal.SIGKILL)  # its data is deleted next: nothing to shut down in order
        self._process = None
        if self._folder is not None:
            self._folder.remove()
        self._folder = None

    def kill(self) -> None:
        if self._process is not None:
            self._process.stop(signal.SIGKILL)

    def restart(self) -> None:
        if self._process is not None:
            self._process.stop()
        self.start()

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.stop()

    def _format(self, folder: ServiceFolder) -> None:
        settings = broker_settings(
            listen=f"PLAINTEXT://127.0.0.1:{self._port},CONTROLLER://127.0.0.1:{self._controller_port}",
            advertise=self.bootstrap_servers,
            controller=f"127.0.0.1:{self._controller_port}",
        )
        lines = {**settings, "log.dirs": str(folder.path / "data")}
        text = "".join(f"{key}={value}\n" for key, value in lines.items())
        (folder.path / "server.properties").write_text(text)
        tool = self._launch(
            folder,
            "kafka.tools.StorageTool",
            "format",
            "-t",
            _CLUSTER_ID,
            "-c",
            "server.properties",
            "--standalone",
        )
        if (status := tool.wait()) != 0:
            raise ServiceUnavailable(f"Kafka's storage tool ended with {status}: {tool.last_output()}")

    def _launch(self, folder: ServiceFolder, main_class: str, *arguments: str) -> LocalProcess:
        command = [
            self._java,
            *self._jvm_options,
            "-Dorg.apache.logging.log4j.level=WARN",
            "-cp",
            f"{self._jars}/*",
            main_class,
            *(str(folder.path / a) if a == "server.properties" else a for a in arguments),
        ]
        return LocalProcess(command, folder.path / "output.log")

    def _await_ready(self, process: LocalProcess) -> None:
        for _ in range(_READY_ATTEMPTS):
            if not process.is_alive():
                raise ServiceUnavailable(f"Kafka did not start: {process.last_output()}")
            if answers(self.bootstrap_servers, timeout_s=1):
                return
        raise ServiceUnavailable(
            f"Kafka did not answer within {_READY_ATTEMPTS} s: {process.last_output()}",
            where=self.bootstrap_servers,
        )


class GivenKafka:
    """A broker somebody else runs, known by its address. It can be used but neither stopped nor restarted."""

    def __init__(self, bootstrap_servers: str) -> None:
        _require_client()
        self._bootstrap_servers: Final = bootstrap_servers

    @property
    def bootstrap_servers(self) -> str:
        return self._bootstrap_servers

    def start(self) -> None:
        if not answers(self._bootstrap_servers, timeout_s=10):
            raise ServiceUnavailable(
                "the Kafka given in MILLSTREAM_TEST_KAFKA does not answer",
                where=self._bootstrap_servers,
                fix="start it, or unset MILLSTREAM_TEST_KAFKA so that one is started",
            )

    def stop(self) -> None:
        """Leaves it running."""

    def kill(self) -> None:
        raise self._not_ours()

    def restart(self) -> None:
        raise self._not_ours()

    def _not_ours(self) -> ServiceUnavailable:
        return ServiceUnavailable(
            "a broker given in MILLSTREAM_TEST_KAFKA cannot be restarted by a test",
            where=self._bootstrap_servers,
            fix="unset MILLSTREAM_TEST_KAFKA, so that a local one is started",
        )


def broker_settings(*, listen: str, advertise: str, controller: str) -> Mapping[str, str]:
    """The configuration of a one-node broker that answers at once and deletes nothing by itself."""
    return {
        "process.roles": "broker,controller",
        "node.id": "1",
        "listeners": listen,
        "advertised.listeners": f"PLAINTEXT://{advertise}",
        "listener.security.protocol.map": "PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT",
        "controller.listener.names": "CONTROLLER",
        "controller.quorum.bootstrap.servers": controller,
        "auto.create.topics.enable": "false",
        # A killed broker may register again once its session is over: after 4 seconds instead of 9.
        "broker.heartbeat.interval.ms": "500",
        "broker.session.timeout.ms": "4000",
        "offsets.topic.replication.factor": "1",
        "offsets.topic.num.partitions": "4",
        "transaction.state.log.replication.factor": "1",
        "transaction.state.log.min.isr": "1",
        "transaction.state.log.num.partitions": "4",
        "share.coordinator.state.topic.replication.factor": "1",
        "share.coordinator.state.topic.min.isr": "1",
        "share.coordinator.state.topic.num.partitions": "4",
        "group.initial.rebalance.delay.ms": "0",
        # Test data is dated years ago; with the default of seven days it would be deleted within minutes.
        "log.retention.ms": "-1",
        "log.retention.bytes": "-1",
        # Timed-out transactions are aborted when they time out, not up to ten seconds later.
        "transaction.abort.timed.out.transaction.cleanup.interval.ms": "1000",
    }


def answers(bootstrap_servers: str, *, timeout_s: float) -> bool:
    """Whether a broker there answers a metadata request and names itself, waiting up to `timeout_s`."""
    from confluent_kafka import KafkaException
    from confluent_kafka.admin import AdminClient

    client = AdminClient({"bootstrap.servers": bootstrap_servers, "log_level": 0})
    try:
        return bool(client.list_topics(timeout=timeout_s).brokers)
    except KafkaException:
        return False


def create_topic(
    bootstrap_servers: str, name: str, *, partitions: int = 1, config: Mapping[str, str] | None = None
) -> None:
    """A topic that keeps everything (`retention.ms=-1`); returns when every partition has a leader.

    Raises:
        ServiceUnavailable: the broker refused, or no leader was elected within 30 seconds.
    """
    from confluent_kafka import KafkaException
    from confluent_kafka.admin import AdminClient
    from confluent_kafka.cimpl import NewTopic

    client = AdminClient({"bootstrap.servers": bootstrap_servers})
    topic = NewTopic(name, partitions, 1, config={"retention.ms": "-1", **(config or {})})
    try:
        client.create_topics([topic])[name].result(30)
        for _ in range(300):
            described = client.list_topics(name, timeout=10).topics[name]
            if len(described.partitions) == partitions and all(
                p.leader >= 0 for p in described.partitions.values()
            ):
                return
            client.poll(0.1)  # what librdkafka offers for letting time pass
    except KafkaException as error:
        raise ServiceUnavailable(
            f"topic {name} could not be created: {error}", where=bootstrap_servers
        ) from error
    raise ServiceUnavailable(f"topic {name} got no leader within 30 s", where=bootstrap_servers)


def _require_client() -> None:
    try:
        import confluent_kafka  # noqa: F401 (only asked whether it is there)
    except ImportError as error:
        raise MissingDependencyError("confluent-kafka", "kafka", needed_for="a Kafka for tests") from error
