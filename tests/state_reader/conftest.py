"""Checkpoints of small jobs, taken where the tests say."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from millstream import (
    KeyedProcessFunction,
    RuntimeContext,
    StreamExecutionEnvironment,
    Types,
    WatermarkStrategy,
)
from millstream.state.descriptors import MapStateDescriptor, ValueStateDescriptor
from millstream.testing import ManualSource, MiniCluster, MiniJob


class Totals(KeyedProcessFunction):
    """A sum per key, and the last amount per key and item."""

    def open(self, runtime_context: RuntimeContext) -> None:
        self.total = runtime_context.get_state(ValueStateDescriptor("total", int))
        self.items = runtime_context.get_map_state(MapStateDescriptor("items", str, int))

    def process_element(self, value: tuple[str, str, int], ctx: Any) -> None:
        _, item, amount = value
        self.total.update((self.total.value() or 0) + amount)
        if amount:
            self.items.put(item, amount)
        else:
            self.items.remove(item)


class RunningTotals:
    """The job, to be given records and asked for checkpoints."""

    def __init__(self, source: ManualSource[tuple[str, str, int]], job: MiniJob) -> None:
        self.source = source
        self.job = job

    def take(self, *records: tuple[str, str, int]) -> str:
        """A checkpoint behind these records."""
        self.source.batch(list(records))
        return self.job.trigger_checkpoint()


Totaling = Callable[..., Any]


@pytest.fixture(params=["hashmap", "rocksdb"])
def totals(request: pytest.FixtureRequest, tmp_path: Path) -> Totaling:
    """Starts the job `totals`; its checkpoints are under `tmp_path/checkpoints`."""

    @contextmanager
    def run(
        backend: str = request.param, restore_from: str | None = None, **settings: str
    ) -> Iterator[RunningTotals]:
        source: ManualSource[tuple[str, str, int]] = ManualSource()
        env = StreamExecutionEnvironment.get_execution_environment()
        env.configure(
            {
                "state.backend.type": backend,
                "execution.checkpointing.dir": str(tmp_path / "checkpoints"),
                **settings,
            }
        )
        env.set_parallelism(2).enable_checkpointing(60_000)
        records = env.from_source(
            source,
            WatermarkStrategy.no_watermarks(),
            "records",
            Types.TUPLE([Types.STRING(), Types.STRING(), Types.LONG()]),
        )
        keyed = records.key_by(lambda record: record[0], Types.STRING())
        with MiniCluster() as cluster:
            cluster.collect(keyed.process(Totals(), Types.STRING()).uid("totals"))
            yield RunningTotals(source, cluster.start(env, "totals", restore_from=restore_from))

    return run
