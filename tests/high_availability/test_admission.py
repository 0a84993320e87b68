"""What is refused before anybody leads, and what protects the storage."""

from __future__ import annotations

from pathlib import Path

import pytest

from millstream import Configuration, StreamExecutionEnvironment
from millstream.core.errors import ConfigurationError, JobDefinitionError
from millstream.runtime.high_availability.cluster_files import ClusterFiles
from millstream.runtime.job_manager.standby import stand_by


def environment(tmp_path: Path, **changes: str) -> StreamExecutionEnvironment:
    configuration = Configuration()
    keys = {
        "high-availability.type": "filesystem",
        "high-availability.storageDir": str(tmp_path / "ha"),
        "execution.checkpointing.interval": "1 s",
        **{key.replace("__", "-").replace("_", "."): value for key, value in changes.items()},
    }
    for key, value in keys.items():
        configuration.set_string(key, value)
    env = StreamExecutionEnvironment.get_execution_environment(configuration)
    env.from_collection([1, 2, 3]).print()
    return env


def test_a_batch_job_is_refused(tmp_path: Path) -> None:
    env = environment(tmp_path, execution_runtime__mode="BATCH")
    with pytest.raises(JobDefinitionError, match="BATCH mode takes no checkpoints"):
        env.execute()


def test_a_job_without_checkpoints_is_refused(tmp_path: Path) -> None:
    bare = Configuration()
    bare.set_string("high-availability.type", "filesystem")
    bare.set_string("high-availability.storageDir", str(tmp_path / "ha"))
    env = StreamExecutionEnvironment.get_execution_environment(bare)
    env.from_collection([1]).print()
    with pytest.raises(ConfigurationError, match="without checkpoints no standby"):
        env.execute()


def test_an_embedded_worker_is_refused(tmp_path: Path) -> None:
    env = environment(tmp_path, taskmanager_mode="embedded")
    with pytest.raises(ConfigurationError, match="dies with its leader"):
        env.execute()


def test_there_is_nothing_to_stand_by_for_when_it_is_off() -> None:
    with pytest.raises(ConfigurationError, match="high availability is off"):
        stand_by(Configuration())


def test_a_storage_directory_that_is_open_to_others_is_refused(tmp_path: Path) -> None:
    (tmp_path / "ha").mkdir(mode=0o755)
    with pytest.raises(ConfigurationError, match="open to other users") as caught:
        ClusterFiles(str(tmp_path / "ha"))
    assert "chmod 700" in (caught.value.fix or "")


def test_all_job_managers_have_one_secret_and_nobody_else_may_read_it(tmp_path: Path) -> None:
    folder = tmp_path / "new" / "ha"
    secret = ClusterFiles(str(folder)).secret()
    assert len(secret) == 32
    assert ClusterFiles(str(folder)).secret() == secret
    assert folder.stat().st_mode & 0o077 == 0


def test_a_job_s_graph_is_kept_until_it_is_removed(tmp_path: Path) -> None:
    files = ClusterFiles(str(tmp_path / "ha"))
    name = files.put_job("j" * 32, b"graph")
    assert ClusterFiles(str(tmp_path / "ha")).read_job(name) == b"graph"
    files.remove_job(name)
    files.remove_job(name)
    assert list((tmp_path / "ha").iterdir()) == []
