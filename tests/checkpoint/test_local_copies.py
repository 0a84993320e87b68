from __future__ import annotations

import logging
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from millstream.checkpoint.local_copies import LocalCopies
from millstream.checkpoint.storage import CheckpointStorage
from millstream.state.handles import FileRef

JOB = "0" * 32


class Counting:
    """A reader that counts what reaches the storage."""

    def __init__(self, storage: CheckpointStorage) -> None:
        self.asked: list[FileRef] = []
        self._reader = storage.reader()

    def read(self, ref: FileRef) -> bytes:
        self.asked.append(ref)
        return self._reader.read(ref)

    def download(self, ref: FileRef, local: Path) -> None:
        self.asked.append(ref)
        self._reader.download(ref, local)


@pytest.fixture
def storage(tmp_path):
    return CheckpointStorage(str(tmp_path / "remote"), JOB)


@pytest.fixture
def folder(tmp_path):
    return tmp_path / "local"


@pytest.fixture
def sst(tmp_path):
    path = tmp_path / "000012.sst"
    path.write_bytes(b"s" * 100_000)
    return path


def test_what_was_copied_is_restored_without_the_storage(storage, folder, sst, tmp_path):
    streams = LocalCopies(folder).streams(storage.streams(1, 1), 1)
    shared, exclusive = streams.upload_shared(sst), streams.write_exclusive("state", iter([b"ab", b"cd"]))
    assert (folder / shared.path.rpartition("/")[2]).samefile(sst)  # a hard link costs no space
    remote = Counting(storage)
    reader = LocalCopies(folder).reader(remote)  # of a new process
    reader.download(shared, tmp_path / "copy")
    assert (tmp_path / "copy").read_bytes() == sst.read_bytes()
    assert reader.read(exclusive) == b"abcd"
    reader.download(exclusive, tmp_path / "other")
    assert (tmp_path / "other").read_bytes() == b"abcd"
    assert remote.asked == []
    assert storage.reader().read(exclusive) == b"abcd"


@given(st.binary(min_size=1, max_size=200), st.data())
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_any_damage_is_found_and_the_storage_is_read(storage, tmp_path_factory, content, data):
    folder = tmp_path_factory.mktemp("local")
    ref = LocalCopies(folder).streams(storage.streams(1, 1), 1).write_exclusive("state", (content,))
    [copy] = folder.iterdir()
    damaged = data.draw(st.binary(max_size=200).filter(lambda other: other != content))
    copy.write_bytes(damaged)
    remote = Counting(storage)
    copies = LocalCopies(folder)
    assert copies.reader(remote).read(ref) == content
    assert remote.asked == [ref]
    assert not copy.exists()


def test_damage_is_told_and_a_missing_copy_is_no_news(storage, folder, sst, tmp_path, caplog):
    ref = LocalCopies(folder).streams(storage.streams(1, 1), 1).upload_shared(sst)
    copy = folder / ref.path.rpartition("/")[2]
    copy.unlink()
    copy.write_bytes(b"x" * 100_000)  # not through the link: the original is whole
    remote = Counting(storage)
    reader = LocalCopies(folder).reader(remote)
    with caplog.at_level(logging.INFO):
        reader.download(ref, tmp_path / "restored")
    [record] = caplog.records
    assert (record.levelno, str(copy) in record.message) == (logging.WARNING, True)
    caplog.clear()
    assert copy.samefile(tmp_path / "restored")  # what was downloaded is the copy now
    copy.unlink()
    (tmp_path / "restored").unlink()
    reader.download(ref, tmp_path / "restored")
    assert caplog.records == []
    assert len(remote.asked) == 2


names = st.frozensets(st.integers(0, 5), max_size=4)


@given(st.lists(st.tuples(names, st.booleans(), st.booleans()), min_size=1, max_size=8))
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_the_last_completed_checkpoint_and_later_ones_are_here_and_nothing_else(
    storage, tmp_path_factory, history
):
    """Incremental checkpoints over files 0-5, some of which complete, in a process that may be another one each time."""
    folder, work = tmp_path_factory.mktemp("local"), tmp_path_factory.mktemp("work")
    copies = LocalCopies(folder)
    uploaded: dict[int, FileRef] = {}
    expected: dict[int, set[str]] = {}
    for number, (contents, completes, restarts) in enumerate(history, start=1):
        if restarts:
            copies = LocalCopies(folder)
            expected = {n: files for n, files in expected.items() if n == max(expected)}
        streams = copies.streams(storage.streams(number, 1), number)
        for name in sorted(contents - set(uploaded)):
            (work / f"{name}.sst").write_bytes(bytes([name]))
            uploaded[name] = streams.upload_shared(work / f"{name}.sst")
        manifest = streams.write_exclusive("manifest", (b"m",))
        copies.keep(number, [uploaded[name] for name in contents])
        expected[number] = {
            ref.path.rpartition("/")[2] for ref in (manifest, *(uploaded[n] for n in contents))
        }
        if completes:
            copies.completed(number)
            expected = {number: expected[number]}
            here = {path.name for path in folder.iterdir()}
            assert here <= expected[number]
            # What was swept with an earlier checkpoint and is referred to again is read from the storage.
            remote = Counting(storage)
            for ref in (manifest, *(uploaded[name] for name in contents)):
                LocalCopies(folder).reader(remote).read(ref)
            assert manifest not in remote.asked


def test_a_disk_that_takes_no_copies_costs_nothing_but_a_warning(storage, tmp_path, sst, caplog):
    (tmp_path / "in the way").write_text("a file")
    copies = LocalCopies(tmp_path / "in the way" / "local")
    streams = copies.streams(storage.streams(1, 1), 1)
    shared, exclusive = streams.upload_shared(sst), streams.write_exclusive("state", iter([b"ab", b"cd"]))
    copies.completed(1)
    reader = copies.reader(storage.reader())
    assert reader.read(exclusive) == b"abcd"
    reader.download(shared, tmp_path / "copy")
    [record] = [r for r in caplog.records if "cannot be kept" in r.message]
    assert record.levelno == logging.WARNING


def test_a_late_completion_of_an_unknown_checkpoint_removes_nothing(storage, folder, sst):
    LocalCopies(folder).streams(storage.streams(3, 1), 3).upload_shared(sst)
    restarted = LocalCopies(folder)
    restarted.completed(2)
    assert len(list(folder.iterdir())) == 1


def test_a_write_that_the_storage_refuses_leaves_no_copy_under_a_name(folder):
    class Refusing:
        def write_exclusive(self, name, chunks):
            list(chunks)
            raise OSError(28, "planned")

    copies = LocalCopies(folder)
    with pytest.raises(OSError, match="planned"):
        copies.streams(Refusing(), 1).write_exclusive("state", iter([b"ab"]))
    assert [path.name for path in folder.iterdir()] == [".unfinished"]
    copies.completed(1)
    assert list(folder.iterdir()) == []
