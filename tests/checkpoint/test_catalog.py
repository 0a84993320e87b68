from __future__ import annotations

import logging
import shutil
from itertools import count
from pathlib import Path

import msgspec
import pytest

from millstream.checkpoint import catalog as catalog_module
from millstream.checkpoint import storage as storage_module
from millstream.checkpoint.catalog import (
    find_latest,
    job_candidates,
    list_checkpoints,
    load,
    newest_valid,
    resume_point,
    verify,
)
from millstream.checkpoint.metadata import encode_metadata
from millstream.checkpoint.storage import CheckpointStorage
from millstream.checkpoint.streams import unreadable
from millstream.checkpoint.two_phase_commit import COMMITTABLES_STATE
from millstream.core.errors import CheckpointError, CheckpointFailureReason
from millstream.state.handles import OperatorSnapshot
from tests.checkpoint.samples import metadata

A, B = "a" * 32, "b" * 32
unique = count()


@pytest.fixture(params=["local", "memory"])
def url(request, tmp_path):
    return str(tmp_path) if request.param == "local" else f"memory://catalog-{next(unique)}"


def take(url, number, *, job_id=A, job_name="clicks", at=None, size=4, commits=False):
    """A complete checkpoint with one file, of a job with two-phase-commit sinks if it `commits`; the file's reference."""
    storage = CheckpointStorage(url, job_id)
    ref = storage.streams(number, 1).write_exclusive("state", [b"x" * size])
    timestamp_ms = 1_000 * number if at is None else at
    content = metadata(ref, job_id=job_id, job_name=job_name, checkpoint_id=number, timestamp_ms=timestamp_ms)
    if commits:
        sink = OperatorSnapshot(lists={COMMITTABLES_STATE: []})
        content = msgspec.structs.replace(content, states={**content.states, "sink": (sink,)})
    storage.write_metadata(number, encode_metadata(content))
    return ref


def flip(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)


def everything(folder: Path) -> list[Path]:
    return sorted(folder.rglob("*"))


def test_an_empty_or_missing_directory_holds_nothing(url, tmp_path):
    assert list_checkpoints(url) == []
    assert list_checkpoints(str(tmp_path / "missing")) == []
    assert resume_point(url, "clicks") is None


def test_the_list_tells_complete_from_incomplete(url):
    take(url, 1)
    take(url, 2, job_id=B, job_name="other", size=100)
    CheckpointStorage(url, A).streams(3, 1).write_exclusive("state", [b"12345"])
    first, incomplete, other = list_checkpoints(url)
    inline = len(b"a") + len(b"b") + len(b"enumerator")
    assert (first.job_id, first.job_name, first.checkpoint_id) == (A, "clicks", 1)
    assert (first.complete, first.timestamp_ms, first.size_bytes, first.problem) == (
        True,
        1_000,
        4 + inline,
        None,
    )
    assert (incomplete.checkpoint_id, incomplete.complete, incomplete.size_bytes) == (3, False, 5)
    assert incomplete.job_name == "clicks"
    assert incomplete.problem.startswith("incomplete")
    assert (other.job_name, other.size_bytes) == ("other", 100 + inline)
    assert list_checkpoints(f"{url}/{A}") == [first, incomplete]


def test_a_path_from_the_list_can_be_loaded(url):
    take(url, 1)
    [info] = list_checkpoints(url)
    for path in (info.path, info.path + "/", info.path + "/_metadata"):
        stored = load(path)
        assert stored.metadata.checkpoint_id == 1
        verify(stored, content=True)


def test_loading_what_is_no_checkpoint_says_so(url):
    take(url, 1)
    with pytest.raises(CheckpointError, match="no complete checkpoint") as caught:
        load(f"{url}/{A}")
    assert caught.value.reason is CheckpointFailureReason.NOT_FOUND


def test_a_missing_file_is_a_problem_in_the_list(url):
    ref = take(url, 1)
    CheckpointStorage(url, A).discard_files([ref])
    [info] = list_checkpoints(url)
    assert info.complete
    assert "missing" in info.problem


def test_resume_takes_the_newest_and_goes_on_after_the_highest_id(url):
    take(url, 1)
    take(url, 2)
    CheckpointStorage(url, A).streams(5, 1).write_exclusive(
        "state", [b"of a checkpoint that never completed"]
    )
    point = resume_point(url, "clicks")
    assert point.checkpoint.metadata.checkpoint_id == 2
    assert [c.checkpoint_id for c in point.retained] == [2, 1]
    assert point.next_checkpoint_id == 6
    assert point.skipped == ()
    assert point.checkpoint.storage().job_id == A


def test_another_jobs_checkpoints_are_not_resumed(url):
    take(url, 9, job_id=B, job_name="other")
    assert find_latest(url, "clicks") == []
    assert resume_point(url, "clicks") is None


def test_the_newest_run_is_resumed_and_an_older_run_never(url):
    take(url, 90, job_id=A, at=1_000)
    take(url, 3, job_id=B, at=2_000)
    take(url, 4, job_id=B, at=3_000)
    assert [(i.job_id, i.checkpoint_id) for i in find_latest(url, "clicks")] == [(B, 4), (B, 3)]


