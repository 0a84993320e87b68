"""Settings of operators and of the environment: what reaches the graph, and what is refused."""

from __future__ import annotations

from datetime import timedelta
from types import SimpleNamespace

import pytest

from millstream import (
    Configuration,
    JobDefinitionError,
    KeySelector,
    MemorySize,
    Partitioner,
    SlotSharingGroup,
    StreamExecutionEnvironment,
    Types,
)
from millstream.runtime.graph.compiler import compile_job
from millstream.runtime.graph.stream_graph import Custom, Global, Rebalance, Rescale, Shuffle
from millstream.runtime.worker.settings import WorkerSettings
from millstream.runtime.worker.task import Task

ID = "0123456789abcdef0123456789abcdef"


@pytest.fixture
def env():
    return StreamExecutionEnvironment.get_execution_environment()


@pytest.fixture
def numbers(env):
    return env.from_collection([1, 2, 3], Types.LONG())


def refused(call, match):
    with pytest.raises(JobDefinitionError, match=match) as caught:
        call()
    assert caught.value.where.startswith(f"{__file__}:"), caught.value.where
    assert caught.value.fix


# ---- partitioners


class Even(Partitioner[int]):
    def partition(self, key, num_partitions):
        return key % num_partitions


class Itself(KeySelector[int, int]):
    def get_key(self, value):
        return value


def test_partitioners_are_on_the_edge_that_follows(env, numbers):
    even, key = Even(), Itself()
    for stream in (
        numbers.rescale(),
        numbers.shuffle(),
        numbers.global_(),
        numbers.adaptive_rebalance(),
        numbers.partition_custom(even, key),
        numbers.partition_custom(max, abs),
    ):
        stream.map(str)
    found = [edge.partitioner for edge in env.get_stream_graph().edges]
    assert found == [
        Rescale(),
        Shuffle(),
        Global(),
        Rebalance(adaptive=True),
        Custom(even, key.get_key),
        Custom(max, abs),
    ]


def test_the_option_makes_rebalance_and_rescale_adaptive():
    configuration = Configuration()
    configuration.set_boolean("taskmanager.network.adaptive-partitioner.enabled", True)
    env = StreamExecutionEnvironment.get_execution_environment(configuration)
    numbers = env.from_collection([1])
    numbers.rebalance().map(str)
    numbers.rescale().map(str)
    numbers.shuffle().map(str)
    found = [edge.partitioner for edge in compile_job(env.get_stream_graph()).edges]
    assert found == [Rebalance(adaptive=True), Rescale(adaptive=True), Shuffle()]


def test_a_keyed_stream_is_partitioned_by_its_keys_alone(numbers):
    keyed = numbers.key_by(abs)
    for call in (
        keyed.rebalance,
        keyed.rescale,
        keyed.shuffle,
        keyed.global_,
        keyed.broadcast,
        keyed.forward,
    ):
        refused(call, "partitioning of a keyed stream")
    refused(lambda: keyed.partition_custom(max, abs), "partitioning of a keyed stream")


def test_what_is_no_partitioner_is_refused(numbers):
    refused(lambda: numbers.partition_custom(lambda key: 0, abs), "2 arguments")
    refused(lambda: numbers.partition_custom(Even, abs), "the class Even")
    refused(lambda: numbers.partition_custom(Even(), lambda: 0), "1 argument")


# ---- operators


def test_a_uid_hash_is_the_operator_id_whatever_the_uid_says(env, numbers):
    numbers.map(str).uid("u").set_uid_hash(ID).print()
    ids = [
        operator.operator_id for v in compile_job(env.get_stream_graph()).vertices for operator in v.operators
    ]
    assert ID in ids


@pytest.mark.parametrize("wrong", ["", "u", ID.upper(), ID + "0", None])
def test_what_is_no_uid_hash_is_refused(numbers, wrong):
    refused(lambda: numbers.map(str).set_uid_hash(wrong), "32 hexadecimal digits")


def test_a_uid_hash_is_given_once(env, numbers):
    numbers.map(str).set_uid_hash(ID)
    numbers.map(str).set_uid_hash(ID).print()
    with pytest.raises(JobDefinitionError, match=f"the uid hash '{ID}' is given to two operators"):
        compile_job(env.get_stream_graph())


def test_a_buffer_timeout_is_that_of_the_exchanges_behind_the_operator(env, numbers):
    numbers.map(str).set_buffer_timeout(timedelta(seconds=2)).rebalance().map(len).set_buffer_timeout(
        -1
    ).rebalance().print()
    edges = compile_job(env.get_stream_graph()).edges
    assert [edge.buffer_timeout_ms for edge in edges][-2:] == [2_000, -1]
    refused(lambda: numbers.map(str).set_buffer_timeout(-2), "buffer timeout")


