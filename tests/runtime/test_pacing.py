"""How much is sent ahead to receivers of all speeds."""

from dataclasses import dataclass

from hypothesis import given
from hypothesis import strategies as st

from millstream.core.batch import RecordBatch
from millstream.core.types import GENERIC
from millstream.runtime.exchange.channels import InputChannel
from millstream.runtime.exchange.codec import BatchCodec
from millstream.runtime.worker.pacing import FastestPace, Pace, PacedLocalChannel, PacedRemoteChannel

BATCH, CREDIT = 1_024, 4


@dataclass
class HandClock:
    """Stands still until it is set."""

    ms: int = 0

    def now_ms(self) -> int:
        return self.ms

    def monotonic_ms(self) -> int:
        return self.ms


def work(pace, clock, us_per_record, records):
    """A sender that fills the room there is, and a receiver that takes so long; how long the last batch waited."""
    waited_ms, due_us = 0, clock.ms * 1_000
    while records > 0:
        room = min(pace.room, BATCH)
        assert room > 0
        sent_ms = clock.ms
        pace.sent(room)
        due_us = max(due_us, clock.ms * 1_000) + room * us_per_record
        clock.ms = due_us // 1_000
        pace.taken()
        waited_ms = clock.ms - sent_ms
        records -= room
    return waited_ms


def test_a_quick_receiver_is_soon_sent_as_much_as_its_credit_allows():
    clock = HandClock()
    pace = Pace(clock, BATCH, CREDIT)
    work(pace, clock, us_per_record=1, records=20_000)
    assert pace.room == BATCH * CREDIT
    assert not pace.is_narrow


@given(st.integers(1_000, 150_000))
def test_what_waits_for_a_slow_receiver_is_soon_worth_no_more_than_a_moment(us_per_record):
    clock = HandClock()
    pace = Pace(clock, BATCH, CREDIT)
    assert work(pace, clock, us_per_record, records=2_000) <= 400


@given(st.integers(150_000, 5_000_000))
def test_to_the_slowest_receiver_one_record_goes_at_a_time(us_per_record):
    clock = HandClock()
    pace = Pace(clock, BATCH, CREDIT)
    work(pace, clock, us_per_record, records=1_000)
    assert 1 <= pace.room <= 2


def test_a_receiver_that_was_held_up_once_gets_full_batches_again():
    clock = HandClock()
    pace = Pace(clock, BATCH, CREDIT)
    work(pace, clock, us_per_record=1, records=20_000)
    work(pace, clock, us_per_record=2_000, records=5_000)
    assert pace.is_narrow
    work(pace, clock, us_per_record=1, records=20_000)
    assert pace.room == BATCH * CREDIT


def test_nothing_is_sent_while_the_window_is_full():
    clock = HandClock()
    pace = Pace(clock, BATCH, CREDIT)
    pace.sent(pace.room)
    assert pace.room == 0
    pace.taken()
    assert pace.room > 0


def test_where_one_of_several_receivers_is_chosen_the_one_with_most_room_counts():
    clock = HandClock()
    slow, quick = Pace(clock, BATCH, CREDIT), Pace(clock, BATCH, CREDIT)
    together = FastestPace([slow, quick])
    assert together.is_narrow
    slow.sent(slow.room)
    assert (slow.room, together.room) == (0, quick.room)
    work(quick, clock, us_per_record=1, records=20_000)
    assert together.room == quick.room == BATCH * CREDIT
    assert together.is_narrow


def test_the_credit_of_a_channel_falls_with_each_batch_and_comes_back():
    clock, sent = HandClock(), []
    received = InputChannel(0, BatchCodec(GENERIC), None)
    local = PacedLocalChannel(received, CREDIT, Pace(clock, BATCH, CREDIT))
    remote = PacedRemoteChannel(
        0, BatchCodec(GENERIC), lambda *frame: sent.append(frame), CREDIT, Pace(clock, BATCH, CREDIT)
    )
    for left in (3, 2):
        for channel in (local, remote):
            channel.send(RecordBatch([1]))
            assert channel.credit == left
    received.take()
    remote.add_credit(1)
    assert (local.credit, remote.credit) == (3, 3)
    for channel in (local, remote):
        channel.send(RecordBatch([0] * BATCH))
        assert not channel.has_room
        assert channel.credit == 0
