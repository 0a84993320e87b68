"""Where a service comes from: an address given, a container where Docker answers, a local process, or nowhere."""

from __future__ import annotations

import os
from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

from .containers import ContainerKafka, docker_answers
from .kafka import GivenKafka, KafkaBroker, LocalKafka

ADDRESS_VARIABLES: Final[Mapping[str, str]] = MappingProxyType({"kafka": "MILLSTREAM_TEST_KAFKA"})


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


def _find_kafka() -> KafkaBroker:
    address = os.environ.get(ADDRESS_VARIABLES["kafka"])
    if address:
        return GivenKafka(address)
    if docker_answers():
        return ContainerKafka()
    return LocalKafka()
