"""Savepoints from the command line: started from, with or without all of their state, and disposed of."""

import pytest

from millstream.checkpoint.catalog import load

STOPPED = """
    import sys
    from millstream import StreamExecutionEnvironment, WatermarkStrategy
    from millstream.connectors.datagen import DataGeneratorSource, RateLimiterStrategy

    folder, limit, counts = sys.argv[1:]
    env = StreamExecutionEnvironment.get_execution_environment()
    env.enable_checkpointing(50)
    env.get_checkpoint_config().set_checkpoint_storage_dir(folder + "/checkpoints")
    source = DataGeneratorSource(lambda n: n, 600, RateLimiterStrategy.per_second(1_000))
    numbers = env.from_source(source, WatermarkStrategy.no_watermarks(), "numbers").uid("numbers")
    if counts == "counts":
        numbers = numbers.key_by(lambda n: n % 2).reduce(lambda a, b: a + b).uid("sums").name("Sums")
    numbers.print().uid("print")
    client = env.execute_async("numbers")
    if limit == "stop":
        while client.statistics().checkpoints.completed < 1:
            pass
        print("savepoint", client.stop_with_savepoint(False, folder + "/savepoints").result())
    client.wait()
"""


@pytest.fixture
def savepoint(millstream, job, tmp_path):
    """Of a job with sums, stopped."""
    printed = millstream("run", job(STOPPED), "--", tmp_path, "stop", "counts").stdout
    return printed.splitlines()[-1].removeprefix("savepoint ")


def test_state_without_an_operator_is_dropped_only_when_asked_for(millstream, job, tmp_path, savepoint):
    without_sums = (job(STOPPED), "--from", savepoint)
    refused = millstream("run", *without_sums, "--", tmp_path, "all", "none", code=1).stderr
    assert "Sums" in refused
    assert "--allow-non-restored-state" in refused
    printed = millstream("run", *without_sums, "-n", "--", tmp_path, "all", "none").stdout.split()
    assert 0 < int(printed[0]) < 599, "it did not go on from the position in the savepoint"
    assert printed == [str(n) for n in range(int(printed[0]), 600)]


def test_a_savepoint_is_disposed_of_and_nothing_else_is(millstream, tmp_path, savepoint):
    listed = millstream("checkpoints", tmp_path / "savepoints").stdout
    assert "no checkpoints in" in listed
    [checkpoint, *_] = tmp_path.glob("checkpoints/*/chk-*")
    refused = millstream("savepoint", "dispose", checkpoint, code=1).stderr
    assert "not a savepoint" in refused
    load(str(checkpoint))
    (tmp_path / "mine").mkdir()
    assert "_metadata" in millstream("savepoint", "dispose", tmp_path / "mine", code=1).stderr
    assert (tmp_path / "mine").exists()

    assert savepoint in millstream("savepoint", "dispose", savepoint).stdout
    assert list((tmp_path / "savepoints").iterdir()) == []
