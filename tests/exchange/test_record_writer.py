from __future__ import annotations

import json
import os
import subprocess
import sys
from operator import itemgetter
from random import Random
from string import ascii_lowercase

import pytest
from hypothesis import given
from hypothesis import strategies as st

from millstream.core.batch import EndOfInput, PartialBatch, RecordBatch, Watermark
from millstream.core.types import GENERIC, InvalidKeyError, KeyEncoder, Types
from millstream.runtime.exchange.record_writer import KeyRouter, make_record_writer
from millstream.runtime.graph.stream_graph import (
    Broadcast,
    Custom,
    Forward,
    Global,
    Hash,
    Rebalance,
    Rescale,
    Shuffle,
)

BATCH = 4
identity = lambda value: value


class Channel:
    """Takes everything, as a local or a remote channel."""

    def __init__(self, *, is_local: bool = False) -> None:
        self.is_local = is_local
        self.credit = 4
        self.sent: list = []

    @property
    def has_room(self) -> bool:
        return self.credit > 0

    def send(self, batch: RecordBatch) -> None:
        self.sent.append(batch)

    def send_control(self, element) -> None:
        self.sent.append(element)

    @property
    def rows(self) -> list:
        """(value, timestamp) of every record."""
        return [
            (value, None if batch.timestamps is None else batch.timestamps[n])
            for batch in self.sent
            if isinstance(batch, RecordBatch)
            for n, value in enumerate(batch.values)
        ]


def writer_to(partitioner, count=3, *, is_local=False):
    channels = [Channel(is_local=is_local) for _ in range(count)]
    return make_record_writer(partitioner, channels, 128, BATCH), channels


BY_VALUE = Hash(identity, GENERIC)
PARTITIONERS = [
    BY_VALUE,
    Rebalance(),
    Rebalance(adaptive=True),
    Rescale(),
    Shuffle(),
    Global(),
    Custom(lambda key, count: key % count, lambda tagged: tagged[0]),
    Broadcast(),
    Forward(),
]
batches = st.lists(
    st.tuples(st.lists(st.integers(0, 30), max_size=15), st.booleans(), st.booleans()), max_size=8
)


@pytest.mark.parametrize("is_local", [True, False], ids=["local", "remote"])
@pytest.mark.parametrize("partitioner", PARTITIONERS, ids=lambda partitioner: type(partitioner).__name__)
@given(program=batches)
def test_nothing_is_lost_and_each_channel_keeps_the_order_of_production(
    partitioner, is_local, program
) -> None:
    count = 1 if isinstance(partitioner, Forward) else 3
    writer, channels = writer_to(partitioner, count, is_local=is_local)
    rows, sequence = [], 0
    for values, with_timestamps, flush in program:
        tagged = [(value, sequence := sequence + 1) for value in values]
        times = [number * 10 for _, number in tagged] if with_timestamps else None
        writer.emit(RecordBatch(tagged, times))
        rows += zip(tagged, times or [None] * len(tagged), strict=True)
        if flush:
            writer.flush()
    writer.flush()
    for channel in channels:
        numbers = [number for (_, number), _ in channel.rows]
        assert numbers == sorted(numbers)
        assert all(0 < len(batch) <= 2 * BATCH + 15 for batch in channel.sent)
    received = [channel.rows for channel in channels]
    if isinstance(partitioner, Broadcast):
        assert received == [rows] * count
    else:
        assert sorted((row for part in received for row in part), key=lambda row: row[0][1]) == rows
    assert writer.records_out == sum(map(len, received))


def test_rebalance_deals_records_one_by_one_over_all_batches() -> None:
    writer, channels = writer_to(Rebalance())
    writer.emit(RecordBatch([0, 1, 2, 3], [0, 1, 2, 3]))
    writer.emit(RecordBatch([4]))
    writer.emit(RecordBatch([5, 6, 7, 8, 9]))
    writer.flush()
    assert [[value for value, _ in channel.rows] for channel in channels] == [
        [0, 3, 6, 9],
        [1, 4, 7],
        [2, 5, 8],
    ]


