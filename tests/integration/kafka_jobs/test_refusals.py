"""What a user reads when Kafka or the settings for it are wrong: one clear error through `millstream run`, and exit code 1."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from millstream.dev.kafka import KafkaBroker
from millstream.dev.local_process import free_ports
from tests.integration.kafka_jobs.job_process import WindowJob

FAST_GIVING_UP = {"bootstrap.timeout.ms": 1500}


def refused(job: WindowJob, **settings: str) -> str:
    """What the job printed, which must end by itself with exit code 1."""
    job.start(settings={key.replace("__", ".").replace("_", "-"): value for key, value in settings.items()})
    status = job.ended()
    assert status == 1, job.tail()
    assert "Traceback" not in job.log(), job.tail()
    return " ".join(job.log().split())  # as it was before it was wrapped


def test_a_missing_input_topic(window_job: Callable[..., WindowJob]) -> None:
    said = refused(window_job(events=10, input="no-such-events"))
    assert "topic 'no-such-events'" in said
    assert "create the topic, or correct its name" in said


def test_a_missing_output_topic(window_job: Callable[..., WindowJob]) -> None:
    said = refused(window_job(events=10, output="no-such-windows"))
    assert "topic 'no-such-windows'" in said
    assert "create the topic, or correct its name" in said


@pytest.mark.parametrize("guarantee", ["EXACTLY_ONCE", "NONE"])
def test_an_unreachable_broker(window_job: Callable[..., WindowJob], guarantee: str) -> None:
    (port,) = free_ports(1)
    servers = f"127.0.0.1:{port}"
    properties = {"source_properties": FAST_GIVING_UP, "sink_properties": FAST_GIVING_UP}
    said = refused(window_job(events=10, servers=servers, guarantee=guarantee, **properties))
    assert "no broker answered" in said
    assert servers in said
    assert "bootstrap.timeout.ms" in said


@pytest.mark.parametrize(
    ("properties", "to_check"),
    [
        ({"security.protocol": "ssl"}, "security.protocol"),
        (
            {
                "security.protocol": "sasl_plaintext",
                "sasl.mechanism": "PLAIN",
                "sasl.username": "nobody",
                "sasl.password": "wrong",
            },
            "security.protocol",
        ),
    ],
)
def test_wrong_security_settings(
    window_job: Callable[..., WindowJob], properties: dict[str, Any], to_check: str
) -> None:
    properties = {**FAST_GIVING_UP, **properties}
    said = refused(window_job(events=10, source_properties=properties, sink_properties=properties))
    assert to_check in said


def test_a_transaction_timeout_above_what_the_broker_allows(window_job: Callable[..., WindowJob]) -> None:
    said = refused(window_job(events=10, sink_properties={"transaction.timeout.ms": 3_600_000}))
    assert "transaction.timeout.ms=3600000" in said
    assert "transaction.max.timeout.ms of the brokers" in said


def test_a_transaction_timeout_that_a_slow_checkpoint_would_outlive(
    window_job: Callable[..., WindowJob], kafka: KafkaBroker
) -> None:
    job = window_job(events=10, sink_properties={"transaction.timeout.ms": 60_000})
    said = refused(job)
    assert "60 s after it began, but the job may take 60.3 s" in said
    assert "execution.checkpointing.timeout" in said
    assert job.attempts() == 0  # nothing was started
