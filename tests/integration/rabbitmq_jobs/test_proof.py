"""Exactly-once from RabbitMQ while workers get kill -9, the broker restarts, and the job is resumed at another parallelism."""

from __future__ import annotations

import os
import sys
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from random import Random
from typing import Any

import pika
import pytest

from millstream.dev.kafka import KafkaBroker
from millstream.dev.rabbitmq import LocalRabbitMQ, QueueDepth
from millstream.dev.server import Server
from tests.integration.job_process import JobProcess
from tests.integration.kafka.harness import committed_values, wait_until
from tests.services.availability import unavailable, unique_name

pytestmark = [pytest.mark.chaos, pytest.mark.timeout(600)]

PROGRAM = Path(__file__).with_name("window_job.py")
MESSAGES = 100_000
KEYS = 200
WINDOW = 20
WORKER_KILLS = 6


class RabbitMQJob(JobProcess):
    """The job on a quorum queue of its own, which is full before it starts."""

    def __init__(self, broker: LocalRabbitMQ, folder: Path, **spec: Any) -> None:
        self.broker = broker
        self.queue = unique_name("proof")
        given = {
            "url": broker.url,
            "queue": self.queue,
            "messages": MESSAGES,
            "window": WINDOW,
            "prefetch": 100,  # of 4 subtasks, 5 times a second: the job lasts for as long as it is to be killed
            **spec,
        }
        super().__init__(PROGRAM, folder, given)

    def fill(self) -> None:
        """Every message with an id of its own. Then the broker restarts: a quorum queue that is a few seconds old would not survive
        its kill -9."""
        with pika.BlockingConnection(pika.URLParameters(self.broker.url)) as connection:
            channel = connection.channel()
            channel.queue_declare(self.queue, durable=True, arguments={"x-queue-type": "quorum"})
            for number in range(MESSAGES):
                properties = pika.BasicProperties(delivery_mode=2, correlation_id=f"id-{number}")
                channel.basic_publish("", self.queue, f"k{number % KEYS}".encode(), properties)
            wait_until(lambda: self.ready() == MESSAGES, "all messages are in the queue")
        self.broker.restart()

    def ready(self) -> int:
        """Messages that wait for a consumer."""
        with pika.BlockingConnection(pika.URLParameters(self.broker.url)) as connection:
            found = connection.channel().queue_declare(self.queue, passive=True)
            return int(found.method.message_count)

    def taken(self, random: Random) -> None:
        """Until the job has taken some more messages: a moment that nobody chose. A queue that has just been recovered says 0 at first."""
        left = self.wait_for(self.ready, "the queue's count")
        wanted = left - random.randrange(100, 2_000)
        self.wait_for(lambda: self.ready() <= wanted, f"{wanted} messages left")

    def check(self, lines: list[str]) -> None:
        """Every id in one window, once, and nothing left at the broker."""
        ids = Counter(id_ for line in lines for id_ in line.partition(": ")[2].split())
        twice = [id_ for id_, count in ids.items() if count > 1]
        assert not twice, f"{len(twice)} ids were counted more than once, e.g. {twice[:3]}"
        assert len(ids) == MESSAGES, f"{MESSAGES - len(ids)} ids were not counted"
        assert len(lines) == MESSAGES // WINDOW
        wait_until(lambda: self.broker.depth(self.queue) == QueueDepth(0, 0), "the queue is empty")


@pytest.fixture
def random() -> Random:
    """Printed with a failure; MILLSTREAM_TEST_SEED repeats it."""
    seed = int(os.environ.get("MILLSTREAM_TEST_SEED") or Random().randrange(1 << 32))
    sys.stdout.write(f"MILLSTREAM_TEST_SEED={seed}\n")
    return Random(seed)


@pytest.fixture
def broker(rabbitmq: Server) -> LocalRabbitMQ:
    if not isinstance(rabbitmq, LocalRabbitMQ):
        unavailable("this test restarts the broker", fix="unset MILLSTREAM_TEST_RABBITMQ")
    return rabbitmq


def kill_and_resume(job: RabbitMQJob, random: Random) -> None:
    """At parallelism 4 until six workers were killed and the broker restarted twice, then at 2 to the end."""
    job.fill()
    job.start(4)
    job.next_checkpoint()
    for number in range(WORKER_KILLS):
        if random.random() < 0.7:  # otherwise the new attempt may be hit while it restores
            job.next_checkpoint()
        job.taken(random)
        job.kill_a_worker(random, of=4)
        if number == 1:
            job.broker.restart()
        elif number == 3:
            job.broker.kill()
            job.broker.start()
    job.next_checkpoint()
    job.kill_everything()
    assert wait_until(job.ready, "something left to do") > 0
    job.spec["prefetch"] = 2_000
    job.start(2)
    assert job.ended() == 0, job.tail()
    assert job.attempts() >= 2 + WORKER_KILLS


def test_every_id_is_counted_once_in_files(broker: LocalRabbitMQ, tmp_path: Path, random: Random) -> None:
    out = tmp_path / "out"
    with RabbitMQJob(broker, tmp_path, out=str(out)) as job:
        kill_and_resume(job, random)
        files = [path for path in out.rglob("*") if path.is_file() and not path.name.startswith(".")]
        job.check([line for path in files for line in path.read_text().splitlines()])


def test_every_id_is_counted_once_in_kafka(
    broker: LocalRabbitMQ,
    kafka: KafkaBroker,
    kafka_topic: Callable[..., str],
    tmp_path: Path,
    random: Random,
) -> None:
    topic = kafka_topic(2, "counted")
    spec = {"servers": kafka.bootstrap_servers, "output": topic, "prefix": f"tx-{topic}"}
    with RabbitMQJob(broker, tmp_path, **spec) as job:
        kill_and_resume(job, random)
        job.check(committed_values(kafka.bootstrap_servers, topic, 2))