def test_records_of_a_key_go_to_one_channel() -> None:
    writer, channels = writer_to(Hash(itemgetter(0), Types.STRING()))
    writer.emit(RecordBatch([(key, n) for n in range(5) for key in ascii_lowercase]))
    writer.flush()
    keys = [{value[0] for value, _ in channel.rows} for channel in channels]
    assert all(keys)
    assert sum(map(len, keys)) == 26


def test_partial_aggregates_go_to_the_channel_of_their_key_and_behind_the_records_before_them() -> None:
    writer, channels = writer_to(BY_VALUE)
    writer.emit(RecordBatch(list("abc"), [1, 2, 3]))
    writer.emit(PartialBatch([(key, 0, 1) for key in "abc"]))
    writer.emit(RecordBatch(list("abc"), [4, 5, 6]))
    writer.flush()
    for channel in channels:
        before, partials, after = channel.sent or ([], [], [])
        if channel.sent:
            assert type(partials) is PartialBatch
            assert [key for key, _, _ in partials.values] == before.values == after.values


def test_a_control_element_follows_everything_emitted_before_on_every_channel() -> None:
    writer, channels = writer_to(Rebalance())
    writer.emit(RecordBatch([1, 2]))
    writer.broadcast(Watermark(5))
    writer.broadcast(EndOfInput())
    assert [channel.sent for channel in channels] == [
        [RecordBatch([1]), Watermark(5), EndOfInput()],
        [RecordBatch([2]), Watermark(5), EndOfInput()],
        [Watermark(5), EndOfInput()],
    ]


def test_batches_with_and_without_timestamps_are_not_mixed() -> None:
    for partitioner in (BY_VALUE, Rebalance()):
        writer, channels = writer_to(partitioner, 2)
        writer.emit(RecordBatch([1, 2], [10, 20]))
        writer.emit(RecordBatch([3, 4]))
        writer.flush()
        rows = sorted(row for channel in channels for row in channel.rows if row[1] is None or row[0])
        assert sorted(rows, key=itemgetter(0)) == [(1, 10), (2, 20), (3, None), (4, None)]


def test_a_single_remote_channel_gathers_full_batches_and_a_local_one_passes_them_on() -> None:
    remote, (channel,) = writer_to(Forward(), 1)
    for n in range(5):
        remote.emit(RecordBatch([n], [n]))
    assert channel.sent == [RecordBatch([0, 1, 2, 3], [0, 1, 2, 3])]
    remote.emit(PartialBatch([("a", 0, 1)]))
    assert channel.sent[1:] == [RecordBatch([4], [4]), PartialBatch([("a", 0, 1)])]
    local, (channel,) = writer_to(Forward(), 1, is_local=True)
    batch = RecordBatch([1])
    local.emit(batch)
    assert channel.sent[0] is batch


def test_large_batches_travel_in_pieces() -> None:
    writer, (channel,) = writer_to(Forward(), 1)
    writer.emit(RecordBatch(list(range(20)), list(range(20))))
    assert [len(batch) for batch in channel.sent] == [BATCH] * 5
    writer.emit(PartialBatch([(n, 0, 1) for n in range(9)]))
    assert [type(batch) for batch in channel.sent[5:]] == [PartialBatch] * 3


def test_a_full_channel_stops_the_whole_task() -> None:
    writer, channels = writer_to(BY_VALUE)
    assert writer.has_room
    channels[1].credit = 0
    assert not writer.has_room


@pytest.mark.parametrize("key", [None, float("nan"), [1], {}], ids=repr)
def test_what_cannot_be_a_key_is_refused(key) -> None:
    writer, _ = writer_to(Hash(itemgetter(0), GENERIC))
    with pytest.raises(InvalidKeyError):
        writer.emit(RecordBatch([("a", 1), (key, 1)]))


@pytest.mark.parametrize("values", [[5], ["ab", 5]], ids=["first", "later"])
def test_a_type_error_of_the_key_selector_stays_itself(values) -> None:
    writer, _ = writer_to(Hash(itemgetter(0), GENERIC))
    with pytest.raises(TypeError, match="subscriptable"):
        writer.emit(RecordBatch(values))


