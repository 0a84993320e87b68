import os
import select
import socket
import threading
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from millstream.core.errors import ConfigurationError
from millstream.runtime.message_link import MessageLink
from millstream.runtime.messages import (
    CancelTasks,
    DeployTasks,
    FromWorker,
    TasksStopped,
    ToWorker,
    WorkerRegistered,
)
from millstream.runtime.transport import (
    FramedSocket,
    PeerRejected,
    Role,
    Waker,
    address_of,
    connect,
    listen,
    local_address,
    unix_address,
)

SECRET = b"s" * 32


def pair(secret_a=None, secret_b=None):
    a, b = socket.socketpair()
    return FramedSocket(a, secret=secret_a, role=Role.LISTENER), FramedSocket(
        b, secret=secret_b, role=Role.CONNECTOR
    )


def pump(a, b, *, until):
    """Carries bytes between two ends of one thread until a condition holds."""
    got_a, got_b = [], []
    while not until(got_a, got_b):
        a.pump_out()
        b.pump_out()
        got_a += a.pump_in() if not a.closed else []
        got_b += b.pump_in() if not b.closed else []
        poll = select.poll()
        for end in (a, b):
            if not end.closed:
                poll.register(end.fileno(), select.POLLIN | (select.POLLOUT if end.wants_write else 0))
        if not until(got_a, got_b):
            assert poll.poll(10_000), "nothing moves"
    return got_a, got_b


@given(
    st.lists(
        st.tuples(st.integers(0, 255), st.integers(0, 2**32 - 1), st.binary(max_size=300_000)), max_size=8
    )
)
def test_frames_of_any_size_arrive_in_order_and_unchanged(frames):
    a, b = pair()
    for kind, channel, payload in frames:
        a.send(kind, channel, payload)
    _, got = pump(a, b, until=lambda _, got: len(got) == len(frames))
    assert [(f.kind, f.channel, bytes(f.payload)) for f in got] == frames
    assert a.queued_bytes == 0
    a.close()
    b.close()


def test_a_frame_much_larger_than_any_buffer_arrives_in_one_piece():
    a, b = pair()
    payload = os.urandom(1 << 20) * 30
    a.send(1, 2, payload)
    a.send(3, 4, b"after it")
    _, got = pump(a, b, until=lambda _, got: len(got) == 2)
    assert bytes(got[0].payload) == payload
    assert bytes(got[1].payload) == b"after it"
    a.close()
    b.close()


def test_payloads_stay_valid_while_more_arrives():
    a, b = pair()
    kept = []
    for i in range(50):
        a.send(0, i, bytes([i]) * 50_000)
        _, got = pump(a, b, until=lambda _, got: len(got) == 1)
        kept += got
    assert all(bytes(frame.payload) == bytes([i]) * 50_000 for i, frame in enumerate(kept))
    a.close()
    b.close()


def test_what_the_other_end_sent_before_it_closed_still_arrives():
    a, b = pair()
    a.send(7, 0, b"last words")
    a.pump_out()
    a.close()
    b.send(0, 0, b"x" * 10_000)
    b.pump_out()  # fails: nobody reads it
    frames = b.pump_in()
    assert [bytes(frame.payload) for frame in frames] == [b"last words"]
    b.pump_in()
    assert b.closed
    assert b.close_reason


def test_both_ends_know_the_secret_so_frames_flow_after_the_handshake():
    a, b = pair(SECRET, SECRET)
    a.send(1, 0, b"queued before the handshake")
    b.send(2, 0, b"me too")
    got_a, got_b = pump(a, b, until=lambda got_a, got_b: got_a and got_b)
    assert bytes(got_b[0].payload) == b"queued before the handshake"
    assert bytes(got_a[0].payload) == b"me too"
    assert a.authenticated
    assert b.authenticated
    a.close()
    b.close()


