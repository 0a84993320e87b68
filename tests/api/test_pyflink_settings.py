"""Settings as PyFlink programs write them: what they do, and what is accepted without effect."""

from __future__ import annotations

import logging
import sys
from datetime import timedelta

import pytest

from millstream import (
    CheckpointingMode,
    Configuration,
    ConfigurationError,
    Duration,
    ExternalizedCheckpointRetention,
    JobDefinitionError,
)
from millstream.core.configuration.options import OPTIONS
from millstream.pyflink.checkpoint_storage import FileSystemCheckpointStorage, JobManagerCheckpointStorage
from millstream.pyflink.config_options import ConfigOptions
from millstream.pyflink.environment import StreamExecutionEnvironment
from millstream.pyflink.ignored_keys import IGNORED_KEYS, is_ignored_key
from millstream.pyflink.restart_strategy import RestartStrategies
from millstream.pyflink.state_backend import EmbeddedRocksDBStateBackend, PredefinedOptions


@pytest.fixture
def env(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    return StreamExecutionEnvironment.get_execution_environment()


@pytest.fixture
def log(caplog):
    caplog.set_level(logging.INFO, logger="millstream.pyflink")
    return caplog


def test_checkpoints_are_set_by_pyflink_s_argument_names(env):
    config = env.get_checkpoint_config()
    config.set_checkpointing_mode(checkpointing_mode=CheckpointingMode.AT_LEAST_ONCE)
    config.set_checkpoint_interval(checkpoint_interval=1000)
    config.set_min_pause_between_checkpoints(min_pause_between_checkpoints=20)
    config.set_tolerable_checkpoint_failure_number(tolerable_checkpoint_failure_number=2)
    retention = ExternalizedCheckpointRetention.NO_EXTERNALIZED_CHECKPOINTS
    config.set_externalized_checkpoint_retention(retention_mode=retention)
    assert env.get_checkpointing_mode() is CheckpointingMode.AT_LEAST_ONCE
    assert (env.get_checkpoint_interval(), config.get_min_pause_between_checkpoints()) == (1000, 20)
    assert config.get_tolerable_checkpoint_failure_number() == 2
    assert not config.is_externalized_checkpoints_enabled()
    assert not config.is_fail_on_checkpointing_errors()


def test_what_is_not_set_is_minus_one_as_in_pyflink(env):
    assert env.get_checkpoint_interval() == env.get_max_parallelism() == -1
    assert (
        env.get_checkpoint_config().get_checkpoint_interval() == env.get_config().get_max_parallelism() == -1
    )
    assert not env.get_checkpoint_config().is_checkpointing_enabled()
    env.set_max_parallelism(7).enable_checkpointing(5)
    assert (env.get_max_parallelism(), env.get_checkpoint_interval()) == (7, 5)
    assert env.get_checkpoint_config().is_checkpointing_enabled()


def test_failed_checkpoints_are_tolerated_or_not(env):
    config = env.get_checkpoint_config().set_fail_on_checkpointing_errors(fail_on_checkpointing_errors=False)
    assert config.get_tolerable_checkpoint_failure_number() > 1_000_000
    assert config.set_fail_on_checkpointing_errors(True).get_tolerable_checkpoint_failure_number() == 0


def test_unaligned_checkpoints_are_set_and_need_no_force(env, log):
    config = env.get_checkpoint_config().enable_unaligned_checkpoints()
    config.set_alignment_timeout(Duration.of_seconds(3))
    assert config.is_unaligned_checkpoints_enabled()
    assert env.is_unaligned_checkpoints_enabled()
    assert config.get_aligned_checkpoint_timeout() == config.get_alignment_timeout() == Duration.of_seconds(3)
    assert log.records == []
    assert not config.set_force_unaligned_checkpoints().is_force_unaligned_checkpoints()
    assert [record.levelname for record in log.records] == ["INFO"]
    assert not config.disable_unaligned_checkpoints().is_unaligned_checkpoints_enabled()


@pytest.mark.parametrize(
    "call",
    [
        lambda env: env.get_config().enable_force_kryo(),
        lambda env: env.get_config().set_latency_tracking_interval(interval=5),
        lambda env: env.get_config().set_use_snapshot_compression(use_snapshot_compression=True),
        lambda env: env.add_jars("file:///a.jar", "file:///b.jar"),
        lambda env: env.register_cached_file(file_path="/a", name="a", executable=True),
        lambda env: env.set_python_requirements("requirements.txt", requirements_cache_dir="cache"),
        lambda env: env.set_python_executable("python9"),
        lambda env: env.enable_changelog_state_backend(enabled=True),
        lambda env: env.configure(Configuration().set_string("pipeline.jars", "file:///a.jar")),
    ],
)
def test_what_changes_no_result_is_one_line_in_the_log(env, log, call):
    before = env.get_configuration().to_dict()
    call(env)
    assert len(log.records) == 1
    assert env.get_configuration().to_dict() == before


def test_the_directory_of_savepoints_is_a_key(env):
    assert env.get_default_savepoint_directory() is None
    env.set_default_savepoint_directory("/savepoints")
    assert env.get_default_savepoint_directory() == "/savepoints"
    assert env.get_configuration().to_dict()["execution.checkpointing.savepoint-dir"] == "/savepoints"


def test_keys_without_effect_are_left_out_and_others_are_checked(env, log, monkeypatch, tmp_path):
    monkeypatch.setattr(sys, "path", list(sys.path))
    (tmp_path / "helper.py").write_text("")
    config = Configuration.from_dict(map={"python.files": str(tmp_path / "helper.py"), "rest.port": "8081"})
    config.set_string("python.executable", "python9").set_integer("parallelism.default", 3)
    made = StreamExecutionEnvironment.get_execution_environment(config)
    assert made.get_configuration().to_dict() == {"parallelism.default": "3"}
    assert [record.args[0] for record in log.records] == ["python.executable", "rest.port"]
    assert sys.path[0] == str(tmp_path)
    with pytest.raises(ConfigurationError, match=r"unknown key 'pipeline\.jar'"):
        env.configure(Configuration.from_dict({"pipeline.jar": "a"}))
    with pytest.raises(JobDefinitionError, match="archives are not unpacked"):
        env.configure(Configuration.from_dict({"python.archives": "data.zip"}))


def test_keys_of_flink_1_get_today_s_names(env, log):
    config = Configuration.from_dict(
        {"pipeline.operator-chaining": "false", "execution.buffer-timeout": "1 min"}
    )
    config.set_string("state.backend", "rocksdb").set_string("state.backend.type", "hashmap")
    env.configure(config)
    assert not env.is_chaining_enabled()
    assert env.get_buffer_timeout() == 60_000
    assert env.get_configuration().get_string("state.backend.type", "") == "hashmap"
    assert len(log.records) == 3
    with pytest.raises(ConfigurationError, match=r"'state\.backend\.type' cannot be 'jobmanager'") as caught:
        env.configure(Configuration.from_dict({"state.backend": "jobmanager"}))
    assert "test_pyflink_settings.py" in caught.value.where


def test_no_key_of_millstream_is_ignored():
    assert all(is_ignored_key(key + ("x" if key[-1] in ".-" else "")) for key in IGNORED_KEYS)
    assert not is_ignored_key("taskmanager.batch-size")
    ignored = [key for key in OPTIONS if is_ignored_key(key)]
    assert ignored == []


def test_a_file_that_is_added_can_be_imported(env, monkeypatch, tmp_path):
    monkeypatch.setattr(sys, "path", list(sys.path))
    package = tmp_path / "folder" / "package"
    package.mkdir(parents=True)
    (package / "__init__.py").write_text("")
    env.add_python_file(str(package))
    assert sys.path[0] == str(package.parent)
    env.add_python_file(f"file://{tmp_path / 'folder'}")
    assert sys.path[0] == str(tmp_path / "folder")
    with pytest.raises(JobDefinitionError, match="does not exist"):
        env.add_python_file("no/such/file.py")


@pytest.mark.parametrize(
    ("call", "what"),
    [
        (lambda env: env.add_python_archive("data.zip", target_dir="data"), "is not unpacked"),
        (lambda env: env.add_source("a", source_name="numbers"), "a SourceFunction is code of a JVM"),
        (lambda env: env.create_input("a", type_info=None), "an InputFormat is code of a JVM"),
        (lambda env: env.set_restart_strategy("none"), "no restart strategy"),
        (
            lambda env: env.get_checkpoint_config().set_checkpoint_storage("memory"),
            "cannot be kept in 'memory'",
        ),
        (
            lambda env: env.get_checkpoint_config().set_checkpoint_storage(JobManagerCheckpointStorage()),
            "written to a folder",
        ),
        (lambda env: FileSystemCheckpointStorage(), "no path"),
    ],
)
def test_what_would_change_the_program_is_refused(env, call, what):
    with pytest.raises(JobDefinitionError, match=what) as caught:
        call(env)
    assert caught.value.fix
    assert caught.value.where


def test_restart_strategies_and_storages_of_pyflink_1_set_their_keys(env):
    env.set_restart_strategy(RestartStrategies.fixed_delay_restart(3, timedelta(seconds=2)))
    env.get_checkpoint_config().set_checkpoint_storage(FileSystemCheckpointStorage("file:///data"))
    env.set_state_backend(EmbeddedRocksDBStateBackend(enable_incremental_checkpointing=True))
    assert env.get_configuration().to_dict() == {
        "restart-strategy.type": "fixed-delay",
        "restart-strategy.fixed-delay.attempts": "3",
        "restart-strategy.fixed-delay.delay": "2000 ms",
        "execution.checkpointing.dir": "file:///data",
        "state.backend.type": "rocksdb",
    }
    env.set_restart_strategy(RestartStrategies.no_restart())
    assert env.get_configuration().get_string("restart-strategy.type", "") == "none"
    assert RestartStrategies.no_restart() == RestartStrategies.no_restart()
    assert RestartStrategies.no_restart() != RestartStrategies.fall_back_restart()
    env.set_restart_strategy(RestartStrategies.failure_rate_restart(2, 1000, 10))


def test_the_tuning_of_rocksdb_is_remembered(log):
    backend = EmbeddedRocksDBStateBackend()
    backend.set_predefined_options(PredefinedOptions.FLASH_SSD_OPTIMIZED)
    backend.set_db_storage_paths("/a", "/b")
    assert backend.get_predefined_options() is PredefinedOptions.FLASH_SSD_OPTIMIZED
    assert backend.get_db_storage_paths() == ["/a", "/b"]
    assert backend.is_incremental_checkpoints_enabled()
    assert len(log.records) == 2


def test_the_default_parallelism_gives_way_to_one_that_is_set(env):
    env.set_default_local_parallelism(3)
    assert (env.get_parallelism(), env.get_default_local_parallelism()) == (3, 3)
    env.set_default_local_parallelism(5)
    assert env.get_parallelism() == 3


def test_options_of_one_s_own_have_types_and_defaults():
    builder = ConfigOptions.key("application.limit")
    assert builder.int_type().default_value(7).default == 7
    assert builder.boolean_type().no_default_value().parse("yes") is True
    assert Configuration.from_dict({"application.limit": "9"}).get(builder.long_type().default_value(1)) == 9
    with pytest.raises(ValueError, match="3000000000"):
        builder.int_type().default_value(1).parse("3000000000")


def test_without_generated_uids_each_operator_needs_one(env):
    env.get_config().disable_auto_generated_uids()
    assert not env.get_config().has_auto_generated_uids_enabled()
    numbers = env.from_collection([1]).uid("numbers")
    doubled = numbers.map(lambda number: number * 2)
    doubled.print().set_uid_hash("0" * 32)
    with pytest.raises(JobDefinitionError, match="neither a uid nor a uid hash") as caught:
        env.get_execution_plan()
    assert "Map" in caught.value.where
    doubled.uid("doubled")
    assert "Map" in env.get_execution_plan()
