from __future__ import annotations

import os
import signal
from collections.abc import Iterator

import pytest

from millstream.connectors.base import SinkWriter
from millstream.connectors.print_sink import PrintSink
from millstream.core.errors import ConnectorError
from millstream.testing.connectors import SinkRun


def test_one_subtask_prints_records_as_they_are(capsys) -> None:
    run = SinkRun(PrintSink())
    run.write(0, ["a", 1, ("b", 2)])
    assert capsys.readouterr().out == "a\n1\n('b', 2)\n"


def test_several_subtasks_print_their_numbers_counted_from_1(capsys) -> None:
    run = SinkRun(PrintSink(), parallelism=2)
    run.write(0, ["a"])
    run.write(1, ["b"])
    assert capsys.readouterr().out == "1> a\n2> b\n"


def test_an_identifier_comes_before_the_number(capsys) -> None:
    SinkRun(PrintSink("totals")).write(0, [5])
    SinkRun(PrintSink("totals", std_err=True), parallelism=2).write(1, [6])
    captured = capsys.readouterr()
    assert captured.out == "totals> 5\n"
    assert captured.err == "totals:2> 6\n"


class Unprintable:
    def __str__(self) -> str:
        msg = "no text for this"
        raise ValueError(msg)


def test_a_record_that_has_no_text_is_named_by_its_index() -> None:
    run = SinkRun(PrintSink())
    with pytest.raises(ValueError, match="no text for this") as caught:
        run.write(0, ["fine", Unprintable()])
    assert caught.value.millstream_record_index == 1


@pytest.fixture
def broken_pipe_writer() -> Iterator[SinkWriter]:
    from millstream.connectors.print_sink import PrintWriter

    reading, writing = os.pipe()
    os.close(reading)
    before = signal.signal(signal.SIGPIPE, signal.SIG_IGN)
    stream = os.fdopen(writing, "w")
    yield PrintWriter(stream, "")
    signal.signal(signal.SIGPIPE, before)
    with pytest.raises(BrokenPipeError):
        stream.close()


def test_a_reader_that_went_away_is_a_clear_error(broken_pipe_writer) -> None:
    with pytest.raises(ConnectorError, match="cannot print: Broken pipe"):
        broken_pipe_writer.write_batch(["a"], None)
