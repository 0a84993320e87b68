"""A real Apache ZooKeeper for tests and demos: one server, as a local process."""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar, Final

from ..core.errors import MissingDependencyError
from .maven import find_java, jars
from .server import LocalServer

ZOOKEEPER_VERSION: Final = "3.9.3"
# What the server cannot start without, though its own description calls it optional; and the last one to say why it does not.
_JARS: Final = (
    f"org.apache.zookeeper:zookeeper:{ZOOKEEPER_VERSION}",
    "io.dropwizard.metrics:metrics-core:4.1.12.1",
    "org.xerial.snappy:snappy-java:1.1.10.5",
    "org.slf4j:slf4j-simple:1.7.30",
)
_SHORT_LIVED_JVM: Final = ("-XX:TieredStopAtLevel=1", "-XX:+UseSerialGC", "-Xmx128m")


class LocalZooKeeper(LocalServer):
    """ZooKeeper from Maven Central; its `url` is the quorum, `host:port`."""

    name: ClassVar[str] = "zookeeper"

    def __init__(self) -> None:
        try:
            import kazoo  # noqa: F401 (only asked whether it is there)
        except ImportError as error:
            raise MissingDependencyError("kazoo", "zookeeper", needed_for="a ZooKeeper for tests") from error
        self._java: Final = find_java(at_least=17)
        self._jars: Final = jars(f"zookeeper-{ZOOKEEPER_VERSION}-1", _JARS)
        super().__init__()

    @property
    def url(self) -> str:
        return f"127.0.0.1:{self._port}"

    def answers(self) -> bool:
        from kazoo.client import KazooClient
        from kazoo.handlers.threading import KazooTimeoutError

        client = KazooClient(hosts=self.url)
        try:
            client.start(timeout=1)
        except KazooTimeoutError:
            return False
        else:
            return True
        finally:
            client.stop()
            client.close()

    def prepare(self, folder: Path) -> None:
        (folder / "zoo.cfg").write_text(
            f"dataDir={folder / 'data'}\nclientPort={self._port}\nclientPortAddress=127.0.0.1\n"
            "tickTime=500\nadmin.enableServer=false\n"
        )

    def command(self, folder: Path) -> list[str]:
        main_class = "org.apache.zookeeper.server.ZooKeeperServerMain"
        jvm = [self._java, *_SHORT_LIVED_JVM, "-Dorg.slf4j.simpleLogger.defaultLogLevel=warn"]
        return [*jvm, "-cp", f"{self._jars}/*", main_class, str(folder / "zoo.cfg")]
