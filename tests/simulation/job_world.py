"""Whole jobs in one thread under a virtual clock: the real JobManager, workers, tasks and checkpoints, on simulated processes,
network, storage and Kafka. One seed decides the program, the order of everything, and every fault.

Each point where a process meets the world (`touch`) may kill it, there and then. The JobManager dies too; its job is then started
again with `--resume`, perhaps at another parallelism. After `FAULTS_MS` faults stop, and the job must end with the right output.
"""

from __future__ import annotations

import errno
import secrets
import shutil
import sys
import tempfile
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from random import Random
from types import ModuleType
from typing import Any

import pytest

from millstream import (
    Configuration,
    DataStream,
    Duration,
    KeyedProcessFunction,
    RuntimeContext,
    StreamExecutionEnvironment,
    TumblingEventTimeWindows,
    ValueStateDescriptor,
    WatermarkStrategy,
)
from millstream.core.clock import ManualClock
from millstream.core.errors import CheckpointError, ConnectorError
from millstream.core.ids import JobId
from millstream.runtime.graph.compiler import compile_job
from millstream.runtime.job_manager import job_setup
from millstream.runtime.job_manager.background import Background as JobManagerBackground
from millstream.runtime.job_manager.client import JobClient, submit
from millstream.runtime.job_manager.scheduling import JobFailed
from millstream.runtime.worker.background import Background as WorkerBackground
from tests.simulation import job_storage
from tests.simulation.job_cluster import Calls, ProcessDied, SimulatedCluster
from tests.simulation.model_kafka import ModelKafka, ModelKafkaSink, ModelKafkaSource, Violation

FAULTS_MS = 4_000
TURNS = 20_000
"""Within which a job ends once faults have stopped: they take a small part of them."""
WINDOW_MS = 100
KEYS = 7