def test_a_flipped_byte_makes_the_previous_one_be_used_loudly(tmp_path, caplog):
    url = str(tmp_path)
    take(url, 1)
    ref = take(url, 2)
    flip(tmp_path / A / ref.path)
    before = everything(tmp_path)
    with caplog.at_level(logging.WARNING):
        point = resume_point(url, "clicks")
    assert point.checkpoint.metadata.checkpoint_id == 1
    assert point.next_checkpoint_id == 3
    [skipped] = point.skipped
    assert skipped.checkpoint_id == 2
    [record] = caplog.records
    assert "checkpoint 2 of job 'clicks' cannot be used" in record.message
    assert "does not match its checksum" in record.message
    assert str(tmp_path / A / ref.path) in record.message
    assert everything(tmp_path) == before


def test_a_job_that_commits_output_does_not_go_back_unasked(tmp_path, caplog):
    url = str(tmp_path)
    take(url, 1, commits=True)
    ref = take(url, 2, commits=True)
    flip(tmp_path / A / ref.path)
    before = everything(tmp_path)
    with pytest.raises(CheckpointError, match="would be committed again") as caught:
        resume_point(url, "clicks")
    assert caught.value.reason is CheckpointFailureReason.CORRUPT
    assert caught.value.where == str(tmp_path / A / "chk-2")
    assert str(tmp_path / A / ref.path) in caught.value.what
    assert "execution.checkpointing.recovery-fallback" in caught.value.fix
    assert str(tmp_path / A / "chk-1") in caught.value.fix
    assert everything(tmp_path) == before
    assert resume_point(url, "clicks", fallback=True).checkpoint.metadata.checkpoint_id == 1
    assert "checkpoint 2 of job 'clicks' cannot be used" in caplog.text


def test_the_path_stands_once_in_the_warning(tmp_path, caplog):
    url = str(tmp_path)
    take(url, 1)
    flip(tmp_path / A / take(url, 2).path)
    resume_point(url, "clicks")
    [record] = caplog.records
    assert record.message.count(str(tmp_path)) == 1


def test_a_checkpoint_that_cannot_be_read_for_the_moment_is_not_passed_over(url, monkeypatch):
    """A network that is down looks like damage to whoever does not ask why: the older one would repeat output."""
    take(url, 1)
    take(url, 2)
    read = storage_module.read_metadata

    def unreachable(files, folder, retry):
        if "chk-2" in files.url(folder):
            raise unreadable("the metadata", TimeoutError("no answer"), files.url(folder))
        return read(files, folder, retry)

    monkeypatch.setattr(catalog_module, "read_metadata", unreachable)
    for question in (lambda: resume_point(url, "clicks", fallback=True), lambda: list_checkpoints(url)):
        with pytest.raises(CheckpointError, match="no answer") as caught:
            question()
        assert caught.value.reason is CheckpointFailureReason.STORAGE


def test_a_flipped_byte_in_the_metadata_does_too(tmp_path, caplog):
    take(str(tmp_path), 1)
    take(str(tmp_path), 2)
    flip(tmp_path / A / "chk-2" / "_metadata")
    point = resume_point(str(tmp_path), "clicks")
    assert point.checkpoint.metadata.checkpoint_id == 1
    assert "does not match its checksum" in caplog.text


def test_when_none_is_whole_the_error_lists_each_with_its_problem(tmp_path):
    url = str(tmp_path)
    flip(tmp_path / A / take(url, 1).path)
    take(url, 2)
    flip(tmp_path / A / "chk-2" / "_metadata")
    before = everything(tmp_path)
    with pytest.raises(CheckpointError, match="no checkpoint of job 'clicks' can be used") as caught:
        resume_point(url, "clicks")
    assert caught.value.reason is CheckpointFailureReason.CORRUPT
    for path in ("chk-1", "chk-2"):
        assert str(tmp_path / A / path) in caught.value.what
    assert "--from" in caught.value.fix
    assert everything(tmp_path) == before


def test_damaged_metadata_alone_is_an_error_and_no_fresh_start(tmp_path):
    CheckpointStorage(str(tmp_path), A).claim_attempt("clicks")
    take(str(tmp_path), 1)
    flip(tmp_path / A / "chk-1" / "_metadata")
    with pytest.raises(CheckpointError, match="can be used"):
        resume_point(str(tmp_path), "clicks")
    assert resume_point(str(tmp_path), "another job") is None  # the job's record tells whose it is
    (tmp_path / A / "_job").unlink()
    with pytest.raises(CheckpointError, match="can be used"):
        resume_point(str(tmp_path), "another job")  # nobody knows: better loud


def test_a_running_job_falls_back_the_same_way(tmp_path, caplog):
    storage = CheckpointStorage(str(tmp_path), A)
    take(str(tmp_path), 1)
    take(str(tmp_path), 2)
    shutil.rmtree(tmp_path / A / "chk-2")
    checkpoint, skipped = newest_valid(job_candidates(storage, (2, 1)), "job 'clicks'")
    assert checkpoint.metadata.checkpoint_id == 1
    assert [info.checkpoint_id for info in skipped] == [2]
    assert "no complete checkpoint" in caplog.text


def test_a_moved_checkpoint_directory_still_restores(tmp_path):
    take(str(tmp_path / "old"), 1)
    (tmp_path / "old").rename(tmp_path / "new")
    verify(load(str(tmp_path / "new" / A / "chk-1")), content=True)