def test_equal_numbers_are_one_key() -> None:
    for first in (1, 1.0, True):
        router = KeyRouter(KeyEncoder(GENERIC).encode, 128, 64)
        assert router[first] == KeyRouter(KeyEncoder(GENERIC).encode, 128, 64)[1]
        assert router[1] == router[1.0] == router[True]


ROUTES = """
import json, datetime, decimal, uuid
from millstream.core.types import GENERIC, KeyEncoder
from millstream.runtime.exchange.record_writer import KeyRouter
router = KeyRouter(KeyEncoder(GENERIC).encode, 128, 64)
keys = ["a", "é", 1, -5, 2**70, 1.5, True, b"x", ("a", (1, None)), frozenset("abcdef"),
        datetime.date(2026, 1, 1), decimal.Decimal("1.10"), uuid.UUID(int=7)]
print(json.dumps([router[key] for key in keys]))
"""


def test_routes_are_the_same_in_every_process() -> None:
    found = []
    for seed in ("0", "1", "4242"):
        result = subprocess.run(
            [sys.executable, "-c", ROUTES],
            env={**os.environ, "PYTHONHASHSEED": seed},
            capture_output=True,
            text=True,
            check=True,
        )
        found.append(json.loads(result.stdout))
    assert found[0] == found[1] == found[2]
    assert len(set(found[0])) > 5


def test_a_shuffle_uses_every_channel_and_the_same_ones_for_the_same_seed() -> None:
    def shuffled(seed):
        channels = [Channel() for _ in range(3)]
        writer = make_record_writer(Shuffle(), channels, 128, BATCH, random=Random(seed))
        writer.emit(RecordBatch(list(range(300)), list(range(300))))
        writer.flush()
        return [channel.rows for channel in channels]

    rows = shuffled("0 1")
    assert all(60 < len(part) < 140 for part in rows)
    assert all(value == timestamp for part in rows for value, timestamp in part)
    assert shuffled("0 1") == rows != shuffled("0 2")


def test_global_sends_records_to_the_first_channel_and_control_elements_to_all() -> None:
    writer, channels = writer_to(Global())
    writer.emit(RecordBatch([1, 2]))
    writer.broadcast(Watermark(3))
    assert [channel.rows for channel in channels] == [[(1, None), (2, None)], [], []]
    assert all(channel.sent[-1] == Watermark(3) for channel in channels)
    channels[1].credit = 0
    assert writer.has_room
    channels[0].credit = 0
    assert not writer.has_room


def test_an_adaptive_rebalance_spreads_over_the_channels_with_most_credit_and_waits_only_for_the_last_one() -> (
    None
):
    writer, channels = writer_to(Rebalance(adaptive=True))
    writer.emit(RecordBatch([0, 1, 2]))
    channels[1].credit = 1
    writer.emit(RecordBatch([3, 4, 5, 6]))
    channels[0].credit = 0
    writer.emit(RecordBatch([7], [7]))
    writer.flush()
    assert [len(channel.rows) for channel in channels] == [3, 1, 4]
    assert channels[2].rows[-1] == (7, 7)
    assert writer.has_room
    for channel in channels:
        channel.credit = 0
    assert not writer.has_room


@pytest.mark.parametrize("count", [1, 3])
def test_a_custom_partitioner_decides_for_each_key(count) -> None:
    asked = []

    def last_but(key, partitions):
        asked.append((key, partitions))
        return partitions - 1

    writer, channels = writer_to(Custom(last_but, itemgetter(0)), count)
    writer.emit(RecordBatch([("a", 1), ("b", 2)], [1, 2]))
    writer.flush()
    assert asked == [("a", count), ("b", count)]
    assert channels[-1].rows == [(("a", 1), 1), (("b", 2), 2)]


@pytest.mark.parametrize("answer", [-1, 3, None, "0"])
def test_a_custom_partitioner_that_names_no_channel_is_an_error(answer) -> None:
    writer, _ = writer_to(Custom(lambda key, count: answer, identity))
    with pytest.raises(ValueError, match=r"returned .* for the key 'k'.* from 0 to 2"):
        writer.emit(RecordBatch(["k"]))
