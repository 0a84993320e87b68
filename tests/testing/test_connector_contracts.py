"""The contracts are worth something only if they catch connectors that break them."""

from __future__ import annotations

import inspect
import uuid
from dataclasses import replace
from pathlib import Path

import pytest

from millstream.connectors.datagen import DataGeneratorSource
from millstream.connectors.datagen.ranges import IndexRange
from millstream.connectors.datagen.source import DataGeneratorReader
from millstream.connectors.print_sink import PrintSink
from millstream.core.clock import ManualClock
from millstream.testing import connector_runs
from millstream.testing.connector_runs import SourceRun
from millstream.testing.connectors import (
    AtLeastOnceSinkContract,
    SinkContract,
    SourceContract,
    close_open_runs,
)

RECORDS = [str(n) for n in range(90)]


def broken_tests(contract, **fixtures):
    """Which tests of the contract fail."""
    found = []
    for name, test in inspect.getmembers(type(contract), inspect.isfunction):
        if not name.startswith("test_"):
            continue
        wanted = inspect.signature(test).parameters
        arguments = {key: value() for key, value in fixtures.items() if key in wanted}
        numbers = {key: 2 for key in wanted if key in {"parallelism", "seed"}}
        try:
            test(contract, **arguments, **numbers)
        except (AssertionError, OSError):
            found.append(name)
        close_open_runs()
    return found


# ---- sources


class Reader(DataGeneratorReader):
    bug = ""

    def snapshot_state(self, checkpoint_id):
        step = {"repeats": -1, "skips": 1}.get(self.bug, 0)
        left = super().snapshot_state(checkpoint_id)
        return [replace(r, position=min(max(r.start, r.position + step), r.stop)) for r in left]

    def pause_or_resume_splits(self, splits_to_pause, splits_to_resume):
        if self.bug != "does not pause":
            super().pause_or_resume_splits(splits_to_pause, splits_to_resume)

    def poll_next(self, max_records):
        if self.bug == "gives too many":
            max_records += 1
        return super().poll_next(max_records)


class Source(DataGeneratorSource):
    bug = ""

    def create_reader(self, context):
        reader = Reader(self._batches, self._timestamps, None)
        reader.bug = self.bug
        return reader

    def decode_split(self, data):
        split = IndexRange.decode(data)
        return replace(split, position=split.start) if self.bug == "forgets its position" else split


def source_with(bug):
    source = Source(str, len(RECORDS))
    source.bug = bug
    return source


def test_a_right_source_passes() -> None:
    assert broken_tests(SourceContract(), source=lambda: source_with(""), expected=lambda: RECORDS) == []


@pytest.mark.parametrize(
    "bug", ["repeats", "skips", "forgets its position", "does not pause", "gives too many"]
)
def test_a_wrong_source_is_caught(bug) -> None:
    assert broken_tests(SourceContract(), source=lambda: source_with(bug), expected=lambda: RECORDS)


@pytest.mark.parametrize(("slow", "caught"), [({4}, False), ({4, 6, 8, 9}, False), ({4, 5, 6}, True)])
def test_a_reader_that_waits_is_told_from_a_machine_that_stalls(monkeypatch, slow, caught) -> None:
    clock = ManualClock()
    monkeypatch.setattr(connector_runs, "_CLOCK", clock)
    run = SourceRun(source_with(""))
    quick = run.readers[0].poll_next

    def poll_next(max_records):
        if run.polls in slow:
            clock.advance(2_000)
        return quick(max_records)

    monkeypatch.setattr(run.readers[0], "poll_next", poll_next)
    if caught:
        with pytest.raises(AssertionError, match="poll_next blocks the loop, now for 2000 ms"):
            run.read()
    else:
        assert run.read() == RECORDS
    close_open_runs()


# ---- sinks


class LinesSink:
    """Hidden files, committed by renaming."""

    def __init__(self, folder, bug):
        self.folder, self.bug = folder, bug

    def create_writer(self, context):
        return LinesWriter(self.folder, self.bug)

    def create_committer(self):
        return LinesCommitter(self.bug)

    def encode_committable(self, committable):
        return committable.encode()

    def decode_committable(self, data):
        return data.decode()


class LinesWriter:
    def __init__(self, folder, bug):
        self.folder, self.bug, self.lines = folder, bug, []

    def write_batch(self, values, timestamps):
        self.lines += values

    def flush(self, end_of_input):
        pass

    def prepare_commit(self, checkpoint_id):
        name = uuid.uuid4().hex
        path = self.folder / (name if self.bug == "shows too early" else f".{name}")
        kept = self.lines[:-1] if self.bug == "loses the last" else self.lines
        path.write_text("".join(f"{line}\n" for line in kept))
        if self.bug != "keeps what was prepared":
            self.lines = []
        return [str(path)]

    def close(self):
        if self.bug == "commits when closed":
            self.bug = "shows too early"
            self.prepare_commit(0)


