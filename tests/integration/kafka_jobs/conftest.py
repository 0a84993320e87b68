"""The window job as a fixture, and the seed of everything that is random."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from random import Random
from typing import Any

import pytest

from millstream.dev.kafka import KafkaBroker
from tests.integration.kafka_jobs.events import PARTITIONS
from tests.integration.kafka_jobs.job_process import WindowJob


@pytest.fixture
def random() -> Random:
    """Printed with a failure; MILLSTREAM_TEST_SEED repeats it."""
    seed = int(os.environ.get("MILLSTREAM_TEST_SEED") or Random().randrange(1 << 32))
    sys.stdout.write(f"MILLSTREAM_TEST_SEED={seed}\n")
    return Random(seed)


@pytest.fixture
def window_job(
    kafka: KafkaBroker, kafka_topic: Callable[..., str], tmp_path: Path
) -> Iterator[Callable[..., WindowJob]]:
    """Makes the one job of a test, with topics of its own; its processes do not outlive the test."""
    with ExitStack() as stack:

        def make(**options: Any) -> WindowJob:
            topics = kafka_topic(PARTITIONS, "events"), kafka_topic(PARTITIONS, "windows")
            servers = options.pop("servers", kafka.bootstrap_servers)
            return stack.enter_context(WindowJob(servers, topics, tmp_path, **options))

        yield make
