from __future__ import annotations

import logging
import socket
import threading

import pytest

from millstream.connectors.base import NothingAvailable
from millstream.connectors.socket_text import SocketTextSource
from millstream.core.errors import ConnectorError, JobDefinitionError
from millstream.testing.connectors import SourceRun


class Server:
    """Serves the given bytes, one list for each connection, and hangs up after each."""

    def __init__(self, *connections):
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port = self.listener.getsockname()[1]
        self.thread = threading.Thread(target=self.serve, args=(connections,))
        self.thread.start()

    def serve(self, connections):
        for pieces in connections:
            peer, _ = self.listener.accept()
            with peer:
                for piece in pieces:
                    peer.sendall(piece)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.thread.join()
        self.listener.close()


def read(port, *arguments, parallelism=1):
    run = SourceRun(SocketTextSource("127.0.0.1", port, *arguments), parallelism)
    return run.read()


def test_texts_come_in_order_however_they_are_cut_on_the_way() -> None:
    with Server([b"a\nb\r\n", b"\xc3", b"\xa4c", b"\nlast"]) as server:
        assert read(server.port) == ["a", "b", "äc", "last"]


def test_another_delimiter() -> None:
    with Server([b"a\r\n--b-", b"-c"]) as server:
        assert read(server.port, "--") == ["a\r\n", "b", "c"]


def test_a_lost_connection_is_made_again_so_often_as_allowed() -> None:
    with Server([b"a\n"], [b"b\nc"], [b"d\n"]) as server:
        assert read(server.port, "\n", 2) == ["a", "b", "cd"]


def test_one_subtask_of_several_reads_the_socket() -> None:
    with Server([b"a\nb\n"]) as server:
        assert read(server.port, parallelism=3) == ["a", "b"]


def test_a_restored_source_connects_again_for_what_comes_then(caplog) -> None:
    with Server([b"a\n"], [b"b\n"]) as server, caplog.at_level(logging.WARNING):
        source = SocketTextSource("127.0.0.1", server.port, "\n", -1)
        run = SourceRun(source)
        while not run.values:
            run.read(1)
        checkpoint = run.checkpoint()
        run.close()
        restored = SourceRun(source, 2, checkpoint)
        while not restored.values:
            restored.read(1)
        assert restored.values == ["b"]
        restored.close()
    assert "at-most-once" in caplog.text


def test_nobody_at_the_address_is_a_clear_error() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    with pytest.raises(ConnectorError, match="cannot connect") as caught:
        read(port)
    assert caught.value.where == f"127.0.0.1:{port}"


def test_an_unknown_host_is_a_clear_error() -> None:
    with pytest.raises(ConnectorError, match="cannot connect"):
        SourceRun(SocketTextSource("no-such-host.invalid", 9)).read()


def test_what_is_no_text_is_a_clear_error() -> None:
    with Server([b"a\n\xff\n"]) as server, pytest.raises(ConnectorError, match="not text"):
        read(server.port)


def test_a_silent_server_is_waited_for() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        run = SourceRun(SocketTextSource("127.0.0.1", listener.getsockname()[1]))
        assert isinstance(run.poll(0), NothingAvailable)
        peer, _ = listener.accept()
        with peer:
            assert isinstance(run.poll(0), NothingAvailable)
            peer.sendall(b"at last\n")
            while not run.values:
                run.poll(0)
        assert run.values == ["at last"]
        run.close()


@pytest.mark.parametrize("arguments", [(0,), (70_000,), (9, ""), (9, "\n", -2)])
def test_impossible_settings_are_refused(arguments) -> None:
    with pytest.raises(JobDefinitionError):
        SocketTextSource("localhost", *arguments)
