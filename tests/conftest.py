"""What all tests share: services, the rule that CI skips nothing, hypothesis without timed assertions."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Generator, Iterator

import pytest
from _pytest.doctest import DoctestModule  # the only name there is for it
from hypothesis import settings

from millstream.core.errors import MillstreamError
from millstream.dev.kafka import KafkaBroker, create_topic
from millstream.dev.provide import (
    ADDRESS_VARIABLES,
    provide_kafka,
    provide_postgresql,
    provide_rabbitmq,
    provide_redis,
    provide_s3,
    provide_zookeeper,
)
from millstream.dev.s3 import s3_environment
from millstream.dev.server import Server
from tests.services.availability import refuse_skip, unavailable, unique_name

# A run started in the background of a script inherits an ignored SIGINT, and programs started by tests would ignore it too.
signal.signal(signal.SIGINT, signal.default_int_handler)

SERVICE_FIXTURES = frozenset(
    {"kafka", "kafka_topic", "postgresql", "rabbitmq", "redis_server", "s3", "s3_bucket", "zookeeper"}
)

# A loaded machine is not a failure: no deadline per example. Failing examples print how to repeat them.
settings.register_profile("millstream", deadline=None, print_blob=True)
settings.load_profile("millstream")


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--no-start-services",
        action="store_true",
        help="use services only where an address is given (MILLSTREAM_TEST_KAFKA=host:port); start none",
    )


@pytest.hookimpl(wrapper=True)
def pytest_collect_file() -> Generator[None, list[pytest.Collector], list[pytest.Collector]]:
    """No doctests below tests/: looking for them would import, and so run, the programs that tests start."""
    collectors = yield
    return [collector for collector in collectors if not isinstance(collector, DoctestModule)]


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """A test that uses a service is an integration test, whether it says so or not."""
    for item in items:
        if SERVICE_FIXTURES & set(getattr(item, "fixturenames", ())):
            item.add_marker(pytest.mark.integration)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    report = yield
    refuse_skip(report)
    return report


@pytest.hookimpl(wrapper=True)
def pytest_make_collect_report() -> Generator[None, pytest.CollectReport, pytest.CollectReport]:
    report = yield
    refuse_skip(report)
    return report


@pytest.fixture(scope="session")
def kafka(request: pytest.FixtureRequest) -> Iterator[KafkaBroker]:
    """A running Apache Kafka, one for each process of pytest's; a test that stops it starts it again before it ends."""
    if request.config.getoption("--no-start-services") and not os.environ.get("MILLSTREAM_TEST_KAFKA"):
        unavailable("this run starts no services", fix="make test-all")
    try:
        broker = provide_kafka()
    except MillstreamError as error:
        unavailable(error.what, fix=error.fix)
    yield broker
    broker.stop()


@pytest.fixture
def kafka_topic(kafka: KafkaBroker) -> Callable[..., str]:
    """`kafka_topic(partitions=2)` makes a topic that keeps its records however old, and returns its unique name."""

    def make(partitions: int = 1, prefix: str = "topic", **config: str) -> str:
        name = unique_name(prefix)
        settings = {key.replace("_", "."): value for key, value in config.items()}
        create_topic(kafka.bootstrap_servers, name, partitions=partitions, config=settings)
        return name

    return make


@pytest.fixture(scope="session")
def postgresql(request: pytest.FixtureRequest) -> Iterator[Server]:
    """A running PostgreSQL, one for each process of pytest's; a test that stops it starts it again before it ends."""
    yield from _server(request, "postgresql", provide_postgresql)


@pytest.fixture(scope="session")
def redis_server(request: pytest.FixtureRequest) -> Iterator[Server]:
    """A running Redis, as `postgresql`."""
    yield from _server(request, "redis", provide_redis)


@pytest.fixture(scope="session")
def rabbitmq(request: pytest.FixtureRequest) -> Iterator[Server]:
    """A running RabbitMQ, as `postgresql`; tests name their queues with `unique_name`."""
    yield from _server(request, "rabbitmq", provide_rabbitmq)


@pytest.fixture(scope="session")
def zookeeper(request: pytest.FixtureRequest) -> Iterator[Server]:
    """A running ZooKeeper, as `postgresql`; its `url` is the quorum."""
    yield from _server(request, "zookeeper", provide_zookeeper)


def _server(request: pytest.FixtureRequest, name: str, provide: Callable[[], Server]) -> Iterator[Server]:
    if request.config.getoption("--no-start-services") and not os.environ.get(ADDRESS_VARIABLES[name]):
        unavailable("this run starts no services", fix="make test-all")
    try:
        server = provide()
    except MillstreamError as error:
        unavailable(error.what, fix=error.fix)
    yield server
    server.stop()


@pytest.fixture(scope="session")
def s3(request: pytest.FixtureRequest) -> Iterator[Server]:
    """A running S3 server, as `postgresql`."""
    yield from _server(request, "s3", provide_s3)


@pytest.fixture
def s3_bucket(s3: Server, monkeypatch: pytest.MonkeyPatch) -> str:
    """`s3://<a new bucket>`, which this process and those it starts can reach."""
    from s3fs import S3FileSystem

    for name, value in s3_environment(s3.url).items():
        monkeypatch.setenv(name, value)
    S3FileSystem.clear_instance_cache()  # what an earlier test connected to
    bucket = unique_name("bucket")
    S3FileSystem().mkdir(bucket)
    return f"s3://{bucket}"
