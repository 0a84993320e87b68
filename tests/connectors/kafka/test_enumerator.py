"""What the enumerator decides, with a cluster made of dictionaries (the real one: tests/integration/kafka/test_source.py)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from millstream.connectors.kafka import KafkaOffsetResetStrategy, KafkaOffsetsInitializer, KafkaTopicPartition
from millstream.connectors.kafka.discovery import Subscription
from millstream.connectors.kafka.enumerator import EnumeratorSettings, KafkaSourceEnumerator
from millstream.connectors.kafka.offsets import resolve
from millstream.connectors.kafka.split import KafkaPartitionSplit
from millstream.core.errors import CheckpointError, ConnectorError

TP = KafkaTopicPartition
Offsets = KafkaOffsetsInitializer
EARLIEST = Offsets.earliest()


class DictCluster:
    """Partitions with (first, next, committed or None); the timestamp of a record is its offset."""

    def __init__(self, **partitions: tuple[int, int, int | None]) -> None:
        self.there = {TP("t", int(name[1:])): value for name, value in partitions.items()}
        self.away = False

    def partitions(self, subscription: Subscription) -> list[KafkaTopicPartition]:
        if self.away:
            raise ConnectorError("no broker", retryable=True)
        return sorted(self.there)

    def earliest(self, partitions: Sequence[TP]) -> dict[TP, int]:
        return {tp: self.there[tp][0] for tp in partitions}

    def latest(self, partitions: Sequence[TP]) -> dict[TP, int]:
        return {tp: self.there[tp][1] for tp in partitions}

    def at_timestamp(self, partitions: Sequence[TP], timestamp_ms: int) -> dict[TP, int]:
        return {tp: min(max(self.there[tp][0], timestamp_ms), self.there[tp][1]) for tp in partitions}

    def committed(self, partitions: Sequence[TP]) -> dict[TP, int]:
        return {tp: offset for tp in partitions if (offset := self.there[tp][2]) is not None}

    def close(self) -> None:
        pass


class Context:
    def __init__(self, parallelism: int) -> None:
        self.parallelism = parallelism
        self.given: dict[int, list[KafkaPartitionSplit]] = {subtask: [] for subtask in range(parallelism)}
        self.no_more: list[int] = []
        self.calls: list[tuple[Callable[[], Any], Callable[[Any], None], int | None]] = []

    def assign_splits(self, assignment: dict[int, list[KafkaPartitionSplit]]) -> None:
        for subtask, splits in assignment.items():
            self.given[subtask] += splits

    def signal_no_more_splits(self, subtask: int) -> None:
        self.no_more.append(subtask)

    def call_async(self, work: Any, handler: Any, *, period_ms: int | None = None) -> None:
        self.calls.append((work, handler, period_ms))

    def run(self) -> None:
        for work, handler, _ in self.calls:
            handler(work())


def enumerator(
    cluster: DictCluster,
    context: Context,
    restored: bytes | None = None,
    *,
    starting: Any = EARLIEST,
    stopping: Any = None,
    interval_ms: int | None = None,
) -> KafkaSourceEnumerator:
    settings = EnumeratorSettings(Subscription(topics=("t",)), starting, stopping, interval_ms)
    made = KafkaSourceEnumerator(settings, lambda: cluster, context, restored)
    made.start()
    return made


@given(st.integers(1, 5), st.integers(0, 20))
def test_splits_are_spread_evenly_in_order(parallelism: int, count: int) -> None:
    cluster = DictCluster(**{f"p{i}": (0, 9, None) for i in range(count)})
    context = Context(parallelism)
    made = enumerator(cluster, context, stopping=Offsets.latest())
    for subtask in reversed(range(parallelism)):
        made.add_reader(subtask)
    if count == 0:
        with pytest.raises(ConnectorError):
            context.run()
        return
    context.run()
    given_out = [[split.partition for split in context.given[s]] for s in range(parallelism)]
    assert given_out == [list(range(s, count, parallelism)) for s in range(parallelism)]
    assert sorted(context.no_more) == list(range(parallelism))


def test_splits_wait_for_their_reader_and_are_in_the_snapshot_meanwhile() -> None:
    cluster, context = DictCluster(p0=(1, 5, None), p1=(2, 6, None)), Context(2)
    made = enumerator(cluster, context)
    context.run()
    made.add_reader(1)
    assert context.given == {0: [], 1: [KafkaPartitionSplit("t", 1, 2)]}
    after = Context(1)
    restored = enumerator(cluster, after, made.snapshot_state(1))
    restored.add_splits_back([KafkaPartitionSplit("t", 1, 4)])
    restored.add_reader(0)
    assert after.calls == []  # looked already, and no discovery interval
    assert sorted(after.given[0], key=lambda s: s.partition) == [
        KafkaPartitionSplit("t", 0, 1),
        KafkaPartitionSplit("t", 1, 4),
    ]


def test_finished_splits_do_not_come_back() -> None:
    cluster, context = DictCluster(p0=(0, 5, None), p1=(0, 6, None)), Context(1)
    made = enumerator(cluster, context, stopping=Offsets.latest())
    context.run()
    made.add_reader(0)
    state = made.snapshot_state(1)
    after = Context(1)
    restored = enumerator(cluster, after, state, stopping=Offsets.latest())
    restored.add_splits_back([KafkaPartitionSplit("t", 1, 3, 6)])
    restored.add_reader(0)
    assert after.given[0] == [KafkaPartitionSplit("t", 1, 3, 6)]
    assert after.no_more == [0]


def test_later_partitions_start_at_their_beginning() -> None:
    cluster, context = DictCluster(p0=(3, 9, None)), Context(1)
    made = enumerator(cluster, context, starting=Offsets.latest(), interval_ms=1000)
    made.add_reader(0)
    context.run()
    cluster.there[TP("t", 1)] = (4, 8, None)
    context.run()
    context.run()
    assert context.given[0] == [KafkaPartitionSplit("t", 0, 9), KafkaPartitionSplit("t", 1, 4)]
    assert context.calls[0][2] == 1000


def test_a_restored_job_finds_what_appeared_while_it_was_down() -> None:
    cluster, context = DictCluster(p0=(0, 9, None)), Context(1)
    made = enumerator(cluster, context, starting=Offsets.latest(), interval_ms=1000)
    context.run()
    cluster.there[TP("t", 1)] = (0, 8, None)
    after = Context(1)
    restored = enumerator(cluster, after, made.snapshot_state(1), starting=Offsets.latest(), interval_ms=1000)
    restored.add_reader(0)
    after.run()
    assert after.given[0] == [KafkaPartitionSplit("t", 0, 9), KafkaPartitionSplit("t", 1, 0)]


def test_a_snapshot_before_the_first_look_restores_to_a_first_look() -> None:
    cluster, context = DictCluster(p0=(0, 9, None)), Context(1)
    made = enumerator(cluster, context, starting=Offsets.latest())
    after = Context(1)
    restored = enumerator(cluster, after, made.snapshot_state(1), starting=Offsets.latest())
    restored.add_reader(0)
    after.run()
    assert after.given[0] == [KafkaPartitionSplit("t", 0, 9)]


def test_no_broker_fails_the_first_look_and_not_the_later_ones() -> None:
    cluster, context = DictCluster(p0=(0, 9, None)), Context(1)
    cluster.away = True
    made = enumerator(cluster, context, interval_ms=1000)
    made.add_reader(0)
    with pytest.raises(ConnectorError):
        context.run()
    cluster.away = False
    context.run()
    cluster.away = True
    context.run()
    assert len(context.given[0]) == 1


def test_a_lost_readers_splits_are_given_out_again() -> None:
    cluster, context = DictCluster(p0=(0, 9, None), p1=(0, 9, None)), Context(2)
    made = enumerator(cluster, context)
    context.run()
    made.add_reader(0)
    made.add_reader(1)
    lost = list(context.given[1])
    made.add_splits_back(lost)
    assert context.given[1] == lost * 2


def test_the_state_of_a_later_release_is_refused() -> None:
    with pytest.raises(CheckpointError, match="format version 7"):
        enumerator(DictCluster(), Context(1), bytes.fromhex("9407 90 c2 90"))


@pytest.mark.parametrize(
    ("initializer", "expected"),
    [
        (Offsets.earliest(), {0: 1, 1: 2}),
        (Offsets.latest(), {0: 8, 1: 9}),
        (Offsets.timestamp(5), {0: 5, 1: 5}),
        (Offsets.committed_offsets(KafkaOffsetResetStrategy.EARLIEST), {0: 4, 1: 2}),
        (Offsets.committed_offsets(KafkaOffsetResetStrategy.LATEST), {0: 4, 1: 9}),
        (Offsets.offsets({TP("t", 1): 6}), {0: 4, 1: 6}),
        (Offsets.offsets({TP("t", 0): 0}), {0: 0, 1: 2}),
        (Offsets.offsets({}, KafkaOffsetResetStrategy.LATEST), {0: 4, 1: 9}),
    ],
)
def test_offsets_are_resolved(initializer: Any, expected: dict[int, int]) -> None:
    cluster = DictCluster(p0=(1, 8, 4), p1=(2, 9, None))
    found = resolve(initializer, sorted(cluster.there), cluster)
    assert {tp.partition: offset for tp, offset in found.items()} == expected


def test_a_missing_committed_offset_names_the_partition() -> None:
    cluster = DictCluster(p0=(1, 8, 4), p1=(2, 9, None))
    with pytest.raises(ConnectorError, match=r"no committed offset for t\[1\]") as caught:
        resolve(Offsets.committed_offsets(), sorted(cluster.there), cluster)
    assert "EARLIEST" in caught.value.fix
