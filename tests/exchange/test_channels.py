"""Credit-based flow control, as a game of two ends and a wire that delivers whenever it likes."""

from __future__ import annotations

from collections import deque

from hypothesis import given
from hypothesis import strategies as st

from millstream.core.batch import EndOfInput, RecordBatch, Watermark
from millstream.core.types import GENERIC
from millstream.runtime.exchange.channels import InputChannel, LocalOutputChannel, RemoteOutputChannel
from millstream.runtime.exchange.codec import CONTROL, BatchCodec

ROOM = 3


class Wire:
    """One connection with several channels: frames one way, credit the other, both in order."""

    def __init__(self, channels: int) -> None:
        codec = BatchCodec(GENERIC)
        self.frames: deque = deque()
        self.credit: deque = deque()
        self.outputs = [
            RemoteOutputChannel(n, codec, lambda *frame: self.frames.append(frame), ROOM)
            for n in range(channels)
        ]
        self.inputs = [
            InputChannel(n, codec, lambda channel, batches: self.credit.append((channel, batches)))
            for n in range(channels)
        ]

    def deliver_frame(self) -> None:
        if self.frames:
            kind, channel, payload = self.frames.popleft()
            self.inputs[channel].put_frame(kind, memoryview(payload))

    def deliver_credit(self) -> None:
        if self.credit:
            channel, batches = self.credit.popleft()
            self.outputs[channel].add_credit(batches)

    def in_flight(self, channel: int) -> int:
        on_the_wire = sum(1 for kind, to, _ in self.frames if to == channel and kind != CONTROL)
        return on_the_wire + self.inputs[channel].queued_batches


channels = st.integers(0, 1)
moves = st.one_of(
    st.tuples(st.just("batch"), channels),
    st.tuples(st.just("batch if there is room"), channels),
    st.tuples(st.just("control"), channels),
    st.tuples(st.just("take"), channels),
    st.tuples(st.just("take and put back"), channels),
    st.tuples(st.just("set aside"), channels),
    st.just(("deliver frame", 0)),
    st.just(("deliver credit", 0)),
)


@given(st.lists(moves, max_size=60))
def test_a_sender_never_exceeds_the_room_and_every_element_keeps_its_place(program) -> None:
    wire = Wire(2)
    sent: list[list] = [[], []]
    got: list[list] = [[], []]
    for number, (move, channel) in enumerate(program):
        output, received = wire.outputs[channel], wire.inputs[channel]
        match move:
            case "batch":  # a task that was in the middle of its work when the room ended
                sent[channel].append(RecordBatch([number], [number]))
                output.send(sent[channel][-1])
            case "batch if there is room" if output.has_room:
                sent[channel].append(RecordBatch([number]))
                output.send(sent[channel][-1])
            case "control":
                sent[channel].append(Watermark(number))
                output.send_control(sent[channel][-1])
            case "take" if received:
                got[channel].append(received.take())
            case "take and put back" if received:
                element = received.take()
                if isinstance(element, RecordBatch):
                    received.put_back(element)
                else:
                    got[channel].append(element)
            case "set aside":
                waits = received.queued_batches > 0
                assert received.set_aside() is waits
                assert received.queued_batches == 0
            case "deliver frame":
                wire.deliver_frame()
            case "deliver credit":
                wire.deliver_credit()
        assert all(wire.in_flight(n) <= ROOM for n in (0, 1))
    while any(len(got[n]) < len(sent[n]) for n in (0, 1)):
        wire.deliver_frame()
        wire.deliver_credit()
        for n in (0, 1):
            if wire.inputs[n]:
                got[n].append(wire.inputs[n].take())
    assert got == sent
    while wire.credit:
        wire.deliver_credit()
    assert [output.credit for output in wire.outputs] == [ROOM, ROOM]  # each batch was given back once


def test_a_blocked_channel_does_not_hold_up_another_on_the_same_connection() -> None:
    wire = Wire(2)
    for _ in range(2 * ROOM):
        wire.outputs[0].send(RecordBatch(["nobody takes it"]))
    assert not wire.outputs[0].has_room
    for n in range(10 * ROOM):
        assert wire.outputs[1].has_room
        wire.outputs[1].send(RecordBatch([n]))
        while not wire.inputs[1]:
            wire.deliver_frame()
        assert wire.inputs[1].take() == RecordBatch([n])
        wire.deliver_credit()
    assert wire.inputs[0].queued_batches == ROOM


def test_control_elements_need_no_credit_but_do_not_overtake() -> None:
    wire = Wire(1)
    for n in range(ROOM):
        wire.outputs[0].send(RecordBatch([n]))
    wire.outputs[0].send_control(Watermark(1))
    assert len(wire.frames) == ROOM + 1
    wire.outputs[0].send(RecordBatch(["waits"]))
    wire.outputs[0].send_control(EndOfInput())
    assert len(wire.frames) == ROOM + 1
    wire.outputs[0].add_credit(1)
    assert len(wire.frames) == ROOM + 3


def test_the_rest_of_a_batch_comes_next_and_takes_up_room() -> None:
    wire = Wire(1)
    wire.outputs[0].send(RecordBatch([1, 2]))
    wire.outputs[0].send_control(Watermark(1))
    wire.deliver_frame()
    wire.deliver_frame()
    channel = wire.inputs[0]
    assert channel.take() == RecordBatch([1, 2])
    channel.put_back(RecordBatch([2]))
    assert channel.queued_batches == 1
    assert [channel.take(), channel.take()] == [RecordBatch([2]), Watermark(1)]
    assert list(wire.credit) == [(0, 1)]  # given once
    assert not channel


def test_within_a_process_batches_are_handed_over_until_the_queue_is_full() -> None:
    received = InputChannel(0, BatchCodec(GENERIC), None)
    output = LocalOutputChannel(received, 2)
    batch = RecordBatch([object()])  # needs no encoding
    output.send(batch)
    output.send_control(Watermark(1))
    assert output.has_room
    output.send(RecordBatch([2]))
    assert not output.has_room
    assert received.take() is batch
    assert output.has_room


def test_within_a_process_what_is_set_aside_makes_room() -> None:
    received = InputChannel(0, BatchCodec(GENERIC), None)
    output = LocalOutputChannel(received, 2)
    for n in range(6):
        output.send(RecordBatch([n]))
        received.set_aside()
        assert output.credit == 2
    output.send(RecordBatch([6]))
    assert [received.take().values for _ in range(7)] == [[n] for n in range(7)]
    assert (output.credit, bool(received)) == (2, False)
