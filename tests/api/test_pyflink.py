"""Programs written for PyFlink, as they are."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]

WINDOWS = """
import argparse
from typing import Iterable

from pyflink.common import Duration, Encoder, Time, Types, WatermarkStrategy
from pyflink.common.watermark_strategy import TimestampAssigner
from pyflink.datastream import ProcessWindowFunction, StreamExecutionEnvironment
from pyflink.datastream.connectors import FileSink, OutputFileConfig, RollingPolicy
from pyflink.datastream.window import (
    ContinuousEventTimeTrigger, EventTimeSessionWindows, SessionWindowTimeGapExtractor, TimeWindow, TumblingEventTimeWindows,
)


class Second(TimestampAssigner):
    def extract_timestamp(self, value, record_timestamp) -> int:
        return int(value[1])


class ByValue(SessionWindowTimeGapExtractor):
    def extract(self, element: tuple) -> int:
        return element[1]


class Count(ProcessWindowFunction[tuple, tuple, str, TimeWindow]):
    def process(self, key: str, context: ProcessWindowFunction.Context[TimeWindow], elements: Iterable[tuple]):
        return [(key, context.window().start, context.window().end, len(list(elements)))]

    def clear(self, context: ProcessWindowFunction.Context) -> None:
        pass


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--output")
    arguments, _ = parser.parse_known_args()
    env = StreamExecutionEnvironment.get_execution_environment()
    env.add_jars("file:///connectors.jar")
    env.set_parallelism(1)
    records = env.from_collection([("a", n) for n in (1, 2, 3, 9, 15)], Types.TUPLE([Types.STRING(), Types.INT()]))
    keyed = records.assign_timestamps_and_watermarks(
        WatermarkStrategy.for_bounded_out_of_orderness(Duration.of_seconds(1)).with_timestamp_assigner(Second())
    ).key_by(lambda x: x[0], key_type=Types.STRING())
    tumbling = keyed.window(TumblingEventTimeWindows.of(Time.milliseconds(10))).trigger(
        ContinuousEventTimeTrigger.of(Time.milliseconds(5))
    )
    sessions = keyed.window(EventTimeSessionWindows.with_dynamic_gap(ByValue()))
    types = Types.TUPLE([Types.STRING(), Types.INT(), Types.INT(), Types.INT()])
    counts = tumbling.process(Count(), types).union(sessions.process(Count(), types))
    if arguments.output:
        counts.sink_to(
            FileSink.for_row_format(arguments.output, Encoder.simple_string_encoder())
            .with_output_file_config(OutputFileConfig.builder().with_part_prefix("p").with_part_suffix(".ext").build())
            .with_rolling_policy(RollingPolicy.default_rolling_policy())
            .build()
        )
    else:
        counts.print()
    env.execute()
"""

STATE = """
from pyflink.common import Row
from pyflink.common.typeinfo import Types
from pyflink.datastream import RuntimeExecutionMode, StreamExecutionEnvironment
from pyflink.datastream.functions import KeyedProcessFunction, RuntimeContext
from pyflink.datastream.state import ValueStateDescriptor


class Sum(KeyedProcessFunction):
    def open(self, runtime_context: RuntimeContext):
        self.state = runtime_context.get_state(ValueStateDescriptor("state", Types.PICKLED_BYTE_ARRAY()))

    def process_element(self, value, ctx: "KeyedProcessFunction.Context"):
        self.state.update((self.state.value() or 0) + value.amount)
        yield value.name, self.state.value()