class World:
    """One run. `run` raises `Violation`, or whatever else is wrong.

    Args:
        plant: patches a bug into the job.
        danger: how likely a fault is wherever one can happen; drawn if None.
    """

    def __init__(
        self,
        seed: int,
        plant: Callable[[pytest.MonkeyPatch], None] | None = None,
        danger: float | None = None,
    ) -> None:
        self._plant = plant
        self.random = Random(seed)
        self.clock = ManualClock(1_000_000)
        self.folder = Path(tempfile.mkdtemp(prefix="millstream-simulation-"))
        drawn = self.random.choice((0.0, 0.001, 0.004, 0.012))
        self.danger = drawn if danger is None else danger
        self.program = PROGRAMS[self.random.choice(sorted(PROGRAMS))]
        self.kafka = self._kafka()
        self.clusters: list[SimulatedCluster] = []
        self.job_manager_deaths = 0
        self.checkpoints = 0
        self.restarts = 0
        self._settings = self._draw_settings()

    # ---- the run

    def run(self) -> None:
        """To the end of the job."""
        with pytest.MonkeyPatch.context() as patch:
            for module in _modules_with_helper_threads():
                patch.setattr(module, "Background", lambda *_: Calls(self.random))
            patch.setattr(secrets, "token_hex", lambda count: self.random.randbytes(count).hex())
            patch.setattr(job_setup, "new_job_id", lambda: JobId(self.random.randbytes(16).hex()))
            if self._plant is not None:
                self._plant(patch)
            job_storage.begin(self._touch_storage)
            try:
                self._run()
            finally:
                for cluster in self.clusters:
                    cluster.close(force=True)
                shutil.rmtree(self.folder)
        missing = self.kafka.wanted - self.kafka.visible
        if missing:
            raise Violation(f"lost: {dict(missing)}")

    def _run(self) -> None:
        client = self._start()
        for _ in range(TURNS):
            try:
                if self.is_faulty() and self.random.random() < self.danger / 2:
                    raise ProcessDied("the JobManager")
                busy = client._turn()
                if client._master.outcome is not None:
                    client._end(None)
            except ProcessDied:
                self.job_manager_deaths += 1
                client = self._start_again(client)
                continue
            if self.kafka.violations:
                raise Violation(self.kafka.violations[0])
            if self._refused_at_start(client):
                client = self._start_again(client)
            elif client._master.outcome is not None:
                self._count(client)
                client.wait(0)
                return
            self.clock.advance(self.random.choice((0, 0, 1)) if busy else self.random.choice((1, 1, 10)))
        message = f"the job does not end: {client._master.statistics()}"
        raise Violation(message)

    def _refused_at_start(self, client: JobClient) -> bool:
        """Whether a run ended before it had begun, since Kafka could not be reached: its address may be wrong."""
        outcome = client._master.outcome
        statistics = client._master.statistics()
        return (
            isinstance(outcome, JobFailed)
            and isinstance(outcome.failure.error, ConnectorError)
            and not statistics.restarts
        )

    def _start_again(self, client: JobClient) -> JobClient:
        self._count(client)
        self.clusters[-1].close(force=True)
        return self._start()

    def _count(self, client: JobClient) -> None:
        statistics = client._master.statistics()
        self.restarts += statistics.restarts
        if statistics.checkpoints is not None:
            self.checkpoints += statistics.checkpoints.completed

    def _start(self) -> JobClient:
        """As somebody would who starts it until it runs."""
        while True:
            try:
                client = self._submit()
                client._begin()
            except (ProcessDied, CheckpointError):
                if not self.is_faulty():
                    raise
                self.clock.advance(100)
            else:
                return client

    def _submit(self) -> JobClient:
        parallelism = self.random.randint(1, 3)
        settings = {**self._settings, "parallelism.default": str(parallelism)}
        env = StreamExecutionEnvironment.get_execution_environment(Configuration(settings))
        self.program(self, env).sink_to(ModelKafkaSink(self.kafka)).name("sink")
        return submit(
            compile_job(env.get_stream_graph("simulated")),
            env.get_configuration(),
            resume=True,
            clock=self.clock,
            cluster=lambda *_: self._cluster(),
        )

    def _cluster(self) -> SimulatedCluster:
        folder = self.folder / str(len(self.clusters))
        folder.mkdir()
        self.clusters.append(SimulatedCluster(self.random, self.clock, folder, self.is_faulty))
        return self.clusters[-1]

    # ---- faults

    def is_faulty(self) -> bool:
        """Whether faults may happen now."""
        return self.danger > 0 and self.clock.monotonic_ms() < FAULTS_MS

    def touch(self, place: str) -> None:
        """A process meets the outside: it may die of it, or be refused."""
        if not self.is_faulty() or self.random.random() >= self.danger:
            return
        if self.random.random() < 0.5:
            raise ProcessDied(place)
        raise ConnectorError(f"{place} failed", where="model Kafka", retryable=True)

    def _touch_storage(self, place: str) -> None:
        if not self.is_faulty() or self.random.random() >= self.danger * 5:
            return
        if self.random.random() < 0.3:
            raise ProcessDied(place)
        # What may pass would be tried again after a real pause.
        raise OSError(errno.ENOSPC, f"{place}: the storage is full")

    # ---- what is run

    def _draw_settings(self) -> dict[str, str]:
        choose = self.random.choice
        return {
            "execution.checkpointing.dir": f"{job_storage.PROTOCOL}://checkpoints",
            "execution.checkpointing.interval": f"{choose((20, 100, 300))} ms",
            "execution.checkpointing.timeout": f"{choose((200, 2_000))} ms",
            "execution.checkpointing.tolerable-failed-checkpoints": "1000",
            "execution.checkpointing.unaligned.enabled": choose(("true", "false")),
            "execution.checkpointing.aligned-checkpoint-timeout": f"{choose((0, 0, 5))} ms",
            "execution.checkpointing.num-retained": choose(("1", "3")),
            "restart-strategy.type": "fixed-delay",
            "restart-strategy.fixed-delay.attempts": "1000000",
            "restart-strategy.fixed-delay.delay": "10 ms",
            "pipeline.max-parallelism": "8",
            "taskmanager.mode": "process",
            "taskmanager.batch-size": choose(("2", "16", "1000")),
        }

    def _kafka(self) -> ModelKafka:
        random = self.random
        partitions: list[list[tuple[Any, int]]] = []
        number = 0
        for _ in range(random.randint(1, 4)):
            time, log = 0, []
            for _ in range(random.randint(0, 150)):
                time += random.choice((0, 1, 7))
                log.append(((f"key-{random.randrange(KEYS)}", number), time))
                number += 1
            partitions.append(log)
        wanted = WANTED[self.program]([record for log in partitions for record in log])
        return ModelKafka(partitions, wanted, self.touch, self.clock, random.choice((0, 5, 20)))

    def source(self, env: StreamExecutionEnvironment, partitions: list[int]) -> DataStream[tuple[str, int]]:
        """These partitions, each in the order of its times."""
        strategy = WatermarkStrategy.for_monotonous_timestamps()
        return env.from_source(ModelKafkaSource(self.kafka, partitions), strategy, f"input {partitions}")

    def everything(self, env: StreamExecutionEnvironment) -> DataStream[tuple[str, int]]:
        """All partitions, by one source or by two."""
        numbers = list(range(len(self.kafka.partitions)))
        if len(numbers) % 2:
            return self.source(env, numbers)
        return self.source(env, numbers[::2]).union(self.source(env, numbers[1::2]))


