"""The job of the exactly-once proof: a keyed event-time window from one Kafka topic to another. Run by `millstream run`."""

from __future__ import annotations

import json
import logging
import sys
import threading
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

from millstream import (
    AggregateFunction,
    Duration,
    JobClient,
    ProcessWindowFunction,
    StreamExecutionEnvironment,
    TumblingEventTimeWindows,
    WatermarkStrategy,
)
from millstream.connectors.kafka import (
    DeliveryGuarantee,
    KafkaOffsetsInitializer,
    KafkaRecordSerializationSchema,
    KafkaSink,
    KafkaSource,
    KafkaTopicPartition,
    SimpleStringSchema,
)


class SumAndCount(AggregateFunction):
    def create_accumulator(self) -> tuple[int, int]:
        return 0, 0

    def add(self, value: tuple[str, int], accumulator: tuple[int, int]) -> tuple[int, int]:
        return accumulator[0] + value[1], accumulator[1] + 1

    def get_result(self, accumulator: tuple[int, int]) -> tuple[int, int]:
        return accumulator

    def merge(self, one: tuple[int, int], other: tuple[int, int]) -> tuple[int, int]:
        return one[0] + other[0], one[1] + other[1]


class ToLine(ProcessWindowFunction):
    def process(self, key: str, context: Any, elements: Iterable[tuple[int, int]]) -> Iterator[str]:
        for total, count in elements:
            yield f"{key},{context.window().start},{total},{count}"


class HeldCommitter:
    """The real committer, which waits before a commit for as long as the file `gate` is there, and says so beside it."""

    def __init__(self, committer: Any, gate: Path) -> None:
        self._committer = committer
        self._gate = gate

    def commit(self, committables: Sequence[Any]) -> None:
        pause = threading.Event()
        while self._gate.exists():
            self._gate.with_suffix(".reached").touch()
            pause.wait(0.01)
        self._committer.commit(committables)

    def close(self) -> None:
        self._committer.close()


class HeldSink:
    """A sink whose committer can be held back from outside."""

    def __init__(self, sink: Any, gate: str) -> None:
        self._sink = sink
        self._gate = gate
        self.create_writer = sink.create_writer
        self.encode_committable = sink.encode_committable
        self.decode_committable = sink.decode_committable

    def create_committer(self) -> HeldCommitter:
        return HeldCommitter(self._sink.create_committer(), Path(self._gate))


def parse(value: bytes) -> tuple[str, int]:
    key, number = value.decode().split(",")
    return key, int(number)


def source_of(spec: dict[str, Any]) -> KafkaSource[Any]:
    builder = (
        KafkaSource.builder()
        .set_bootstrap_servers(spec["servers"])
        .set_topics(spec["input"])
        .set_group_id(spec["input"])
        .set_starting_offsets(KafkaOffsetsInitializer.earliest())
        .set_value_only_deserializer(parse)
        .set_properties(spec.get("source_properties", {}))
    )
    ends = {KafkaTopicPartition(spec["input"], p): end for p, end in enumerate(spec["ends"])}
    return builder.set_bounded(KafkaOffsetsInitializer.offsets(ends)).build()


def sink_of(spec: dict[str, Any]) -> Any:
    sink = (
        KafkaSink.builder()
        .set_bootstrap_servers(spec["servers"])
        .set_delivery_guarantee(DeliveryGuarantee[spec["guarantee"]])
        .set_transactional_id_prefix(spec["prefix"])
        .set_record_serializer(
            KafkaRecordSerializationSchema.builder()
            .set_topic(spec["output"])
            .set_value_serialization_schema(SimpleStringSchema())
            .build()
        )
        .set_properties(spec.get("sink_properties", {}))
        .build()
    )
    return HeldSink(sink, spec["gate"]) if "gate" in spec else sink


def take_savepoints(client: JobClient, orders: Path) -> None:
    """Until the job has ended: `<name>.trigger`, `<name>.stop` and `<name>.drain` in the folder ask for one, whose path goes into
    `<name>.path`."""
    pause = threading.Event()
    while not client.status.is_terminal():
        for order in orders.glob("*.[tsd]*"):
            if order.suffix == ".trigger":
                taken = client.trigger_savepoint(str(orders))
            else:
                taken = client.stop_with_savepoint(order.suffix == ".drain", str(orders))
            unfinished = order.with_suffix(".unfinished")
            unfinished.write_text(taken.result())
            order.unlink()
            unfinished.rename(order.with_suffix(".path"))
        pause.wait(0.02)
    client.wait()


def main() -> None:
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(name)s %(message)s")
    logging.getLogger("millstream.connectors.kafka").setLevel(logging.WARNING)  # librdkafka's own chatter
    spec = json.loads(sys.argv[1])
    env = StreamExecutionEnvironment.get_execution_environment()
    watermarks = WatermarkStrategy.for_bounded_out_of_orderness(Duration.of_millis(spec["out_of_order_ms"]))
    (
        env.from_source(source_of(spec), watermarks, "events")
        .key_by(lambda event: event[0])
        .window(TumblingEventTimeWindows.of(Duration.of_millis(spec["window_ms"])))
        .aggregate(SumAndCount(), ToLine())
        .sink_to(sink_of(spec))
    )
    if "orders" in spec:
        take_savepoints(env.execute_async("kafka-windows"), Path(spec["orders"]))
    else:
        env.execute("kafka-windows")


main()
