"""The local broker: usable, restartable, and gone when its owner is gone."""

from __future__ import annotations

import signal
import subprocess
import sys
import textwrap
from pathlib import Path

import psutil
import pytest
from confluent_kafka import Consumer, Producer, TopicPartition

from millstream.dev.kafka import KafkaBroker, LocalKafka
from millstream.dev.local_process import ServiceFolder
from tests.services.availability import unavailable

# 2001: with the broker's usual retention such records are deleted within minutes.
LONG_AGO_MS = 1_000_000_000_000


def produce(bootstrap_servers: str, topic: str, values: list[bytes]) -> None:
    producer = Producer({"bootstrap.servers": bootstrap_servers})
    for n, value in enumerate(values):
        producer.produce(topic, value, partition=n % 2, timestamp=LONG_AGO_MS + n)
    assert producer.flush(30) == 0


def read_all(bootstrap_servers: str, topic: str, count: int) -> list[bytes]:
    consumer = Consumer(
        {"bootstrap.servers": bootstrap_servers, "group.id": "unused", "auto.offset.reset": "earliest"}
    )
    consumer.assign([TopicPartition(topic, partition, 0) for partition in (0, 1)])
    values = []
    while len(values) < count:
        message = consumer.poll(30)
        assert message is not None, f"{len(values)} of {count} records within 30 s"
        assert message.error() is None
        values.append(message.value())
    consumer.close()
    return values


def test_what_is_produced_is_consumed(kafka: KafkaBroker, kafka_topic) -> None:
    topic = kafka_topic(partitions=2)
    values = [b"%d" % n for n in range(1_000)]
    produce(kafka.bootstrap_servers, topic, values)
    assert sorted(read_all(kafka.bootstrap_servers, topic, 1_000)) == sorted(values)


@pytest.mark.parametrize("how", ["in order", "kill -9"])
def test_records_survive_a_restart_on_the_same_address(kafka: KafkaBroker, kafka_topic, how: str) -> None:
    topic = kafka_topic(partitions=2)
    address = kafka.bootstrap_servers
    values = [b"%d" % n for n in range(100)]
    produce(address, topic, values)
    if how == "in order":
        kafka.restart()
    else:
        kafka.kill()
        kafka.start()
    assert kafka.bootstrap_servers == address
    assert sorted(read_all(address, topic, 100)) == sorted(values)


def test_the_broker_dies_with_a_killed_owner_and_the_next_one_removes_its_folder(kafka: KafkaBroker) -> None:
    if not isinstance(kafka, LocalKafka):
        unavailable("this test is about the local process", fix="unset MILLSTREAM_TEST_KAFKA, stop Docker")
    program = textwrap.dedent(
        """
        from millstream.dev.kafka import LocalKafka
        broker = LocalKafka()
        broker.start()
        print(broker.pid, broker._folder.path, flush=True)
        input()
        """
    )
    root = Path(__file__).parents[2]
    with subprocess.Popen(
        [sys.executable, "-c", program], cwd=root, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as owner:
        assert owner.stdout is not None
        pid, folder = owner.stdout.readline().split()
        broker = psutil.Process(int(pid))
        assert broker.is_running()
        owner.send_signal(signal.SIGKILL)
    psutil.wait_procs([broker], timeout=10)
    assert not broker.is_running() or broker.status() == psutil.STATUS_ZOMBIE
    assert Path(folder).is_dir()

    ServiceFolder("kafka").remove()
    assert not Path(folder).is_dir()
