"""Where a service comes from: an address given, a container where Docker answers, a local process, or nowhere."""

from __future__ import annotations

import os
from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

from .containers import ContainerKafka, docker_answers
from .kafka import GivenKafka, KafkaBroker, LocalKafka
from .postgresql import LocalPostgreSQL
from .rabbitmq import LocalRabbitMQ
from .redis import LocalRedis
from .s3 import LocalS3
from .server import GivenServer, LocalServer, Server
from .zookeeper import LocalZooKeeper

ADDRESS_VARIABLES: Final[Mapping[str, str]] = MappingProxyType(
    {
        "kafka": "MILLSTREAM_TEST_KAFKA",
        "postgresql": "MILLSTREAM_TEST_POSTGRESQL",
        "rabbitmq": "MILLSTREAM_TEST_RABBITMQ",
        "redis": "MILLSTREAM_TEST_REDIS",
        "s3": "MILLSTREAM_TEST_S3",
        "zookeeper": "MILLSTREAM_TEST_ZOOKEEPER",
    }
)


def provide_kafka() -> KafkaBroker:
    """A running Kafka; the caller stops it.

    Raises:
        ServiceUnavailable: none can be had here; the error says why and which command would help.
        MissingDependencyError: the extra `kafka` is not installed.
    """
    broker = _find_kafka()
    try:
        broker.start()
    except BaseException:
        broker.stop()
        raise
    return broker


def provide_postgresql() -> Server:
    """A running PostgreSQL; the caller stops it. Raises as `provide_kafka`."""
    return _provide("postgresql", LocalPostgreSQL)


def provide_rabbitmq() -> Server:
    """A running RabbitMQ; the caller stops it. Raises as `provide_kafka`."""
    return _provide("rabbitmq", LocalRabbitMQ)


def provide_redis() -> Server:
    """A running Redis; the caller stops it. Raises as `provide_kafka`."""
    return _provide("redis", LocalRedis)


def provide_s3() -> Server:
    """A running S3 server; the caller stops it. Raises as `provide_kafka`."""
    return _provide("s3", LocalS3)


def provide_zookeeper() -> Server:
    """A running ZooKeeper; the caller stops it. Raises as `provide_kafka`."""
    return _provide("zookeeper", LocalZooKeeper)


def _provide(name: str, local: type[LocalServer]) -> Server:
    url = os.environ.get(ADDRESS_VARIABLES[name])
    server: Server = GivenServer(url, ADDRESS_VARIABLES[name]) if url else local()
    try:
        server.start()
    except BaseException:
        server.stop()
        raise
    return server


def _find_kafka() -> KafkaBroker:
    address = os.environ.get(ADDRESS_VARIABLES["kafka"])
    if address:
        return GivenKafka(address)
    if docker_answers():
        return ContainerKafka()
    return LocalKafka()
