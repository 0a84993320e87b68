from __future__ import annotations

import errno
import logging
from threading import Event

import pytest

from millstream.checkpoint.metadata import encode_metadata
from millstream.checkpoint.storage import CheckpointStorage
from millstream.core.errors import CheckpointError, CheckpointFailureReason
from millstream.runtime.job_manager.cleanup import Cleanup
from millstream.runtime.job_manager.fencing import Unfenced
from tests.checkpoint.samples import metadata

JOB = "0" * 32


@pytest.fixture
def cleanup():
    cleanup = Cleanup(lambda: None, Unfenced())
    yield cleanup
    cleanup.close(join=True)


def settle(cleanup: Cleanup) -> None:
    cleanup.join(60)
    cleanup.deliver()


def test_what_cannot_be_deleted_is_logged_once_and_goes_when_the_storage_allows_it(
    cleanup, tmp_path, monkeypatch, caplog
):
    storage = CheckpointStorage(str(tmp_path), JOB)
    for number in (1, 2):
        storage.write_metadata(number, encode_metadata(metadata(job_id=JOB, checkpoint_id=number)))

    def refuse(path: str) -> None:
        raise OSError(errno.EROFS, "Read-only file system")

    with monkeypatch.context() as patched, caplog.at_level(logging.WARNING):
        patched.setattr(storage._files, "remove", refuse)
        cleanup.delete(lambda: storage.discard(1))
        for _ in range(3):
            settle(cleanup)
            assert cleanup.remembered == 1
            cleanup.retry()
        settle(cleanup)
    assert storage.checkpoint_ids() == (1, 2)
    [record] = caplog.records
    assert "Read-only file system" in record.message
    cleanup.retry()
    settle(cleanup)
    assert storage.checkpoint_ids() == (2,)
    assert cleanup.remembered == 0


def test_a_deletion_that_hangs_holds_up_nobody_else(cleanup):
    """The thread that writes metadata is another one; here: submitting never waits, and what fails is not lost."""
    go_on = Event()
    done: list[int] = []

    def hangs() -> None:
        go_on.wait(60)

    def fails() -> None:
        done.append(1)
        raise CheckpointError(CheckpointFailureReason.STORAGE, "planned")

    cleanup.delete(hangs)
    cleanup.delete(fails)
    assert not cleanup.deliver()
    go_on.set()
    settle(cleanup)
    assert (done, cleanup.remembered) == ([1], 1)
