"""Drives the Kafka source and sink through their protocols against a real broker, in this process and in ones that get killed."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Self

from confluent_kafka import Consumer, IsolationLevel, KafkaException, Producer, TopicPartition
from confluent_kafka.admin import AdminClient, OffsetSpec

from millstream.connectors.base import (
    EndOfSource,
    NothingAvailable,
    SinkWriterContext,
    SourceBatch,
    SourceReaderContext,
    SplitFinished,
)
from millstream.connectors.kafka import (
    DeliveryGuarantee,
    KafkaRecordSerializationSchema,
    KafkaSink,
    KafkaSource,
    SimpleStringSchema,
)
from millstream.core.clock import SystemClock

CLOCK = SystemClock()
CHILD = Path(__file__).with_name("sink_child.py")
ROOT = Path(__file__).parents[3]


def wait_until(condition: Callable[[], Any], what: str, timeout_s: float = 30) -> Any:
    """The first true answer of `condition`."""
    pause = threading.Event()
    deadline_ms = CLOCK.monotonic_ms() + timeout_s * 1000
    while not (answer := condition()):
        assert CLOCK.monotonic_ms() < deadline_ms, f"waited {timeout_s} s for {what}"
        pause.wait(0.02)
    return answer


# -- sink ---------------------------------------------------------------------------------------------------------------


def exactly_once_sink(bootstrap_servers: str, topic: str, prefix: str, **properties: Any) -> Any:
    return (
        KafkaSink.builder()
        .set_bootstrap_servers(bootstrap_servers)
        .set_record_serializer(
            KafkaRecordSerializationSchema.builder()
            .set_topic(topic)
            .set_value_serialization_schema(SimpleStringSchema())
            .build()
        )
        .set_delivery_guarantee(DeliveryGuarantee.EXACTLY_ONCE)
        .set_transactional_id_prefix(prefix)
        .set_properties(
            {"linger.ms": 0, **{key.replace("_", "."): value for key, value in properties.items()}}
        )
        .build()
    )


def writer_context(
    subtask: int = 0, parallelism: int = 1, pending: Iterable[Any] = (), attempt: int = 1
) -> SinkWriterContext[Any]:
    pending = tuple(pending)
    return SinkWriterContext(
        subtask=subtask,
        parallelism=parallelism,
        job_id="0" * 32,
        job_name="test",
        attempt=attempt,
        restored_checkpoint_id=1 if pending else None,
        restored_state=(),
        pending_committables=pending,
        clock=CLOCK,
    )


def checkpoint(writer: Any, checkpoint_id: int) -> list[Any]:
    writer.flush(end_of_input=False)
    return writer.prepare_commit(checkpoint_id)


def through_bytes(sink: Any, committables: Sequence[Any]) -> list[Any]:
    """As after a crash: nothing but the encoded form is left."""
    return [sink.decode_committable(sink.encode_committable(committable)) for committable in committables]


def run_child(tmp_path: Path, sink: dict[str, Any], steps: list[list[Any]]) -> list[bytes]:
    """Run `steps` with a writer and a committer in another process, which ends itself with SIGKILL after them.

    Returns the encoded committables of all its `precommit` steps."""
    answer = tmp_path / "committables.json"
    answer.unlink(missing_ok=True)
    plan = json.dumps({"sink": sink, "steps": steps, "answer": str(answer)})
    ended = subprocess.run(
        [sys.executable, str(CHILD), plan], cwd=ROOT, capture_output=True, text=True, timeout=60, check=False
    )
    assert ended.returncode == -9, ended.stderr
    return [bytes.fromhex(item) for item in json.loads(answer.read_text())] if answer.exists() else []


# -- what others see ----------------------------------------------------------------------------------------------------


def produce(bootstrap_servers: str, topic: str, values: Iterable[Any], **kwargs: Any) -> None:
    producer = Producer({"bootstrap.servers": bootstrap_servers, "linger.ms": 0})
    for value in values:
        producer.produce(topic, value, **kwargs)
    assert producer.flush(30) == 0


def committed_values(bootstrap_servers: str, topic: str, partitions: int = 1) -> list[str]:
    """Everything a read_committed consumer gets, sorted; asserts that it gets to the end (no hanging transaction)."""
    consumer = Consumer(
        {
            "bootstrap.servers": bootstrap_servers,
            "group.id": "check",
            "isolation.level": "read_committed",
            "enable.partition.eof": True,
            "auto.offset.reset": "earliest",
            "enable.auto.commit": False,
        }
    )
    wait_until(
        lambda: hanging(bootstrap_servers, topic, partitions) == 0, "the last stable offset to reach the end"
    )
    consumer.assign([TopicPartition(topic, p, 0) for p in range(partitions)])
    values, ended = [], 0
    while ended < partitions:
        for message in consumer.consume(1000, 0.1):
            if message.error() is None:
                values.append(message.value().decode())
            else:
                assert message.error().name() == "_PARTITION_EOF", message.error()
                ended += 1
    consumer.close()
    return sorted(values)


def hanging(bootstrap_servers: str, topic: str, partitions: int = 1) -> int:
    """How many offsets lie behind the last stable offset: 0 if no transaction hangs."""
    admin = AdminClient({"bootstrap.servers": bootstrap_servers})

    def sum_of_ends(level: IsolationLevel) -> tuple[int] | None:
        asked = {TopicPartition(topic, p): OffsetSpec.latest() for p in range(partitions)}
        found = admin.list_offsets(asked, isolation_level=level, request_timeout=10)
        try:
            return (sum(future.result().offset for future in found.values()),)
        except KafkaException as error:
            # A broker that has just started may not know yet that it leads; librdkafka's admin client leaves asking again to us.
            if error.args[0].name() in {
                "UNKNOWN_LEADER_EPOCH",
                "FENCED_LEADER_EPOCH",
                "NOT_LEADER_FOR_PARTITION",
            }:
                return None
            raise

    levels = (IsolationLevel.READ_COMMITTED, IsolationLevel.READ_UNCOMMITTED)
    (stable,), (end,) = (wait_until(lambda: sum_of_ends(level), "the ends of the topic") for level in levels)  # noqa: B023 (used up in the same turn)
    return end - stable


# -- source -------------------------------------------------------------------------------------------------------------


class SourceJob:
    """One attempt of a source: its enumerator with helper threads, and its readers."""

    def __init__(
        self,
        source: KafkaSource[Any],
        parallelism: int = 1,
        restored: tuple[bytes, list[bytes]] | None = None,
    ) -> None:
        self.source = source
        self.parallelism = parallelism
        self.periodic: list[tuple[Callable[[], Any], Callable[[Any], None]]] = []
        self.assigned: dict[int, list[str]] = {subtask: [] for subtask in range(parallelism)}
        self.values: list[Any] = []
        self.timestamps: list[int] = []
        self.finished: list[str] = []
        self.batch_sizes: list[int] = []
        self.ended: set[int] = set()
        self._work: list[tuple[Any, Callable[[Any], None]]] = []
        self._threads = ThreadPoolExecutor(1)
        self.enumerator = source.create_enumerator(self, restored[0] if restored else None)
        self.readers = [
            source.create_reader(SourceReaderContext(subtask, parallelism, "test", CLOCK))
            for subtask in range(parallelism)
        ]
        self.enumerator.start()
        if restored:
            self.enumerator.add_splits_back([source.decode_split(split) for split in restored[1]])
        for subtask, reader in enumerate(self.readers):
            reader.start()
            self.enumerator.add_reader(subtask)

    # SplitEnumeratorContext
    def assign_splits(self, assignment: dict[int, list[Any]]) -> None:
        for subtask, splits in assignment.items():
            self.assigned[subtask] += [split.split_id for split in splits]
            sent = [self.source.decode_split(self.source.encode_split(split)) for split in splits]
            self.readers[subtask].add_splits(sent)

    def signal_no_more_splits(self, subtask: int) -> None:
        self.readers[subtask].notify_no_more_splits()

    def call_async(
        self, work: Callable[[], Any], handler: Callable[[Any], None], *, period_ms: int | None = None
    ) -> None:
        if period_ms is not None:
            self.periodic.append((work, handler))
        self._work.append((self._threads.submit(work), handler))

    def discover_again(self) -> None:
        """As when the discovery interval passed."""
        for work, handler in self.periodic:
            self._work.append((self._threads.submit(work), handler))
        self.finish_work()

    def finish_work(self) -> None:
        pending, self._work = self._work, []
        for future, handler in pending:
            handler(future.result(60))

    def step(self, max_records: int = 1000) -> bool:
        """Poll every reader once; whether anything came."""
        moved = False
        for subtask, reader in enumerate(self.readers):
            match reader.poll_next(max_records):
                case SourceBatch(_, values, timestamps):
                    self.values += values
                    self.timestamps += timestamps
                    self.batch_sizes.append(len(values))
                    moved = True
                case SplitFinished(split_id):
                    self.finished.append(split_id)
                    moved = True
                case EndOfSource():
                    self.ended.add(subtask)
                case NothingAvailable():
                    pass
        return moved

    def read(self, count: int, max_records: int = 1000) -> list[Any]:
        """Poll until `count` values came in all."""
        wait_until(
            lambda: (self.step(max_records) and len(self.values) >= count) or len(self.values) >= count,
            f"{count} records",
        )
        return self.values

    def read_to_end(self, max_records: int = 1000) -> list[Any]:
        """Poll until every reader ended."""
        wait_until(
            lambda: (self.step(max_records), len(self.ended) == self.parallelism)[1], "the end of the source"
        )
        return self.values

    def snapshot(self, checkpoint_id: int = 1) -> tuple[bytes, list[bytes]]:
        splits = [split for reader in self.readers for split in reader.snapshot_state(checkpoint_id)]
        return self.enumerator.snapshot_state(checkpoint_id), [
            self.source.encode_split(split) for split in splits
        ]

    def close(self) -> None:
        for reader in self.readers:
            reader.close()
        self.enumerator.close()
        self._threads.shutdown()

    def __enter__(self) -> Self:
        try:
            self.finish_work()
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