def test_the_job_s_buffer_timeout_can_be_taken_away_and_given_back(env):
    assert env.get_buffer_timeout() == 100
    assert env.set_buffer_timeout(-1).get_buffer_timeout() == -1
    assert WorkerSettings.of(env.get_configuration().to_dict()).buffer_timeout_ms == -1
    assert env.set_buffer_timeout(timedelta(seconds=1)).get_buffer_timeout() == 1_000
    assert WorkerSettings.of(env.get_configuration().to_dict()).buffer_timeout_ms == 1_000
    refused(lambda: env.set_buffer_timeout(-2), "buffer timeout")


@pytest.mark.parametrize(
    ("timeouts", "expected"),
    [([], 130), ([None], 130), ([None, 5], 35), ([0], 30), ([-1, 700], 730), ([-1], None)],
)
def test_a_task_flushes_at_the_shortest_timeout_of_its_exchanges(timeouts, expected):
    writers = [SimpleNamespace(buffer_timeout_ms=timeout) for timeout in timeouts]
    task = SimpleNamespace(writers=writers, next_flush_ms=0)
    Task.schedule_flush(task, 30, 100)
    assert task.next_flush_ms == expected if expected is not None else task.next_flush_ms > 1 << 60


def test_an_operator_has_a_number(numbers):
    first, second = numbers.map(str), numbers.map(str)
    assert first.get_id() < second.get_id()
    refused(numbers.rebalance().get_id, "get_id")


# ---- slot sharing groups


def heavy():
    builder = SlotSharingGroup.builder("heavy").set_cpu_cores(1).set_task_heap_memory_mb(100)
    return (
        builder.set_task_off_heap_memory_mb(2)
        .set_managed_memory_mb(3)
        .set_external_resource("gpu", 1)
        .build()
    )


def test_a_slot_sharing_group_may_be_an_object(env, numbers):
    group = heavy()
    numbers.map(str).slot_sharing_group(group).map(len).print()
    numbers.map(str).slot_sharing_group("heavy").print()
    groups = {v.slot_sharing_group for v in compile_job(env.get_stream_graph()).vertices if not v.is_source}
    assert groups == {"heavy"}
    assert group.get_task_heap_memory() == MemorySize.of_mebi_bytes(100)
    assert group.get_task_off_heap_memory().get_mebi_bytes() == 2
    assert group.get_managed_memory().get_bytes() == 3 << 20
    assert group.get_external_resources() == {"gpu": 1.0}
    env.register_slot_sharing_group(heavy())


def test_a_group_is_described_in_one_way(env, numbers):
    env.register_slot_sharing_group(heavy())
    other = SlotSharingGroup.builder("heavy").build()
    refused(lambda: numbers.map(str).slot_sharing_group(other), "'heavy' is described in two ways")
    refused(lambda: SlotSharingGroup.builder(""), "not empty")
    refused(lambda: SlotSharingGroup.builder("g").set_cpu_cores(0), "must be a positive number, not 0")


# ---- the execution configuration


def test_the_execution_configuration_is_a_view_of_the_environment_s(env):
    config = env.get_config()
    config.set_parallelism(3).set_max_parallelism(12).set_auto_watermark_interval(timedelta(seconds=1))
    assert (env.get_parallelism(), env.get_max_parallelism()) == (3, 12)
    env.set_parallelism(4)
    assert (config.get_parallelism(), config.get_max_parallelism()) == (4, 12)
    assert config.get_auto_watermark_interval() == 1_000
    assert not config.is_object_reuse_enabled()
    assert config.enable_object_reuse().is_object_reuse_enabled()
    assert not config.disable_object_reuse().is_object_reuse_enabled()


@pytest.mark.parametrize("value", ["plain", "a, b", "it's", "'", "", "a:b", " spaced ", "''", ",,:,"])
def test_job_parameters_hold_any_text_also_through_the_text_form(env, value):
    config = env.get_config().set_global_job_parameters({"key": value, "other": 5})
    assert config.get_global_job_parameters() == {"key": value, "other": "5"}
    again = StreamExecutionEnvironment.get_execution_environment(
        Configuration.from_dict(env.get_configuration().to_dict())
    )
    assert again.get_config().get_global_job_parameters() == {"key": value, "other": "5"}


def test_bad_settings_are_refused(env):
    refused(lambda: env.get_config().set_parallelism(0), "parallelism")
    refused(lambda: env.get_config().set_auto_watermark_interval(0), "positive")
    refused(lambda: env.get_config().set_global_job_parameters("a"), "must be a dict")