class LinesCommitter:
    def __init__(self, bug):
        self.bug = bug

    def commit(self, committables):
        for path in map(Path, committables):
            if path.name.startswith("."):
                self.show(path)

    def show(self, path):
        visible = path.with_name(path.name[1:])
        if self.bug == "is not idempotent":
            visible = path.with_name(uuid.uuid4().hex)
            visible.write_text(path.read_text())
        elif path.exists():
            path.rename(visible)

    def close(self):
        pass


class Contract(SinkContract):
    def visible(self, sink):
        files = [path for path in sink.folder.iterdir() if not path.name.startswith(".")]
        return [line for path in files for line in path.read_text().splitlines()]


def sinks(base, bug):
    folder = base / uuid.uuid4().hex
    folder.mkdir()
    return LinesSink(folder, bug)


def test_a_right_sink_passes(tmp_path) -> None:
    assert broken_tests(Contract(), sink=lambda: sinks(tmp_path, "")) == []


@pytest.mark.parametrize(
    "bug",
    [
        "shows too early",
        "loses the last",
        "keeps what was prepared",
        "commits when closed",
        "is not idempotent",
    ],
)
def test_a_wrong_sink_is_caught(bug, tmp_path) -> None:
    assert broken_tests(Contract(), sink=lambda: sinks(tmp_path, bug))


# ---- sinks that cannot commit


class PlainSink:
    """A file for each writer, which buffers until it is flushed."""

    def __init__(self, folder, bug):
        self.folder, self.bug = folder, bug

    def create_writer(self, context):
        return PlainWriter(self.folder, self.bug, context)


class CommittingPlainSink(PlainSink):
    """Declares a committer, so that more would have to be checked."""

    def create_committer(self):
        return LinesCommitter("")

    def encode_committable(self, committable):
        return committable.encode()

    def decode_committable(self, data):
        return data.decode()


class PlainWriter:
    def __init__(self, folder, bug, context):
        name = "shared" if bug == "writers overwrite each other" else uuid.uuid4().hex
        self.path, self.bug, self.lines = folder / name, bug, []
        if bug == "writes state again":
            self.lines += [state.decode() for state in context.restored_state]

    def write_batch(self, values, timestamps):
        self.lines += values

    def flush(self, end_of_input):
        lines = self.lines[:-1] if self.bug == "loses the last" else self.lines
        if self.bug != "flushes when closed" and not (
            self.bug == "waits for a full part" and not end_of_input
        ):
            mode = "w" if self.bug == "writers overwrite each other" else "a"
            with self.path.open(mode) as file:
                file.writelines(f"{line}\n" for line in lines)
            self.written = self.lines
            self.lines = []
        if self.bug == "repeats itself":
            self.lines = list(self.written)

    def snapshot_state(self, checkpoint_id):
        return [line.encode() for line in self.path.read_text().splitlines()] if self.path.exists() else []

    def close(self):
        if self.bug == "flushes when closed":
            self.bug = ""
            self.flush(True)
        if self.bug == "cleans up":
            for path in self.path.parent.iterdir():
                path.unlink()


class PlainContract(AtLeastOnceSinkContract):
    def visible(self, sink):
        return [line for path in sink.folder.iterdir() for line in path.read_text().splitlines()]


def plain_sinks(base, bug):
    folder = base / uuid.uuid4().hex
    folder.mkdir()
    return (CommittingPlainSink if bug == "commits" else PlainSink)(folder, bug)


def test_a_right_sink_without_commits_passes(tmp_path) -> None:
    assert broken_tests(PlainContract(), sink=lambda: plain_sinks(tmp_path, "")) == []


@pytest.mark.parametrize(
    "bug",
    [
        "loses the last",
        "flushes when closed",
        "waits for a full part",
        "repeats itself",
        "writes state again",
        "writers overwrite each other",
        "cleans up",
        "commits",
    ],
)
def test_a_wrong_sink_without_commits_is_caught(bug, tmp_path) -> None:
    assert broken_tests(PlainContract(), sink=lambda: plain_sinks(tmp_path, bug))


class TestPrintSink(AtLeastOnceSinkContract):
    @pytest.fixture
    def sink(self, capsys):
        self.captured, self.lines = capsys, []
        return PrintSink()

    def visible(self, sink):
        self.lines += self.captured.readouterr().out.splitlines()
        return [line.rpartition("> ")[2] for line in self.lines]
