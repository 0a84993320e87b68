import logging

import pytest

from millstream.core.configuration import Configuration, options
from millstream.core.errors import JobDefinitionError
from millstream.runtime.graph.compiler import compile_job
from millstream.runtime.job_manager.batch_mode import fit_to_mode
from tests.graph.graphs import Program


def job(mode):
    program = Program(runtime_mode=mode)
    program.map(program.source())
    return compile_job(program.build())


def settings():
    configuration = Configuration()
    configuration.set(options.CHECKPOINTING_INTERVAL, 1_000)
    configuration.set(options.STATE_BACKEND, "rocksdb")
    configuration.set(options.RUNTIME_MODE, "AUTOMATIC")
    return configuration


def test_in_batch_mode_checkpoints_are_ignored_with_one_line_in_the_log(caplog):
    with caplog.at_level(logging.INFO):
        fitted, resume = fit_to_mode(job("AUTOMATIC"), settings(), resume=True, savepoint_path=None)
    assert fitted.get(options.CHECKPOINTING_INTERVAL) is None
    assert fitted.get(options.RUNTIME_MODE) == "BATCH"
    assert fitted.get(options.STATE_BACKEND) == "hashmap"
    assert resume is False
    assert [record.message for record in caplog.records] == [
        "job 'test' runs in BATCH mode: it takes no checkpoints, and begins at the beginning"
    ]


def test_in_batch_mode_without_checkpoints_nothing_is_said(caplog):
    with caplog.at_level(logging.INFO):
        fit_to_mode(job("BATCH"), Configuration(), resume=False, savepoint_path=None)
    assert caplog.records == []


def test_in_batch_mode_a_start_from_a_checkpoint_is_refused():
    with pytest.raises(JobDefinitionError, match="/data/chk-3"):
        fit_to_mode(job("BATCH"), Configuration(), resume=False, savepoint_path="/data/chk-3")


def test_in_streaming_mode_everything_stays():
    given = settings()
    given.set(options.RUNTIME_MODE, "STREAMING")
    assert fit_to_mode(job("STREAMING"), given, resume=True, savepoint_path="x") == (given, True)