env = StreamExecutionEnvironment.get_execution_environment()
env.set_runtime_mode(RuntimeExecutionMode.STREAMING)
rows = env.from_collection(
    [Row(name="a", amount=1), ("b", 2), {"name": "a", "amount": 3}],
    type_info=Types.ROW_NAMED(["name", "amount"], [Types.STRING(), Types.INT()]),
)
rows.key_by(lambda value: value[0]).process(Sum()).print()
env.execute()
"""


TIME_TO_LIVE = """
from pyflink.common import Duration, Time, Types, WatermarkStrategy
from pyflink.common.watermark_strategy import TimestampAssigner
from pyflink.datastream import StreamExecutionEnvironment
from pyflink.datastream.functions import KeyedProcessFunction, RuntimeContext
from pyflink.datastream.state import StateTtlConfig, ValueStateDescriptor


class Sum(KeyedProcessFunction):
    def open(self, runtime_context: RuntimeContext):
        descriptor = ValueStateDescriptor("state", Types.FLOAT())
        descriptor.enable_time_to_live(
            StateTtlConfig.new_builder(Time.hours(1))
            .set_update_type(StateTtlConfig.UpdateType.OnReadAndWrite)
            .set_state_visibility(StateTtlConfig.StateVisibility.NeverReturnExpired)
            .cleanup_incrementally(cleanup_size=10, run_cleanup_for_every_record=True)
            .cleanup_in_rocksdb_compact_filter(1000, Duration.of_hours(1))
            .build()
        )
        self.state = runtime_context.get_state(descriptor)

    def process_element(self, value, ctx: "KeyedProcessFunction.Context"):
        self.state.update((self.state.value() or 0) + value[2])
        ctx.timer_service().register_event_time_timer(ctx.timestamp() + 20)

    def on_timer(self, timestamp: int, ctx: "KeyedProcessFunction.OnTimerContext"):
        yield ctx.get_current_key(), self.state.value()


class First(TimestampAssigner):
    def extract_timestamp(self, value, record_timestamp: int) -> int:
        return value[0]


env = StreamExecutionEnvironment.get_execution_environment()
types = Types.TUPLE([Types.LONG(), Types.STRING(), Types.FLOAT()])
records = env.from_collection([(1, "a", 1.5), (2, "b", 2.0), (1, "a", 3.5)], types)
times = WatermarkStrategy.for_bounded_out_of_orderness(Duration.of_seconds(2)).with_timestamp_assigner(First())
records.assign_timestamps_and_watermarks(times).key_by(lambda value: value[1]).process(Sum()).print()
env.execute()
"""


def run(
    program: str, folder: Path, *arguments: str, parallelism: int = 1
) -> subprocess.CompletedProcess[str]:
    script = folder / "job.py"
    script.write_text(program)
    command = [sys.executable, "-m", "millstream", "run", "--pyflink", str(script), "-p", str(parallelism)]
    return subprocess.run(
        [*command, "--", *arguments], cwd=ROOT, capture_output=True, text=True, timeout=60, check=False
    )


def test_windows_triggers_and_sessions(tmp_path: Path) -> None:
    done = run(WINDOWS, tmp_path)
    assert done.returncode == 0, done.stderr
    # The continuous trigger fires the first window at 5 and at its end; the second one would do so at 20, after its end.
    expected = [("a", 0, 10, 4)] * 2 + [("a", 10, 20, 1)]
    expected += [("a", 1, 6, 3), ("a", 9, 30, 2)]
    assert sorted(map(eval, done.stdout.split("\n")[:-1])) == sorted(expected)


def test_a_file_sink(tmp_path: Path) -> None:
    done = run(WINDOWS, tmp_path, "--output", str(tmp_path / "out"))
    assert done.returncode == 0, done.stderr
    parts = [path for path in (tmp_path / "out").rglob("p*.ext") if not path.name.startswith(".")]
    assert sum(len(path.read_text().splitlines()) for path in parts) == 5


@pytest.mark.parametrize("parallelism", [1, 2])
def test_rows_and_state(tmp_path: Path, parallelism: int) -> None:
    done = run(STATE, tmp_path, parallelism=parallelism)
    assert done.returncode == 0, done.stderr
    lines = [line.rpartition("> ")[2] for line in done.stdout.splitlines()]
    assert sorted(lines) == ["('a', 1)", "('a', 4)", "('b', 2)"]


def test_a_program_that_is_run_without_the_alias_is_told_of_it(tmp_path: Path) -> None:
    script = tmp_path / "job.py"
    script.write_text(
        "import sys; sys.modules['pyflink'] = None; import pyflink"
    )  # also where it is installed
    command = [sys.executable, "-m", "millstream", "run", str(script)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 1
    assert "millstream run --pyflink" in done.stderr


@pytest.mark.parametrize("parallelism", [1, 2])
def test_state_with_time_to_live(tmp_path: Path, parallelism: int) -> None:
    done = run(TIME_TO_LIVE, tmp_path, parallelism=parallelism)
    assert done.returncode == 0, done.stderr
    lines = [line.rpartition("> ")[2] for line in done.stdout.splitlines()]
    assert sorted(lines) == ["('a', 5.0)", "('b', 2.0)"]


@pytest.mark.parametrize(
    ("line", "advice"),
    [
        ("from pyflink.datastream.connectors import FlinkKafkaConsumer", "use KafkaSource"),
        ("from pyflink.datastream import FsStateBackend", "use HashMapStateBackend"),
        ("import pyflink.table", "there are no tables"),
        ("from pyflink.datastream.connectors.pulsar import PulsarSource", "there is no connector for Pulsar"),
        ("from pyflink.datastream import Nonsense", "see the migration page"),
        ("import pyflink; pyflink.nonsense", "see the migration page"),
    ],
)
def test_what_is_missing_says_what_to_use_instead(tmp_path: Path, line: str, advice: str) -> None:
    done = run(line, tmp_path)
    assert done.returncode == 1
    assert "does not exist in Millstream" in done.stderr
    assert advice in done.stderr


HELPER = """
from pyflink.common import Row


