"""Workers' connections over real sockets."""

from __future__ import annotations

import select
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from millstream.core.batch import RecordBatch, Watermark
from millstream.core.types import GENERIC
from millstream.runtime.exchange.channels import InputChannel, RemoteOutputChannel
from millstream.runtime.exchange.codec import BatchCodec
from millstream.runtime.exchange.peers import PeerListener, Peers
from millstream.runtime.heartbeats import HeartbeatSettings
from millstream.runtime.transport import address_of, listen, local_address

SECRET = b"s" * 32
CODEC = BatchCodec(GENERIC)


class Worker:
    """A worker's data plane: one channel to each other worker, and one from it."""

    def __init__(self, number: int, folder: Path, secret: bytes = SECRET) -> None:
        listener = listen(local_address(folder, f"worker-{number}"))
        self.number = number
        self.address = address_of(listener)
        self.lost: list[tuple[int, str]] = []
        self.rejected: list[Any] = []
        self.listener = PeerListener(secret, listener, self.rejected.append)
        self.peers = self.new_attempt()

    def new_attempt(self) -> Peers:
        return Peers(self.number, self.listener, lambda peer, reason: self.lost.append((peer, reason)))

    def pump(self) -> bool:
        self.listener.pump()
        return self.peers.pump()

    def descriptors(self) -> list[tuple[int, bool]]:
        return self.listener.descriptors() + self.peers.descriptors()

    def close(self) -> None:
        self.peers.end()
        self.listener.close()

    def deploy(self, attempt: int, others: list[Worker], room: int = 2) -> None:
        self.peers = self.new_attempt()
        for other in others:
            there, back = 10 * self.number + other.number, 10 * other.number + self.number
            self.peers.outputs[there] = RemoteOutputChannel(
                there, CODEC, self.peers.sender_to(other.number), room
            )
            self.peers.inputs[back] = InputChannel(back, CODEC, self.peers.credit_to(other.number))
        self.peers.begin(
            attempt, {other.number: other.address for other in others}, [other.number for other in others]
        )

    def output_to(self, other: Worker) -> RemoteOutputChannel:
        return self.peers.outputs[10 * self.number + other.number]

    def input_from(self, other: Worker) -> InputChannel:
        return self.peers.inputs[10 * other.number + self.number]


@pytest.fixture
def make(tmp_path: Path) -> Iterator[Callable[..., Worker]]:
    workers: list[Worker] = []

    def new(number: int, **options: Any) -> Worker:
        workers.append(Worker(number, tmp_path, **options))
        return workers[-1]

    yield new
    for worker in workers:
        worker.close()


def pump(*workers: Worker, until: Callable[[], Any]) -> None:
    """Runs the workers' loops in turn until the condition holds; waits in `poll` when there is nothing to do."""
    while not until():
        poll = select.poll()
        for worker in workers:
            worker.pump()
            for descriptor, writing in worker.descriptors():
                poll.register(descriptor, select.POLLIN | (select.POLLOUT if writing else 0))
        if not until():
            assert poll.poll(20_000), "nothing happened for 20 s"


@pytest.mark.parametrize("first", [0, 1])
def test_elements_travel_both_ways_whoever_is_deployed_first(make, first) -> None:
    workers = [make(0), make(1)]
    workers[first].deploy(1, [workers[1 - first]])
    sender, late = workers[first], workers[1 - first]
    sender.output_to(late).send(RecordBatch(["early"], [1]))
    sender.output_to(late).send_control(Watermark(1))
    for _ in range(3):
        for worker in workers:
            worker.pump()  # the connection may arrive before its attempt is known there
    late.deploy(1, [sender])
    late.output_to(sender).send(RecordBatch(["back"]))
    pump(*workers, until=lambda: late.input_from(sender).queued_batches and sender.input_from(late))
    assert late.input_from(sender).take() == RecordBatch(["early"], [1])
    assert sender.input_from(late).take() == RecordBatch(["back"])
    pump(*workers, until=lambda: late.input_from(sender))
    assert late.input_from(sender).take() == Watermark(1)


def test_credit_comes_back_over_the_connection(make) -> None:
    a, b = make(0), make(1)
    a.deploy(1, [b])
    b.deploy(1, [a])
    output, received = a.output_to(b), b.input_from(a)
    for n in range(10):
        pump(a, b, until=lambda: output.has_room)
        output.send(RecordBatch([n]))
        pump(a, b, until=lambda: received)
        assert received.take() == RecordBatch([n])


def test_a_batch_larger_than_any_buffer_travels_whole(make) -> None:
    a, b = make(0), make(1)
    a.deploy(1, [b])
    b.deploy(1, [a])
    batch = RecordBatch(["x" * 1_000] * 5_000, list(range(5_000)))
    a.output_to(b).send(batch)
    pump(a, b, until=lambda: b.input_from(a))
    assert b.input_from(a).take() == batch


def test_three_workers_connect_pairwise(make) -> None:
    workers = [make(n) for n in range(3)]
    for worker in workers:
        worker.deploy(4, [other for other in workers if other is not worker])
    pairs = [(a, b) for a in workers for b in workers if a is not b]
    for a, b in pairs:
        a.output_to(b).send(RecordBatch([f"{a.number} to {b.number}"]))
    pump(*workers, until=lambda: all(b.input_from(a) for a, b in pairs))
    for a, b in pairs:
        assert b.input_from(a).take() == RecordBatch([f"{a.number} to {b.number}"])


