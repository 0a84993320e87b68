"""Transactions whose broker dies between deciding them and telling the partitions."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from millstream.connectors.kafka.transaction_client import TransactionClient
from millstream.dev.kafka import KafkaBroker
from tests.integration.kafka.harness import (
    CLOCK,
    checkpoint,
    committed_values,
    exactly_once_sink,
    hanging,
    through_bytes,
    writer_context,
)

pytestmark = [pytest.mark.chaos, pytest.mark.timeout(300)]

ROUNDS = 4
PARTITIONS = 8


def end_and_kill(kafka: KafkaBroker, client: TransactionClient, committable: Any, *, commit: bool) -> None:
    """The broker has written down the decision and, as likely as not, no marker."""
    code = client.end(committable.transactional_id, committable.producer_id, committable.epoch, commit=commit)
    kafka.kill()
    assert code == 0
    kafka.start()


def test_a_commit_is_visible_in_every_partition_although_the_broker_dies_right_after_deciding_it(
    kafka: KafkaBroker, kafka_topic: Callable[..., str]
) -> None:
    topic = kafka_topic(PARTITIONS)
    client = TransactionClient({"bootstrap.servers": kafka.bootstrap_servers}, CLOCK)
    expected = []
    for number in range(ROUNDS):
        sink = exactly_once_sink(kafka.bootstrap_servers, topic, f"tx-{topic}-{number}")
        writer = sink.create_writer(writer_context())
        values = [f"{number}.{i}" for i in range(200)]
        expected += values
        writer.write_batch(values, None)
        (committable,) = through_bytes(sink, checkpoint(writer, 1))
        writer.close()
        end_and_kill(kafka, client, committable, commit=True)
        committer = sink.create_committer()
        committer.commit([committable])
        committer.close()
        assert hanging(kafka.bootstrap_servers, topic, PARTITIONS) == 0
    client.close()
    assert committed_values(kafka.bootstrap_servers, topic, PARTITIONS) == sorted(expected)


def test_an_aborted_transaction_hangs_nowhere_although_the_broker_dies_right_after_deciding_it(
    kafka: KafkaBroker, kafka_topic: Callable[..., str]
) -> None:
    topic = kafka_topic(PARTITIONS)
    client = TransactionClient({"bootstrap.servers": kafka.bootstrap_servers}, CLOCK)
    for number in range(ROUNDS):
        sink = exactly_once_sink(kafka.bootstrap_servers, topic, f"tx-{topic}-{number}")
        writer = sink.create_writer(writer_context())
        writer.write_batch([f"{number}.{i}" for i in range(200)], None)
        (committable,) = through_bytes(sink, checkpoint(writer, 1))
        writer.close()
        end_and_kill(kafka, client, committable, commit=False)
        sink.create_writer(
            writer_context(attempt=2)
        ).close()  # the next attempt knows nothing of the committable
        assert hanging(kafka.bootstrap_servers, topic, PARTITIONS) == 0
    client.close()
    assert committed_values(kafka.bootstrap_servers, topic, PARTITIONS) == []
