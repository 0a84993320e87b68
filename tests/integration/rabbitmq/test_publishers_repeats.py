"""What a publisher sends again, with the ids that it had, counts once within the window: also what `RabbitMQSink` repeats."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from random import Random

import pytest

from millstream.dev.rabbitmq import QueueDepth
from millstream.dev.server import Server
from tests.integration.job_process import JobProcess
from tests.integration.kafka.harness import wait_until
from tests.integration.rabbitmq.broker import Reading, channel, declare, local, publish, source_of

WINDOW_MS = 600_000
PROGRAM = Path(__file__).with_name("sink_job.py")
RECORDS = 20_000


@pytest.mark.parametrize("parallelism", [1, 3])
def test_a_message_that_is_sent_again_long_after_it_was_acknowledged_counts_once(
    rabbitmq: Server, parallelism: int
) -> None:
    broker, queue = local(rabbitmq), declare(rabbitmq)
    source = source_of(rabbitmq, queue).set_deduplication_window(WINDOW_MS).build()
    publish(rabbitmq, queue, [*range(50), *range(50)])
    reading = Reading(source, parallelism)
    reading.read(50)
    reading.read_until(lambda: sum(r._ledger.owed for r in reading.readers) == 100, "all hundred are there")
    reading.checkpoint()
    wait_until(lambda: broker.depth(queue) == QueueDepth(0, 0), "the queue is empty")
    reading.read_until(
        lambda: not any(r._ledger._ids for r in reading.readers), "acknowledgements are certain"
    )
    restored = reading.checkpoint()
    reading.close()
    again = Reading(source, parallelism + 1, restored)
    publish(rabbitmq, queue, range(60))
    again.read(10)
    again.read_until(lambda: sum(r._ledger.owed for r in again.readers) == 60, "all sixty are there")
    assert sorted(map(int, again.run.values)) == list(range(50, 60))
    assert sorted(map(int, reading.run.values)) == list(range(50))
    again.checkpoint()
    again.close()
    wait_until(lambda: broker.depth(queue) == QueueDepth(0, 0), "the queue is empty")


@pytest.mark.chaos
@pytest.mark.timeout(300)
def test_what_a_sink_repeats_after_its_workers_were_killed_counts_once(
    rabbitmq: Server, tmp_path: Path
) -> None:
    """Every record arrives at least once, each with an id of its own, and some twice; a source of this runtime counts each once."""
    queue, random = declare(rabbitmq), Random(7)
    with JobProcess(PROGRAM, tmp_path, {"url": rabbitmq.url, "queue": queue, "records": RECORDS}) as job:
        job.start(2)
        for _ in range(3):
            job.next_checkpoint(random.randrange(1, 3))
            job.kill_a_worker(random)
        assert job.ended() == 0, job.tail()
    with channel(rabbitmq) as opened:
        written = opened.queue_declare(queue, passive=True).method.message_count
    assert written > RECORDS, "nothing was repeated: the test shows nothing"
    reading = Reading(source_of(rabbitmq, queue).set_deduplication_window(WINDOW_MS).build(), 2)
    done = Counter[str]()

    def all_there() -> bool:
        for _ in range(200):
            reading.poll_all()
        reading.checkpoint()
        done.update(reading.run.values)
        reading.run.values.clear()
        return len(done) == RECORDS and rabbitmq.depth(queue) == QueueDepth(0, 0)

    reading.read_until(all_there, "every record, and an empty queue")
    reading.close()
    assert set(done.values()) == {1}
    assert sorted(json.loads(text) for text in done) == list(range(RECORDS))
