"""Whole jobs over the elementary sources and sinks, in this process and over two workers, with a failure in the middle."""

from __future__ import annotations

import bz2
import gzip
import importlib
import importlib.util
import lzma
import os
import signal
import socket
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from millstream import DataStream, JobClient, MapFunction, StreamExecutionEnvironment, WatermarkStrategy
from millstream.connectors.datagen import DataGeneratorSource, RateLimiterStrategy
from millstream.connectors.files import (
    BucketAssigner,
    Encoder,
    FileSink,
    FileSource,
    RollingPolicy,
    StreamFormat,
)
from tests.integration.engine.harness import Workshop, wait_until

MODES = pytest.mark.parametrize("parallelism", [1, pytest.param(2, id="2 workers")])
NO_WATERMARKS: WatermarkStrategy[Any] = WatermarkStrategy.no_watermarks()
PART_BYTES = 64


def environment(workshop: Workshop, parallelism: int) -> StreamExecutionEnvironment:
    env = StreamExecutionEnvironment.get_execution_environment(workshop.configuration())
    return env.set_parallelism(parallelism)


def write_to_files(workshop: Workshop, stream: DataStream[str], part_bytes: int = 1 << 20) -> None:
    builder = FileSink.for_row_format(str(workshop.out), Encoder.simple_string_encoder())
    builder = builder.with_bucket_assigner(BucketAssigner.base_path_bucket_assigner())
    builder = builder.with_rolling_policy(RollingPolicy.default_rolling_policy(part_bytes))
    stream.sink_to(builder.build())


def text_files(folder: Path) -> Any:
    return FileSource.for_record_stream_format(StreamFormat.text_line_format(), str(folder))


class FailsAfterACheckpoint(MapFunction[str, str]):
    """Takes its time, and raises once, at some record after the first complete checkpoint."""

    def __init__(self, workshop: Workshop) -> None:
        self.checkpoints = workshop.checkpoints
        self.marker = workshop.tmp.with_name("failed")

    def open(self, runtime_context: Any) -> None:
        self.pause = threading.Event()
        self.seen = 0

    def map(self, value: str) -> str:
        self.pause.wait(0.0005)
        self.seen += 1
        if (
            self.seen % 20 == 0
            and not self.marker.exists()
            and any(self.checkpoints.glob("*/chk-*/_metadata"))
        ):
            self.marker.touch()
            raise RuntimeError("planned")
        return value


class FailsOnceAt(MapFunction[str, str]):
    """Raises at this record, the first time that it comes."""

    def __init__(self, workshop: Workshop, record: str) -> None:
        self.marker = workshop.tmp.with_name("failed")
        self.record = record

    def map(self, value: str) -> str:
        if value == self.record and not self.marker.exists():
            self.marker.touch()
            raise RuntimeError("planned")
        return value


# ---- compressed files ----------------------------------------------------------------------------------------------------


def compressors() -> dict[str, Callable[[bytes], bytes]]:
    found: dict[str, Callable[[bytes], bytes]] = {
        "gz": gzip.compress,
        "bz2": bz2.compress,
        "xz": lzma.compress,
    }
    if importlib.util.find_spec("compression") is not None:
        found["zst"] = importlib.import_module("compression.zstd").compress
    return found


@MODES
@pytest.mark.parametrize("ending", compressors())
def test_compressed_files_are_read_exactly_once(workshop: Workshop, ending: str, parallelism: int) -> None:
    folder = workshop.tmp.with_name("in")
    folder.mkdir()
    lines = [f"{file}-{line}" for file in range(6) for line in range(300)]
    for file in range(6):
        text = "".join(f"{file}-{line}\n" for line in range(300))
        (folder / f"{file}.txt.{ending}").write_bytes(compressors()[ending](text.encode()))
    env = environment(workshop, parallelism)
    stream = env.from_source(text_files(folder).build(), NO_WATERMARKS, "files")
    write_to_files(workshop, stream.map(FailsAfterACheckpoint(workshop), str))
    assert env.execute("compressed").statistics.restarts >= 1
    assert workshop.committed() == Counter(lines)
    assert workshop.hidden() == []


# ---- a folder that is watched --------------------------------------------------------------------------------------------


class WatchedFolder:
    """Where files appear as a whole, as they have to."""

    def __init__(self, workshop: Workshop) -> None:
        self.path = workshop.tmp.with_name("watched")
        self.path.mkdir()
        self.lines: list[str] = []

    def add(self, name: str, *lines: str) -> None:
        hidden = self.path / f".{name}"
        hidden.write_text("".join(f"{line}\n" for line in lines))
        hidden.rename(self.path / name)
        self.lines += lines


def watch(workshop: Workshop, folder: WatchedFolder, parallelism: int) -> JobClient:
    env = environment(workshop, parallelism)
    source = text_files(folder.path).monitor_continuously(20).build()
    stream = env.from_source(source, NO_WATERMARKS, "watched")
    write_to_files(workshop, stream.map(FailsOnceAt(workshop, "boom"), str))
    return env.execute_async("watching")


