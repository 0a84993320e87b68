"""A savepoint's folder is all that it consists of, and the record of a job says which one it ended with."""

from __future__ import annotations

import shutil
from itertools import count

import msgspec
import pytest

from millstream.checkpoint.catalog import find_latest, load, stopped_at, unfinished_run, verify
from millstream.checkpoint.metadata import encode_metadata
from millstream.checkpoint.savepoint_folder import SavepointFolder, new_savepoint_folder
from millstream.checkpoint.storage import CheckpointStorage, JobRecord
from millstream.core.errors import CheckpointError, CheckpointFailureReason
from millstream.core.savepoints import SavepointFormatType
from tests.checkpoint.samples import metadata

JOB = "0" * 32
unique = count()


@pytest.fixture(params=["local", "file-url", "memory"])
def directory(request, tmp_path):
    folder = tmp_path / "savepoints"
    if request.param == "local":
        return str(folder)
    return f"file://{folder}" if request.param == "file-url" else f"memory://savepoints-{next(unique)}"


def write(directory, tmp_path):
    """A savepoint with an exclusive file and one that a checkpoint would share."""
    folder = SavepointFolder(new_savepoint_folder(directory, JOB))
    streams = folder.streams(attempt=3)
    sst = tmp_path / "000012.sst"
    sst.write_bytes(b"x" * 300_000)
    files = [streams.write_exclusive("op/0: state", iter([b"ab", b"cd"])), streams.upload_shared(sst)]
    folder.write_metadata(encode_metadata(savepoint_of(*files)))
    return folder, files


def savepoint_of(*files):
    return msgspec.structs.replace(metadata(*files), savepoint=SavepointFormatType.NATIVE)


def test_what_was_written_is_found_again_and_refers_to_nothing_outside(directory, tmp_path):
    folder, files = write(directory, tmp_path)
    stored = load(folder.url)
    verify(stored, content=True)
    assert stored.metadata == folder.load() == savepoint_of(*files)
    for file in files:
        assert "/" not in file.path
        assert not file.shared
    assert stored.storage().reader().read(files[0]) == b"abcd"


def test_it_may_be_moved_and_renamed(tmp_path):
    folder, files = write(str(tmp_path / "savepoints"), tmp_path)
    moved = shutil.move(folder.url, tmp_path / "elsewhere")
    stored = load(str(moved))
    verify(stored, content=True)
    absolute = stored.metadata.with_absolute_paths(stored.job_folder)
    assert {file.path for file in absolute.files()} == {f"{moved}/{file.path}" for file in files}


def test_a_folder_without_metadata_is_no_savepoint_and_a_deleted_one_is_gone(directory, tmp_path):
    folder, _ = write(directory, tmp_path)
    folder.delete()
    folder.delete()
    with pytest.raises(CheckpointError) as missing:
        folder.load()
    assert missing.value.reason is CheckpointFailureReason.NOT_FOUND
    SavepointFolder(folder.url).streams(4).write_exclusive("state", [b"late"])
    with pytest.raises(CheckpointError):
        load(folder.url)


def test_no_two_have_the_same_folder(directory):
    assert new_savepoint_folder(directory, JOB) != new_savepoint_folder(directory, JOB)


def test_savepoints_in_the_checkpoint_directory_are_no_checkpoints(tmp_path):
    storage = CheckpointStorage(str(tmp_path), JOB)
    storage.claim_attempt("clicks")
    storage.write_metadata(7, encode_metadata(metadata(checkpoint_id=7)))
    write(str(tmp_path), tmp_path)
    assert [info.checkpoint_id for info in find_latest(str(tmp_path), "clicks")] == [7]


def test_no_attempt_is_claimed_of_a_job_that_ended_with_a_savepoint(tmp_path):
    storage = CheckpointStorage(str(tmp_path), JOB)
    storage.claim_attempt("clicks")
    assert stopped_at(str(tmp_path), "clicks") is None
    storage.note_stop("/savepoints/one")
    assert stopped_at(str(tmp_path), "clicks") == "/savepoints/one"
    assert stopped_at(str(tmp_path), "other") is None
    with pytest.raises(CheckpointError) as refused:
        storage.claim_attempt("clicks")
    assert refused.value.reason is CheckpointFailureReason.JOB_ENDED
    assert refused.value.where == "/savepoints/one"
    storage.note_stop(None)
    assert storage.claim_attempt("clicks") == 2


def test_the_newest_run_says_whether_the_job_was_stopped(tmp_path):
    old, new = (CheckpointStorage(str(tmp_path), digit * 32) for digit in "01")
    old.claim_attempt("clicks")
    old.write_metadata(7, encode_metadata(metadata(checkpoint_id=7, job_id="0" * 32)))
    old.note_stop("/savepoints/one")
    new.claim_attempt("clicks")  # started from it, and died before its first checkpoint
    assert stopped_at(str(tmp_path), "clicks") == "/savepoints/one"
    later = metadata(checkpoint_id=1, job_id="1" * 32, timestamp_ms=1_800_000_000_000)
    new.write_metadata(1, encode_metadata(later))
    assert stopped_at(str(tmp_path), "clicks") is None


def test_a_run_that_was_stopped_before_its_first_checkpoint_counts_before_those_that_died(tmp_path):
    stopped, died = (CheckpointStorage(str(tmp_path), digit * 32) for digit in "01")
    stopped.claim_attempt("clicks")
    stopped.note_stop("/savepoints/one")
    died.claim_attempt("clicks")
    assert unfinished_run(str(tmp_path), "clicks") is not None
    assert stopped_at(str(tmp_path), "clicks") == "/savepoints/one"


def test_records_of_releases_without_savepoints_are_read():
    old = b'{"job_id":"0","job_name":"clicks","last_attempt":3}'
    assert msgspec.json.decode(old, type=JobRecord) == JobRecord("0", "clicks", 3, None)


@pytest.mark.parametrize("name", ["mine", "./mine", "mine/"])
def test_a_relative_path_is_meant_from_where_the_process_is(tmp_path, monkeypatch, name):
    monkeypatch.chdir(tmp_path)
    assert SavepointFolder(name).url == str(tmp_path / "mine")