def doubled(row):
    return Row(name=row.name, amount=2 * row.amount)
"""

IN_WORKERS = """
from pyflink.common import Types
from pyflink.datastream import MapFunction, StreamExecutionEnvironment

import helper  # imported again by each worker, and imports pyflink there

TYPE = Types.ROW_NAMED(["name", "amount"], [Types.STRING(), Types.INT()])


class Describe(MapFunction):
    def map(self, value):
        import pyflink.datastream
        from pyflink.common.types import Row

        assert isinstance(value, Row)
        assert not hasattr(pyflink.datastream, "nothing")
        return f"{value.name}: {value.amount}"


env = StreamExecutionEnvironment.get_execution_environment()
rows = env.from_collection([("a", 1), ("b", 2), ("c", 3)], type_info=TYPE)
rows.rebalance().map(helper.doubled, output_type=TYPE).map(Describe(), output_type=Types.STRING()).print()
env.execute()
"""


@pytest.mark.parametrize("parallelism", [1, 2])
def test_functions_and_modules_beside_the_program_import_pyflink_in_workers(
    tmp_path: Path, parallelism: int
) -> None:
    (tmp_path / "helper.py").write_text(HELPER)
    done = run(IN_WORKERS, tmp_path, parallelism=parallelism)
    assert done.returncode == 0, done.stderr
    lines = [line.rpartition("> ")[2] for line in done.stdout.splitlines()]
    assert sorted(lines) == ["a: 2", "b: 4", "c: 6"]


FEATURES = """
import pyflink.datastream
from pyflink.common import JobID, JobStatus, Row, RowKind, Types
from pyflink.common.completable_future import CompletableFuture
from millstream import MillstreamError
from pyflink.datastream import connectors

assert not hasattr(pyflink.datastream, "FsStateBackend") and not hasattr(connectors, "PulsarSource")
assert hasattr(pyflink.datastream, "DataStream") and pyflink.datastream.functions.MapFunction
try:
    pyflink.datastream.FsStateBackend
except AttributeError as error:
    assert "use HashMapStateBackend" in str(error), error

