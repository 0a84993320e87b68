"""Settings: where they come from, and what reaches the job."""

import json
import sys

import pytest

from millstream import (
    CheckpointingMode,
    Configuration,
    ConfigurationError,
    Duration,
    EmbeddedRocksDBStateBackend,
    ExternalizedCheckpointRetention,
    HashMapStateBackend,
    JobDefinitionError,
    RuntimeExecutionMode,
    StreamExecutionEnvironment,
    invocation,
)
from millstream.invocation import Invocation


@pytest.fixture(autouse=True)
def _in_an_empty_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def invoked_with(monkeypatch):
    def use(**options):
        monkeypatch.setattr(invocation, "_current", Invocation(**options))

    return use


def environment(**settings):
    return StreamExecutionEnvironment.get_execution_environment(Configuration(settings))


def test_the_program_comes_before_the_command_line_that_before_the_environment_and_the_file_last(
    tmp_path, monkeypatch, invoked_with
):
    (tmp_path / "millstream.yaml").write_text("parallelism.default: 2")
    assert environment().get_parallelism() == 2
    monkeypatch.setenv("MILLSTREAM_PARALLELISM_DEFAULT", "3")
    assert environment().get_parallelism() == 3
    invoked_with(overrides={"parallelism.default": "4"})
    assert environment().get_parallelism() == 4
    assert environment(**{"parallelism.default": 5}).get_parallelism() == 5
    assert environment().set_parallelism(6).get_parallelism() == 6


def test_setters_are_keys_of_the_configuration():
    env = environment()
    env.set_parallelism(2).set_max_parallelism(64).enable_checkpointing(Duration.of_seconds(3))
    env.set_state_backend(EmbeddedRocksDBStateBackend()).set_buffer_timeout(5).disable_operator_chaining()
    env.get_checkpoint_config().set_checkpoint_storage_dir("/checkpoints")
    env.configure({"pipeline.name": "named"})
    assert env.get_configuration().to_dict() == {
        "parallelism.default": "2",
        "pipeline.max-parallelism": "64",
        "execution.checkpointing.interval": "3000 ms",
        "execution.checkpointing.dir": "/checkpoints",
        "state.backend.type": "rocksdb",
        "execution.buffer-timeout.interval": "5",
        "pipeline.operator-chaining.enabled": "false",
        "pipeline.name": "named",
    }
    assert not env.is_chaining_enabled()
    assert env.get_max_parallelism() == 64


def test_checkpoint_settings_can_be_read_back():
    config = environment().get_checkpoint_config()
    assert not config.is_checkpointing_enabled()
    config.set_checkpoint_interval(100).set_checkpoint_timeout(Duration.of_minutes(2))
    config.set_min_pause_between_checkpoints(7).set_tolerable_checkpoint_failure_number(3)
    config.set_checkpointing_consistency_mode(CheckpointingMode.AT_LEAST_ONCE)
    config.set_externalized_checkpoint_retention(ExternalizedCheckpointRetention.DELETE_ON_CANCELLATION)
    config.set_max_concurrent_checkpoints(1)
    assert config.is_checkpointing_enabled()
    assert (config.get_checkpoint_interval(), config.get_checkpoint_timeout()) == (100, 120_000)
    assert (config.get_min_pause_between_checkpoints(), config.get_tolerable_checkpoint_failure_number()) == (
        7,
        3,
    )
    assert config.get_checkpointing_mode() is CheckpointingMode.AT_LEAST_ONCE
    assert config.get_externalized_checkpoint_retention().name == "DELETE_ON_CANCELLATION"
    assert config.get_max_concurrent_checkpoints() == 1
    assert config.get_checkpoint_storage_dir() is None


def test_the_backends_are_named_as_in_the_configuration():
    assert environment().set_state_backend(HashMapStateBackend()).get_configuration().to_dict() == {
        "state.backend.type": "hashmap"
    }


def test_an_unknown_key_is_refused_when_it_is_set_naming_the_line():
    with pytest.raises(ConfigurationError, match=r"nearest known one is 'parallelism\.default'") as caught:
        environment().configure({"paralelism.default": "2"})
    assert __file__ in caught.value.where


def test_a_setter_s_bad_value_names_the_user_s_line():
    with pytest.raises(JobDefinitionError, match="buffer timeout") as caught:
        environment().set_buffer_timeout(-2)
    assert __file__ in caught.value.where
    for mode in RuntimeExecutionMode:
        assert environment().set_runtime_mode(mode).get_configuration().to_dict() == {
            "execution.runtime-mode": mode.value
        }
    with pytest.raises(JobDefinitionError, match="at least 1 ms"):
        environment().enable_checkpointing(0)


def settings_of(env, job_name=None):
    env.from_collection([1]).map(str)
    return env.get_stream_graph(job_name).settings


def test_a_job_is_named_by_execute_or_the_configuration_or_the_script(monkeypatch):
    assert settings_of(environment(**{"pipeline.name": "configured"}), "given").name == "given"
    assert settings_of(environment(**{"pipeline.name": "configured"})).name == "configured"
    monkeypatch.setattr(sys.modules["__main__"], "__file__", "/jobs/click_count.py", raising=False)
    assert settings_of(environment()).name == "click_count"
    monkeypatch.delattr(sys.modules["__main__"], "__file__")
    assert settings_of(environment()).name == "millstream-job"


def test_settings_reach_the_graph():
    settings = settings_of(
        environment(
            **{
                "parallelism.default": 3,
                "pipeline.max-parallelism": 9,
                "pipeline.operator-chaining.enabled": False,
                "execution.local-aggregation.enabled": False,
            }
        )
    )
    assert (settings.parallelism, settings.max_parallelism) == (3, 9)
    assert (settings.chaining_enabled, settings.local_aggregation) == (False, False)


def test_a_program_without_operators_cannot_be_executed():
    env = environment()
    env.from_collection([1])
    with pytest.raises(JobDefinitionError, match="No operators defined"):
        env.execute()


def test_the_execution_plan_is_flink_s_json():
    env = environment(**{"parallelism.default": 2})
    env.from_collection([1]).map(str).name("text").print()
    nodes = json.loads(env.get_execution_plan())["nodes"]
    assert [(node["id"], node["type"], node["pact"], node["parallelism"]) for node in nodes] == [
        (1, "Source: Collection Source", "Data Source", 1),
        (2, "text", "Operator", 2),
        (3, "Sink: Print to Std. Out", "Data Sink", 2),
    ]
    assert nodes[1]["predecessors"] == [{"id": 1, "ship_strategy": "REBALANCE", "side": "second"}]
    assert "predecessors" not in nodes[0]


def test_asking_for_the_plan_changes_nothing():
    env = environment()
    env.from_collection([1]).map(str)
    assert env.get_execution_plan() == env.get_execution_plan()


def test_execute_gives_the_graph_away_when_the_command_line_wants_the_plan(invoked_with):
    shown = []
    invoked_with(show_plan=shown.append)
    env = environment()
    env.from_collection([1]).map(str)
    assert env.execute("first").get_net_runtime() == 0
    stream = env.from_collection([1]).map(str)
    with pytest.raises(SystemExit) as ended:
        stream.execute_and_collect("second")
    assert not ended.value.code
    assert [(graph.settings.name, len(graph.nodes)) for graph in shown] == [("first", 2), ("second", 3)]
