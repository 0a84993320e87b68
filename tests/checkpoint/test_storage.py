from __future__ import annotations

import errno
import re
from itertools import count
from pathlib import Path

import pytest

from millstream.checkpoint.files import LocalFiles
from millstream.checkpoint.metadata import encode_metadata
from millstream.checkpoint.retry import RetryPolicy, is_transient
from millstream.checkpoint.storage import CheckpointStorage, random_token
from millstream.checkpoint.streams import REPEATABLE_BYTES
from millstream.core.configuration import Configuration
from millstream.core.errors import CheckpointError, CheckpointFailureReason, ConfigurationError
from millstream.runtime.job_manager.job_setup import checkpoint_directory
from millstream.state.handles import FileRef
from tests.checkpoint.samples import metadata

JOB = "0" * 32
unique = count()


@pytest.fixture(params=["local", "file-url", "memory"])
def url(request, tmp_path):
    directory = tmp_path / "checkpoints"
    if request.param == "local":
        return str(directory)
    return f"file://{directory}" if request.param == "file-url" else f"memory://checkpoints-{next(unique)}"


@pytest.fixture
def storage(url):
    return CheckpointStorage(url, JOB)


@pytest.fixture
def local(tmp_path):
    return CheckpointStorage(str(tmp_path), JOB)


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_what_was_written_is_read_back(storage, tmp_path):
    streams = storage.streams(7, attempt=3)
    sst = tmp_path / "000012.sst"
    sst.write_bytes(b"x" * 3_000_000)
    exclusive = streams.write_exclusive("op/0: state", iter([b"ab", b"", b"cd"]))
    shared = streams.upload_shared(sst)
    assert re.fullmatch(r"chk-7/a3-[0-9a-f]{16}-op_0_state", exclusive.path)
    assert re.fullmatch(r"shared/a3-[0-9a-f]{16}-000012.sst", shared.path)
    assert (exclusive.size, exclusive.shared, shared.size, shared.shared) == (4, False, 3_000_000, True)
    reader = storage.reader()
    assert reader.read(exclusive) == b"abcd"
    reader.download(shared, tmp_path / "copy")
    assert (tmp_path / "copy").read_bytes() == sst.read_bytes()
    reader.verify(shared, content=False)
    reader.verify(shared, content=True)


def test_a_small_file_is_kept_in_its_reference(storage, tmp_path):
    streams = storage.streams(7, attempt=3)
    small, large = streams.write_small("a", b"abcd", 4), streams.write_small("b", b"abcde", 4)
    assert (small.content, small.size, small.path) == (b"abcd", 4, "chk-7/_metadata")
    assert large.content is None
    assert [storage.reader().read(file) for file in (small, large)] == [b"abcd", b"abcde"]
    storage.reader().download(small, tmp_path / "copy")
    assert (tmp_path / "copy").read_bytes() == b"abcd"
    assert len(storage.file_names(7)) == 1


def test_a_zombie_of_an_earlier_attempt_overwrites_nothing(storage):
    new, old = storage.streams(7, attempt=2), storage.streams(7, attempt=1)
    mine = new.write_exclusive("state", [b"mine"])
    old.write_exclusive("state", [b"zombie"])
    new.write_exclusive("state", [b"again"])
    assert storage.reader().read(mine) == b"mine"


def test_large_content_from_an_iterator_is_streamed(storage):
    chunk = b"z" * (REPEATABLE_BYTES // 2 + 1)
    ref = storage.streams(1, 1).write_exclusive("big", (chunk for _ in range(4)))
    assert ref.size == 4 * len(chunk)
    storage.reader().verify(ref, content=True)


def test_no_temporary_file_is_left_behind(local, tmp_path):
    local.check_writable()
    local.streams(7, 1).write_exclusive("state", [b"x"])
    local.write_metadata(7, b"m")
    assert names(tmp_path) == [JOB]
    assert len(names(tmp_path / JOB / "chk-7")) == 2

    def failing():
        yield b"x" * (REPEATABLE_BYTES + 1)
        raise OSError(errno.EIO, "planned")

    with pytest.raises(CheckpointError, match="cannot be written: planned"):
        local.streams(8, 1).write_exclusive("state", failing())
    assert list((tmp_path / JOB).glob("**/.*")) == []


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda path: path.unlink(), "missing"),
        (lambda path: path.write_bytes(b"abc"), "3 bytes instead of 4"),
        (lambda path: path.write_bytes(b"abcX"), "does not match its checksum"),
        (lambda path: (path.unlink(), path.mkdir()), "cannot be read"),
    ],
)
def test_every_damage_is_found_and_named(local, tmp_path, damage, message):
    ref = local.streams(7, 1).write_exclusive("state", [b"abcd"])
    damage(tmp_path / JOB / ref.path)
    for read in (
        lambda: local.reader().read(ref),
        lambda: local.reader().download(ref, tmp_path / "copy"),
        lambda: local.reader().verify(ref, content=True),
    ):
        with pytest.raises(CheckpointError, match=message) as caught:
            read()
        assert caught.value.reason is CheckpointFailureReason.CORRUPT
        assert caught.value.where == str(tmp_path / JOB / ref.path)