def test_a_lost_connection_is_reported_with_the_others_number(make) -> None:
    a, b = make(0), make(1)
    a.deploy(1, [b])
    b.deploy(1, [a])
    a.output_to(b).send_control(Watermark(1))
    pump(a, b, until=lambda: b.input_from(a))
    b.close()
    pump(a, until=lambda: a.lost)
    assert a.lost[0][0] == 1


def test_the_next_attempt_has_connections_of_its_own(make) -> None:
    a, b = make(0), make(1)
    for worker, other in ((a, b), (b, a)):
        worker.deploy(1, [other])
    a.output_to(b).send(RecordBatch(["of the first attempt"]))
    pump(a, b, until=lambda: b.input_from(a))
    a.peers.end()
    a.deploy(2, [b])
    a.output_to(b).send(RecordBatch(["of the second"]))
    pump(a, b, until=lambda: b.lost)  # b learns of the end of the first attempt, and is still in it
    b.peers.end()
    b.deploy(2, [a])
    pump(a, b, until=lambda: b.input_from(a))
    assert b.input_from(a).take() == RecordBatch(["of the second"])


def test_a_connection_of_an_attempt_that_has_ended_here_is_turned_away(make) -> None:
    a, b = make(0), make(1)
    b.deploy(1, [a])
    b.peers.end()  # cancelled before the other one came
    a.deploy(1, [b])
    a.output_to(b).send(RecordBatch(["too late"]))
    pump(a, b, until=lambda: a.lost)
    assert b.lost == []


def test_a_deployment_that_fails_leaves_no_connection_open(make) -> None:
    one, two, three = make(1), make(2), make(3)
    one.deploy(0, [two])
    pump(one, two, until=lambda: two.listener._parked)
    three.close()
    with pytest.raises(OSError, match="refused"):
        two.deploy(0, [three, one])
    two.peers.end()
    pump(one, two, until=lambda: one.lost)
    assert [number for number, _ in one.lost] == [2]


def test_two_attempts_at_a_time_do_not_meet_and_the_end_of_one_leaves_the_other(make) -> None:
    a, b = make(0), make(1)
    firsts = []
    for worker, other in ((a, b), (b, a)):
        worker.deploy(1, [other])
        firsts.append((worker.output_to(other), worker.peers, worker.input_from(other)))
    pump(a, b, until=lambda: all(len(peers.descriptors()) == 1 for _, peers, _ in firsts))
    for worker, other in ((a, b), (b, a)):
        worker.deploy(2, [other])
    (output, peers_a, _), (_, peers_b, received) = firsts
    a.output_to(b).send(RecordBatch(["of the second"]))
    pump(a, b, until=lambda: b.input_from(a))
    a.peers.end()
    pump(b, until=lambda: b.lost)
    output.send(RecordBatch(["of the first"]))
    peers_a.pump_out()
    while not received:
        peers_b.pump()
    assert received.take() == RecordBatch(["of the first"])
    assert b.input_from(a).take() == RecordBatch(["of the second"])
    peers_a.end()
    peers_b.end()


def test_a_peer_that_answers_is_heard_and_one_that_does_not_is_silent(make) -> None:
    a, b = make(0), make(1)
    a.deploy(1, [b])
    b.deploy(1, [a])
    pump(a, b, until=lambda: a.peers.descriptors() and b.peers.descriptors())
    timeout_ms = HeartbeatSettings().timeout_ms
    step_ms = timeout_ms // 5
    for n in range(20):  # four timeouts long both ask and answer, and say nothing else
        assert a.peers.beat(n * step_ms) == {}
        pump(a, b, until=lambda: 1 in a.peers._heard)
    asked = [a.peers.beat(n * step_ms) for n in range(20, 26)]  # b's loop stands still
    assert asked == [{}] * 5 + [{1: timeout_ms}]
    pump(a, b, until=lambda: 1 in a.peers._heard)
    assert a.peers.beat(26 * step_ms) == {}


def test_a_stranger_is_rejected(make) -> None:
    a, b = make(0, secret=b"x" * 32), make(1)
    b.deploy(1, [a])
    a.deploy(1, [b])
    a.output_to(b).send(RecordBatch(["secret"]))
    pump(a, b, until=lambda: b.rejected or a.lost)
    pump(a, b, until=lambda: a.lost)
    assert not b.input_from(a)


def test_workers_in_threads_of_their_own_exchange_a_million_bytes_under_flow_control(make) -> None:
    a, b = make(0), make(1)
    a.deploy(1, [b])
    b.deploy(1, [a])
    count, received = 300, []

    def consume() -> None:
        channel = b.input_from(a)
        while len(received) < count:
            pump(b, until=lambda: channel)
            assert channel.queued_batches <= 2
            received.append(channel.take())
        pump(b, until=lambda: not any(writing for _, writing in b.peers.descriptors()))

    thread = threading.Thread(target=consume)
    thread.start()
    output = a.output_to(b)
    batches = [RecordBatch([n, "x" * 4_000], [n, n]) for n in range(count)]
    for batch in batches:
        pump(a, until=lambda: output.has_room)
        output.send(batch)
        a.peers.pump_out()
    pump(a, until=lambda: output.has_room)
    thread.join()
    assert received == batches
