from __future__ import annotations

import errno

import pytest

from millstream.checkpoint.metadata import encode_metadata
from millstream.checkpoint.storage import CheckpointStorage
from millstream.core.errors import CheckpointError, MillstreamError
from millstream.runtime.graph.execution_graph import build_execution_graph
from millstream.runtime.graph.job_graph import ChainedOperator, JobGraph, JobVertex
from millstream.runtime.graph.stream_graph import JobSettings
from millstream.runtime.job_manager.restore_points import RestorePoints
from tests.checkpoint.samples import metadata

JOB = "0" * 32


@pytest.fixture
def storage(tmp_path):
    return CheckpointStorage(str(tmp_path), JOB)


def points(storage: CheckpointStorage, *, first_attempt: int) -> RestorePoints:
    operator = ChainedOperator("op", "Sum", "sum-by-user", None, None)
    vertex = JobVertex("v", 0, "sum", (operator,), 2, 128, "default")
    return RestorePoints(
        storage,
        "clicks",
        build_execution_graph(JobGraph(JobSettings("clicks"), (vertex,), ())),
        initial=None,
        initial_is_own=False,
        ignore_unclaimed_state=True,
        first_attempts=range(first_attempt, first_attempt + 1),
    )


def test_attempts_that_could_not_be_recorded_do_not_look_like_another_job_manager(storage, monkeypatch):
    """Found by `make chaos`, seed 8: a read-only directory for a second, and a worker that dies meanwhile."""
    points_of_job = points(storage, first_attempt=storage.claim_attempt("clicks"))
    storage.write_metadata(7, encode_metadata(metadata(job_id=JOB)))

    def refuse(path, open_content, *, replace=True):
        raise OSError(errno.EROFS, "Read-only file system")

    with monkeypatch.context() as patched:
        patched.setattr(storage._files, "write", refuse)
        for attempt in range(2, 6):
            with pytest.raises(CheckpointError, match="cannot be recorded"):
                points_of_job.find(attempt, attempt, (7,))
    assert points_of_job.find(6, 6, (7,)).checkpoint_id == 7
    assert storage.claim_attempt("clicks") == 7


def test_an_attempt_that_another_job_manager_has_begun_is_refused(storage):
    points_of_job = points(storage, first_attempt=storage.claim_attempt("clicks"))
    storage.write_metadata(7, encode_metadata(metadata(job_id=JOB)))
    assert CheckpointStorage(storage.url, JOB).claim_attempt("clicks") == 2
    with pytest.raises(MillstreamError, match="begun by another job manager"):
        points_of_job.find(2, 2, (7,))