def test_metadata_makes_a_checkpoint_loadable(storage):
    content = encode_metadata(metadata())
    with pytest.raises(CheckpointError) as caught:
        storage.load(7)
    assert caught.value.reason is CheckpointFailureReason.NOT_FOUND
    storage.write_metadata(7, content)
    storage.write_metadata(7, content)  # a repeated write of the same is a success
    assert storage.load(7) == metadata()
    assert storage.checkpoint_ids() == (7,)


def test_metadata_of_another_job_manager_is_neither_replaced_nor_deleted(storage):
    other = CheckpointStorage(storage.url, JOB)
    other.write_metadata(7, encode_metadata(metadata()))
    with pytest.raises(CheckpointError, match="two of them run the same job"):
        storage.write_metadata(7, b"mine")
    storage.discard(7)
    assert storage.load(7) == metadata()


def test_discarding_removes_folders_and_own_files_only(storage):
    streams = storage.streams(7, 1)
    kept = storage.streams(8, 1).write_exclusive("kept", [b"k"])
    gone = streams.write_exclusive("gone", [b"g"])
    late = storage.streams(9, 1).write_exclusive("late", [b"l"])
    storage.write_metadata(7, b"m")
    storage.discard(7)
    storage.discard(7)
    storage.discard_files([late, gone])
    storage.discard_files(
        [FileRef(f"/{JOB}/chk-8/x", 1, "", True), FileRef("shared/../chk-8/x", 1, "", True)]
    )
    reader = storage.reader()
    assert reader.read(kept) == b"k"
    for ref in (gone, late):
        with pytest.raises(CheckpointError, match="missing"):
            reader.read(ref)


def test_attempts_rise_for_ever(url):
    assert [CheckpointStorage(url, JOB).claim_attempt("clicks") for _ in range(3)] == [1, 2, 3]
    assert CheckpointStorage(url, "1" * 32).claim_attempt("other") == 1


def test_attempts_rise_even_when_the_record_was_lost(local, tmp_path):
    local.streams(7, attempt=12).write_exclusive("state", [b"x"])
    (tmp_path / JOB / "_job").write_bytes(b"\x00 not json")
    assert local.claim_attempt("clicks") == 13


def test_a_directory_that_can_be_written_is_made_and_left_clean(storage):
    storage.check_writable()
    assert storage.checkpoint_ids() == ()


@pytest.mark.parametrize("below", ["", "/and/below"])
def test_a_file_in_the_way_is_one_clear_error(tmp_path, below):
    (tmp_path / "file").write_text("in the way")
    path = f"{tmp_path}/file{below}"
    with pytest.raises(CheckpointError, match="the checkpoint directory cannot be written") as caught:
        CheckpointStorage(path, JOB).check_writable()
    assert caught.value.reason is CheckpointFailureReason.STORAGE
    assert caught.value.where == path
    assert "execution.checkpointing.dir" in caught.value.fix


def test_a_place_where_even_root_may_not_write_is_the_same_error():
    with pytest.raises(CheckpointError, match="cannot be written"):
        CheckpointStorage("/proc/millstream-checkpoints", JOB).check_writable()


def test_an_unknown_protocol_is_a_configuration_error():
    with pytest.raises(ConfigurationError, match="cannot be reached"):
        CheckpointStorage("bogus://bucket/dir", JOB)