def _modules_with_helper_threads() -> list[ModuleType]:
    """Wherever the runtime makes one by this name."""
    kinds = (JobManagerBackground, WorkerBackground)
    return [module for module in list(sys.modules.values()) if getattr(module, "Background", None) in kinds]


def key_of(record: tuple[str, int]) -> str:
    return record[0]


def value_of(record: tuple[str, int]) -> int:
    return record[1]


def add(left: tuple[str, int], right: tuple[str, int]) -> tuple[str, int]:
    return (left[0], left[1] + right[1])


class CountAndRemind(KeyedProcessFunction):
    """Numbers the records of each key; a timer at the end of each window's time tells that it came."""

    def open(self, runtime_context: RuntimeContext) -> None:
        self._count = runtime_context.get_state(ValueStateDescriptor("count", int))

    def process_element(self, value: tuple[str, int], ctx: KeyedProcessFunction.Context) -> Iterator[Any]:
        count = (self._count.value() or 0) + 1
        self._count.update(count)
        time = ctx.timestamp()
        assert time is not None
        ctx.timer_service().register_event_time_timer(time - time % WINDOW_MS + WINDOW_MS)
        yield (value[0], count)

    def on_timer(self, timestamp: int, ctx: KeyedProcessFunction.OnTimerContext) -> Iterator[Any]:
        yield (f"timer of {ctx.get_current_key()}", timestamp)


def relay(world: World, env: StreamExecutionEnvironment) -> DataStream[Any]:
    """Through two exchanges."""
    return world.everything(env).rebalance().map(value_of).rebalance().map(lambda value: ("relayed", value))


def windows(world: World, env: StreamExecutionEnvironment) -> DataStream[Any]:
    """Sums of tumbling windows."""
    size = TumblingEventTimeWindows.of(Duration.of_millis(WINDOW_MS))
    return world.everything(env).key_by(key_of).window(size).reduce(add)


def timers(world: World, env: StreamExecutionEnvironment) -> DataStream[Any]:
    """State and timers by key."""
    return world.everything(env).key_by(key_of).process(CountAndRemind())


PROGRAMS: dict[str, Callable[[World, StreamExecutionEnvironment], DataStream[Any]]] = {
    "relay": relay,
    "timers": timers,
    "windows": windows,
}


def _relayed(records: list[tuple[Any, int]]) -> Counter[Any]:
    return Counter(("relayed", number) for (_, number), _ in records)


def _window_sums(records: list[tuple[Any, int]]) -> Counter[Any]:
    sums: dict[tuple[str, int], int] = {}
    for (key, number), time in records:
        place = (key, time // WINDOW_MS)
        sums[place] = sums.get(place, 0) + number
    return Counter((key, total) for (key, _), total in sums.items())


def _counts_and_timers(records: list[tuple[Any, int]]) -> Counter[Any]:
    counts = Counter(key for (key, _), _ in records)
    numbered = Counter((key, number) for key, count in counts.items() for number in range(1, count + 1))
    ends = {(key, time - time % WINDOW_MS + WINDOW_MS) for (key, _), time in records}
    return numbered + Counter((f"timer of {key}", end) for key, end in ends)


WANTED = {relay: _relayed, windows: _window_sums, timers: _counts_and_timers}
