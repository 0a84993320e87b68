"""What is removed of attempts that died, and what never is."""

from __future__ import annotations

from itertools import count

import msgspec
import pytest

from millstream.checkpoint.catalog import unfinished_run
from millstream.checkpoint.leftovers import remove_leftovers, remove_unlisted
from millstream.checkpoint.metadata import encode_metadata
from millstream.checkpoint.storage import CheckpointStorage
from tests.checkpoint.samples import metadata

JOB = "0" * 32
unique = count()


@pytest.fixture(params=["local", "memory"])
def storage(request, tmp_path):
    url = str(tmp_path / "checkpoints") if request.param == "local" else f"memory://leftovers-{next(unique)}"
    return CheckpointStorage(url, JOB)


@pytest.fixture
def sst(tmp_path):
    path = tmp_path / "000012.sst"
    path.write_bytes(b"x" * 1_000)
    return path


def complete(storage, checkpoint_id, *files):
    storage.write_metadata(
        checkpoint_id, encode_metadata(metadata(*files, job_id=JOB, checkpoint_id=checkpoint_id))
    )


def names(storage):
    return {file.partition("-")[0] for file in storage.file_names(None)}


def test_what_dead_attempts_left_goes_and_what_is_complete_stays(storage, sst):
    used = storage.streams(1, attempt=1).upload_shared(sst)
    exclusive = storage.streams(1, attempt=1).write_exclusive("state", (b"abc",))
    complete(storage, 1, used, exclusive)
    storage.streams(2, attempt=1).write_exclusive("state", (b"abc",))
    storage.streams(2, attempt=2).upload_shared(sst)
    assert remove_leftovers(storage, before_attempt=3) == 2
    assert storage.checkpoint_ids() == (1,)
    assert storage.file_names(None) == (used.path.partition("/")[2],)
    for file in (used, exclusive):
        storage.reader().verify(file, content=True)
    assert remove_leftovers(storage, before_attempt=3) == 0


def test_files_of_the_attempt_itself_are_left_alone(storage, sst):
    storage.streams(2, attempt=3).write_exclusive("state", (b"abc",))
    storage.streams(2, attempt=3).upload_shared(sst)
    assert remove_leftovers(storage, before_attempt=3) == 0
    assert storage.checkpoint_ids() == (2,)
    assert names(storage) == {"a3"}


def test_no_shared_file_goes_while_a_complete_checkpoint_cannot_be_read(storage, sst):
    storage.streams(1, attempt=1).upload_shared(sst)
    storage.write_metadata(1, b"damaged")
    storage.streams(2, attempt=1).write_exclusive("state", (b"abc",))
    remove_leftovers(storage, before_attempt=2)
    assert storage.checkpoint_ids() == (1,)
    assert names(storage) == {"a1"}


def test_nothing_is_there_yet(storage):
    assert remove_leftovers(storage, before_attempt=1) == 0


def test_a_run_that_died_before_its_first_checkpoint_is_found_by_its_name(storage):
    assert unfinished_run(storage.url, "clicks") is None
    storage.claim_attempt("clicks")
    assert unfinished_run(storage.url, "clicks") == JOB
    assert unfinished_run(storage.url, "sales") is None
    complete(storage, 1)
    assert unfinished_run(storage.url, "clicks") is None


def test_complete_checkpoints_that_no_list_confirms_are_removed_of_earlier_attempts_alone(storage):
    for number in (1, 2, 3):
        complete(storage, number)
    attempt = storage.load(3).attempt
    late = msgspec.structs.replace(metadata(job_id=JOB, checkpoint_id=4), attempt=attempt + 1)
    storage.write_metadata(4, encode_metadata(late))
    assert remove_unlisted(storage, [1, 2], before_attempt=attempt + 1) == 1
    assert storage.checkpoint_ids() == (1, 2, 4)


def test_an_unconfirmed_checkpoint_stays_while_a_confirmed_one_refers_into_its_folder(storage):
    file = storage.streams(1, 1).write_exclusive("state", [b"x"])
    complete(storage, 1)
    complete(storage, 2, file)
    assert remove_unlisted(storage, [2], before_attempt=1_000) == 0
    assert storage.checkpoint_ids() == (1, 2)