def wait_for_all(workshop: Workshop, folder: WatchedFolder) -> None:
    """Every line is there; one that came twice would never go away again."""
    wait_until(lambda: set(workshop.committed()) == set(folder.lines), "the lines of all files")
    assert workshop.committed() == Counter(folder.lines)


@MODES
def test_files_that_appear_are_read_once_also_over_a_failure(workshop: Workshop, parallelism: int) -> None:
    folder = WatchedFolder(workshop)
    folder.add("first", *(f"first-{n}" for n in range(50)))
    client = watch(workshop, folder, parallelism)
    wait_for_all(workshop, folder)
    folder.add("second", "before", "boom", "after")
    folder.add("third", *(f"third-{n}" for n in range(50)))
    wait_for_all(workshop, folder)
    assert client.statistics().restarts >= 1
    folder.add("fourth", "later")
    wait_for_all(workshop, folder)
    client.cancel_and_wait()
    assert workshop.committed() == Counter(folder.lines)


def test_files_that_appear_while_a_worker_is_dead_are_read_once(workshop: Workshop) -> None:
    folder = WatchedFolder(workshop)
    for name in "abc":
        folder.add(name, *(f"{name}{n}" for n in range(20)))
    client = watch(workshop, folder, 2)
    wait_for_all(workshop, folder)
    os.kill(client.worker_pids()[1], signal.SIGKILL)
    for name in "def":
        folder.add(name, *(f"{name}{n}" for n in range(20)))
    wait_for_all(workshop, folder)
    assert client.statistics().restarts >= 1
    client.cancel_and_wait()
    assert workshop.committed() == Counter(folder.lines)


# ---- part files ----------------------------------------------------------------------------------------------------------


@MODES
def test_part_files_roll_by_size_and_hold_every_record_once(workshop: Workshop, parallelism: int) -> None:
    env = environment(workshop, parallelism)
    source = DataGeneratorSource(str, 1_500, RateLimiterStrategy.per_second(1_500), type_info=str)
    stream = env.from_source(source, NO_WATERMARKS, "numbers")
    failing = stream.map(FailsOnceAt(workshop, "600" if parallelism == 1 else "1200"), str)
    write_to_files(workshop, failing, PART_BYTES)
    statistics = env.execute("rolling").statistics
    assert statistics.restarts >= 1
    assert workshop.committed() == Counter(map(str, range(1_500)))
    assert workshop.hidden() == []
    # A part ends at each checkpoint anyway: there are more of them than that.
    assert statistics.checkpoints is not None
    parts = [path for path in workshop.out.rglob("*") if path.is_file()]
    assert len(parts) > (statistics.checkpoints.completed + 1) * parallelism


# ---- a socket ------------------------------------------------------------------------------------------------------------


@contextmanager
def server(*connections: list[bytes | threading.Event]) -> Iterator[int]:
    """The port of a server that sends these pieces, one list for each connection, waiting for the events among them."""
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def serve() -> None:
            for pieces in connections:
                peer, _ = listener.accept()
                with peer:
                    for piece in pieces:
                        if isinstance(piece, threading.Event):
                            assert piece.wait(60)
                        else:
                            peer.sendall(piece)

        thread = threading.Thread(target=serve)
        thread.start()
        yield listener.getsockname()[1]
        thread.join(60)
        assert not thread.is_alive()


@MODES
def test_a_socket_is_read_until_the_server_hangs_up(workshop: Workshop, parallelism: int) -> None:
    words = [f"wörd {n}" for n in range(2_000)]
    data = "\n".join(words).encode()
    pieces: list[bytes | threading.Event] = [data[at : at + 777] for at in range(0, len(data), 777)]
    with server(pieces) as port:
        env = environment(workshop, parallelism)
        write_to_files(workshop, env.socket_text_stream("127.0.0.1", port).rebalance().map(str.upper, str))
        env.execute("socket")
    assert workshop.committed() == Counter(word.upper() for word in words)


@MODES
def test_after_a_failure_a_socket_is_connected_again_and_goes_on_from_there(
    workshop: Workshop, parallelism: int
) -> None:
    committed, failed = threading.Event(), threading.Event()
    first: list[bytes | threading.Event] = [b"kept\n", committed, b"boom\nlost\n", failed]
    with server(first, [b"new\n", b"end"]) as port:
        env = environment(workshop, parallelism)
        stream = env.socket_text_stream("127.0.0.1", port).map(FailsOnceAt(workshop, "boom"), str)
        write_to_files(workshop, stream)
        client = env.execute_async("socket")
        wait_until(lambda: workshop.committed() == Counter(["kept"]), "the first record")
        committed.set()
        wait_until(lambda: client.statistics().restarts, "the restart")
        failed.set()
        result = client.wait(60)
    assert result.statistics.restarts == 1
    # At most once: nothing comes twice, and what was under way in the failure does not come again.
    assert workshop.committed() == Counter(["kept", "new", "end"])