def test_an_end_with_another_secret_is_refused_and_reads_nothing():
    a, b = pair(SECRET, b"w" * 32)
    a.send(1, 0, b"secret data")
    refused = 0
    received = []
    for _ in range(10):
        for end in (a, b):
            if end.closed:
                continue
            end.pump_out()
            try:
                received += end.pump_in()
            except PeerRejected:
                refused += 1
    assert refused >= 1
    assert received == []
    assert a.closed
    b.close()


@pytest.mark.parametrize("garbage", [b"GET / HTTP/1.1\r\n\r\n", b"MSTR\x01L" + b"\0" * 32, b"\0" * 100])
def test_a_stranger_that_talks_nonsense_is_refused(garbage):
    ours, theirs = socket.socketpair()
    end = FramedSocket(ours, secret=SECRET, role=Role.LISTENER)
    theirs.send(garbage)
    with pytest.raises(PeerRejected):
        end.pump_in()
    assert end.closed
    theirs.close()


def test_an_answer_cannot_be_reflected():
    ours, theirs = socket.socketpair()
    end = FramedSocket(ours, secret=SECRET, role=Role.LISTENER)
    end.pump_out()
    theirs.send(theirs.recv(4096))  # its own greeting comes back
    with pytest.raises(PeerRejected):
        end.pump_in()
    theirs.close()


@pytest.mark.parametrize("scheme", ["unix", "tcp"])
def test_addresses_of_both_kinds_connect(tmp_path, scheme):
    listener = listen(f"unix:{tmp_path}/s" if scheme == "unix" else "tcp:127.0.0.1:0")
    sock = connect(address_of(listener), 5.0)
    accepted, _ = listener.accept()
    a = FramedSocket(accepted, secret=SECRET, role=Role.LISTENER)
    b = FramedSocket(sock, secret=SECRET, role=Role.CONNECTOR)
    b.send(0, 9, b"hello")
    got, _ = pump(a, b, until=lambda got, _: got)
    assert got[0].channel == 9
    for end in (a, b, listener):
        end.close()


def test_a_folder_with_a_long_name_falls_back_to_the_loopback_interface(tmp_path):
    assert unix_address(Path("/x" * 80)) is None
    assert local_address(Path("/x" * 80), "w").startswith("tcp:127.0.0.1:")


@pytest.mark.parametrize("address", ["", "unix:", "tcp:9", "http://x", "tcp:h:x"])
def test_what_is_no_address_is_refused(address):
    with pytest.raises(ConfigurationError, match="no address"):
        connect(address, 1.0)


def test_messages_cross_a_link_also_when_one_is_huge():
    a, b = pair(SECRET, SECRET)
    down: MessageLink[ToWorker, FromWorker] = MessageLink(a, FromWorker)
    up: MessageLink[FromWorker, ToWorker] = MessageLink(b, ToWorker)
    job = os.urandom(1 << 20) * 20
    down.send(DeployTasks(1, "j", job, {"a": "b"}, {0: "unix:/x"}, {}, None, ""))
    down.send(CancelTasks(1))
    up.send(WorkerRegistered(3, 4, "unix:/y"))
    up.send(TasksStopped(1))
    arrived_down, arrived_up = [], []
    while len(arrived_down) < 2 or len(arrived_up) < 2:
        if (message := up.receive()) is not None:
            arrived_down.append(message)
        if (message := down.receive()) is not None:
            arrived_up.append(message)
    assert arrived_down[0].job == job
    assert arrived_down[1] == CancelTasks(1)
    assert arrived_up == [WorkerRegistered(3, 4, "unix:/y"), TasksStopped(1)]
    down.close()
    assert up.receive() is None
    assert up.closed
    up.close()


def test_a_waker_ends_a_wait_of_another_thread():
    waker = Waker()
    thread = threading.Thread(target=lambda: waker.wait(None))
    thread.start()
    waker.wake()
    thread.join(10)
    assert not thread.is_alive()
    waker.drain()
    waker.wait(0)
    waker.close()
    waker.wake()