@pytest.mark.parametrize("directory", ["file:chk", "file:/data/chk", "file:"])
def test_a_file_url_without_its_slashes_is_no_folder_of_that_name(directory):
    with pytest.raises(ConfigurationError) as caught:
        CheckpointStorage(directory, JOB)
    assert caught.value.where == directory
    assert "file:///" in caught.value.fix


def test_a_job_refuses_such_a_checkpoint_directory_as_it_is_written():
    configuration = Configuration({"execution.checkpointing.dir": "file:chk"})
    with pytest.raises(ConfigurationError, match="where: file:chk"):
        checkpoint_directory(configuration)


def test_absolute_references_are_read_from_another_job(url, tmp_path):
    theirs = CheckpointStorage(url, "1" * 32)
    ref = theirs.streams(1, 1).write_exclusive("state", [b"theirs"])
    absolute = FileRef(f"{theirs.job_folder}/{ref.path}", ref.size, ref.checksum, ref.shared)
    assert CheckpointStorage(str(tmp_path / "mine"), JOB).reader().read(absolute) == b"theirs"
    mine = CheckpointStorage(url, JOB)
    assert mine.reader("1" * 32).read(ref) == b"theirs"
    mine.discard_files([absolute])
    assert theirs.reader().read(ref) == b"theirs"


def test_names_differ():
    assert len({random_token() for _ in range(100)}) == 100


# ---- retries ----------------------------------------------------------------------------------------------------------


class Failing:
    """Fails so many times with an error, then answers."""

    def __init__(self, times: int, number: int) -> None:
        self.left = times
        self.number = number

    def __call__(self) -> str:
        if self.left:
            self.left -= 1
            raise OSError(self.number, "planned")
        return "done"


def test_passing_trouble_is_waited_for_longer_and_longer():
    pauses: list[int] = []
    assert RetryPolicy(pause=pauses.append).run(Failing(4, errno.ETIMEDOUT)) == "done"
    assert pauses == [100, 200, 400, 800]


def test_lasting_trouble_is_given_up():
    pauses: list[int] = []
    with pytest.raises(OSError, match="planned"):
        RetryPolicy(pause=pauses.append).run(Failing(99, errno.EIO))
    assert len(pauses) == 4


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EROFS, errno.EACCES, errno.ENOTDIR, errno.EDQUOT])
def test_permanent_trouble_is_not_retried(number):
    pauses: list[int] = []
    with pytest.raises(OSError, match="planned"):
        RetryPolicy(pause=pauses.append).run(Failing(1, number))
    assert pauses == []


def test_errors_without_a_number_are_judged_by_their_kind():
    assert is_transient(ConnectionResetError())
    assert is_transient(TimeoutError())
    assert not is_transient(FileNotFoundError("gone"))
    assert not is_transient(PermissionError("no"))


def test_a_write_is_repeated_with_the_whole_content(tmp_path, monkeypatch):
    pauses: list[int] = []
    storage = CheckpointStorage(str(tmp_path), JOB, retry=RetryPolicy(pause=pauses.append))
    failures = Failing(2, errno.EIO)
    write = LocalFiles.write

    def unreliable(self, path, open_content, *, replace=True):
        list(open_content())  # it got that far
        failures()
        write(self, path, open_content, replace=replace)

    monkeypatch.setattr(LocalFiles, "write", unreliable)
    ref = storage.streams(1, 1).write_exclusive("state", iter([b"ab", b"cd"]))
    assert len(pauses) == 2
    assert storage.reader().read(ref) == b"abcd"
    assert ref.size == 4


def test_metadata_that_cannot_be_written_is_not_found_afterwards(tmp_path, monkeypatch):
    storage = CheckpointStorage(str(tmp_path), JOB, retry=RetryPolicy(pause=lambda _: None))
    write = LocalFiles.write

    def fails_at_the_end(self, path, open_content, *, replace=True):
        write(self, path, open_content, replace=True)
        raise OSError(errno.EIO, "the folder cannot be synced")

    monkeypatch.setattr(LocalFiles, "write", fails_at_the_end)
    with pytest.raises(CheckpointError, match="metadata cannot be written"):
        storage.write_metadata(7, encode_metadata(metadata()))
    with pytest.raises(CheckpointError) as caught:
        storage.load(7)
    assert caught.value.reason is CheckpointFailureReason.NOT_FOUND