env = pyflink.datastream.StreamExecutionEnvironment.get_execution_environment()
with env.from_collection([3, 1], type_info=Types.INT()).execute_and_collect() as results:
    assert [results.next(), next(results)] == [3, 1]

env.from_collection([1]).map(lambda number: number).print()
client = env.execute_async()
result = client.get_job_execution_result()
assert isinstance(result, CompletableFuture) and isinstance(client.get_job_id(), JobID)
assert client.get_job_execution_result().cancel(), "a future that nobody waits for may be cancelled"
assert result.result().get_job_id() == client.get_job_id() and result.exception() is None and result.done()
status = client.get_job_status().result()
assert status is JobStatus.FINISHED and status.is_globally_terminal_state() and status.is_terminal_state()
for savepoint in (client.trigger_savepoint, lambda: client.stop_with_savepoint(True, savepoint_directory="/tmp/s")):
    try:
        savepoint().result()
    except MillstreamError as error:
        assert "savepoint-dir" in str(error) or "the job ended" in str(error), error
    else:
        raise AssertionError("a savepoint was written of a job that had ended")
assert not JobStatus.SUSPENDED.is_globally_terminal_state()
print("all right")
"""


def test_modules_futures_and_iterators_behave_as_pyflink_s(tmp_path: Path) -> None:
    done = run(FEATURES, tmp_path)
    assert done.stdout == "1\nall right\n", done.stderr


NAMES = {
    "pyflink.common": "Configuration Duration Encoder ExecutionConfig Instant JobClient JobExecutionResult JobStatus Row RowKind "
    "SimpleStringSchema Time TypeInformation Types WatermarkStrategy",
    "pyflink.datastream": "AggregateFunction AsyncDataStream AsyncFunction BroadcastConnectedStream BroadcastStream CheckpointConfig "
    "CheckpointingMode CoFlatMapFunction CoMapFunction CoProcessFunction ConnectedStreams CountWindow DataStream DataStreamSink "
    "EmbeddedRocksDBStateBackend ExternalizedCheckpointRetention FilterFunction FlatMapFunction GlobalWindow HashMapStateBackend "
    "KeySelector KeyedBroadcastProcessFunction KeyedCoProcessFunction KeyedProcessFunction KeyedStream MapFunction MemorySize "
    "MergingWindowAssigner OutputTag Partitioner ProcessAllWindowFunction ProcessFunction ProcessWindowFunction ReduceFunction "
    "RuntimeContext RuntimeExecutionMode SinkFunction SlotSharingGroup StateBackend StreamExecutionEnvironment TimeDomain TimeWindow "
    "TimerService Trigger TriggerResult Window WindowAssigner WindowFunction WindowedStream",
    "pyflink.datastream.state": "AggregatingStateDescriptor ListState ListStateDescriptor MapState MapStateDescriptor "
    "ReducingStateDescriptor ValueState ValueStateDescriptor",
    "pyflink.datastream.connectors.kafka": "KafkaOffsetsInitializer KafkaRecordSerializationSchema KafkaSink KafkaSource",
    "pyflink.datastream.connectors.number_seq": "NumberSequenceSource",
    "pyflink.datastream.connectors.file_system": "BucketAssigner FileSink FileSource OutputFileConfig RollingPolicy StreamFormat",
    "pyflink.datastream.formats.json": "JsonRowDeserializationSchema JsonRowSerializationSchema",
    "pyflink.datastream.formats.csv": "CsvRowDeserializationSchema CsvRowSerializationSchema",
}


def test_the_names_that_programs_import_are_there(tmp_path: Path) -> None:
    lines = [f"from {module} import {', '.join(names.split())}" for module, names in NAMES.items()]
    done = run("\n".join([*lines, "from pyflink.datastream.window import *", "print('all there')"]), tmp_path)
    assert done.stdout == "all there\n", done.stderr
