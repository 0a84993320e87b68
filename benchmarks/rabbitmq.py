"""`python -m benchmarks.rabbitmq`: RabbitMQ -> count at parallelism 1, against a bare pika consumer with the same prefetch.

Both read the same number of messages from a queue that was filled before, in turn, from a broker on this machine. The bare consumer
acknowledges every thousandth delivery and all before it; the job when a checkpoint has completed. The bar: 0.7 of the bare one.
"""

from __future__ import annotations

import json
import statistics
import tempfile
import time
from pathlib import Path
from typing import Any, Final

import typer
from rich.console import Console

from millstream import WatermarkStrategy
from millstream.connectors.base import SinkWriterContext
from millstream.connectors.rabbitmq import RabbitMQSource, RMQConnectionConfig
from millstream.dev.provide import provide_rabbitmq

from . import figures, jobs

BAR: Final = 0.7
PREFETCH: Final = 10_000
ACKNOWLEDGED_TOGETHER: Final = 1_000
BODY: Final = b"x" * 100


class Stopwatch:
    """Time from the first records to the last, and how many came after the first."""

    def __init__(self) -> None:
        self._first_s: float | None = None
        self._last_s = 0.0
        self._count = 0

    def saw(self, records: int) -> None:
        """They are here now."""
        now = time.perf_counter()
        if self._first_s is None:
            self._first_s = now
            return
        self._last_s = now
        self._count += records

    @property
    def per_s(self) -> float:
        """Records a second."""
        assert self._first_s is not None
        return self._count / (self._last_s - self._first_s)


class TimedSink:
    """Writes how many records a second came into a file."""

    def __init__(self, path: str) -> None:
        self._path = path

    def create_writer(self, context: SinkWriterContext[Any]) -> TimedWriter:
        return TimedWriter(Path(self._path))


class TimedWriter:
    """The writer of `TimedSink`."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._watch = Stopwatch()

    def write_batch(self, values: list[Any], timestamps: list[int] | None) -> None:
        self._watch.saw(len(values))

    def flush(self, end_of_input: bool) -> None:
        if end_of_input:
            self._path.write_text(json.dumps(self._watch.per_s))

    def close(self) -> None:
        pass


def fill(url: str, queue: str, messages: int) -> None:
    """So many messages with different correlation ids, in a queue that is declared anew."""
    import pika

    with pika.BlockingConnection(pika.URLParameters(url)) as connection:
        channel = connection.channel()
        channel.queue_delete(queue)
        channel.queue_declare(queue, durable=True)
        for number in range(messages):
            channel.basic_publish("", queue, BODY, pika.BasicProperties(correlation_id=str(number)))
        while channel.queue_declare(queue, passive=True).method.message_count < messages:
            connection.sleep(0.05)


def bare_per_s(url: str, queue: str, messages: int) -> float:
    """A consumer written with pika alone."""
    import pika

    watch, count = Stopwatch(), 0
    with pika.BlockingConnection(pika.URLParameters(url)) as connection:
        channel = connection.channel()
        channel.basic_qos(prefetch_count=PREFETCH)

        def on_message(channel: Any, method: Any, _properties: Any, _body: bytes) -> None:
            nonlocal count
            count += 1
            if count == 1 or count % ACKNOWLEDGED_TOGETHER == 0:
                watch.saw(ACKNOWLEDGED_TOGETHER if count > 1 else 1)
                channel.basic_ack(method.delivery_tag, multiple=True)
            if count == messages:
                channel.stop_consuming()

        channel.basic_consume(queue, on_message)
        channel.start_consuming()
    return watch.per_s


def job_per_s(url: str, queue: str, messages: int, *, with_ids: bool) -> float:
    """A job that counts, with a checkpoint every 200 ms."""
    config = RMQConnectionConfig.Builder().set_uri(url).set_prefetch_count(PREFETCH).build()
    source = (
        RabbitMQSource.builder()
        .set_connection_config(config)
        .set_queue_name(queue)
        .set_use_correlation_id(with_ids)
        .set_bounded(messages)
        .set_value_only_deserializer(bytes)
        .build()
    )
    with tempfile.TemporaryDirectory() as folder:
        settings = {
            "parallelism.default": "1",
            "execution.checkpointing.interval": "200 ms",
            "execution.checkpointing.dir": f"{folder}/checkpoints",
        }
        env = jobs.environment(settings)
        result = Path(folder) / "per-s"
        stream = env.from_source(source, WatermarkStrategy.no_watermarks(), "messages")
        stream.sink_to(TimedSink(str(result)))
        env.execute("count")
        return float(json.loads(result.read_text()))


def main(messages: int = 200_000, runs: int = 3) -> None:
    """Measure RUNS times in turn, MESSAGES messages each."""
    bare: list[float] = []
    plain: list[float] = []
    with_ids: list[float] = []
    broker = provide_rabbitmq()
    try:
        for _ in range(runs):
            fill(broker.url, "bench", messages)
            bare.append(bare_per_s(broker.url, "bench", messages))
            fill(broker.url, "bench", messages)
            plain.append(job_per_s(broker.url, "bench", messages, with_ids=False))
            fill(broker.url, "bench", messages)
            with_ids.append(job_per_s(broker.url, "bench", messages, with_ids=True))
    finally:
        broker.stop()
    outcomes = [
        _outcome("RabbitMQ -> count, at least once / bare pika", plain, bare),
        _outcome("RabbitMQ -> count, each correlation id once / bare pika", with_ids, bare),
    ]
    Console().print(figures.as_table(outcomes))
    Console().print(f"written to {figures.write(outcomes, 'rabbitmq')}")


def _outcome(name: str, subject: list[float], bare: list[float]) -> figures.Outcome:
    ratios = [ours / theirs for ours, theirs in zip(subject, bare, strict=True)]
    ratio = statistics.median(ratios)
    details = {
        "lowest_ratio": min(ratios),
        "highest_ratio": max(ratios),
        "records_per_s": statistics.median(subject),
        "per_s": subject,
        "bare_per_s": bare,
    }
    return figures.Outcome(name, ratio, "x", BAR, ratio >= BAR, details)


if __name__ == "__main__":
    typer.run(main)
