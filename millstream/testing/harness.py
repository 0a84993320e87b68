"""Runs one operator in isolation: records and watermarks in, results and watermarks out, snapshots in between."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any, TypeAlias

from ..checkpoint.assignment import assign_state
from ..checkpoint.storage import CheckpointStorage
from ..core.batch import MAX_TIMESTAMP, RecordBatch, Watermark, WatermarkStatus
from ..core.clock import ManualClock
from ..core.types import KeyEncoder
from ..operators.base import (
    FusibleOperator,
    KeyedSpec,
    Operator,
    OperatorContext,
    OperatorSpec,
    RuntimeInfo,
    snapshot_of,
)
from ..runtime.graph.fusion import FusedOperators
from ..runtime.worker.processing_time import ProcessingTimeService
from ..state.backend import BackendContext, KeyedStateBackend
from ..state.backends import BackendType, create_backend
from ..state.handles import OperatorSnapshot
from ..state.key_groups import key_group_of, key_group_range, subtask_of_key_group

W: TypeAlias = Watermark
"""A watermark in `OperatorHarness.output`: `W(10)`."""

_MAX_PARALLELISM = 128


class _Collector:
    def __init__(self) -> None:
        self.output: list[Any] = []
        self.timestamps: list[int | None] = []
        self.side: dict[str, list[Any]] = {}

    def emit(self, batch: RecordBatch) -> None:
        self.output += batch.values
        self.timestamps += [None] * len(batch) if batch.timestamps is None else batch.timestamps

    def emit_side(self, tag: str, batch: RecordBatch) -> None:
        self.side.setdefault(tag, []).extend(batch.values)

    def emit_watermark(self, timestamp: int) -> None:
        self.output.append(Watermark(timestamp))
        self.timestamps.append(None)

    def emit_status(self, idle: bool) -> None:
        self.output.append(WatermarkStatus(idle))
        self.timestamps.append(None)


class OperatorHarness:
    """All subtasks of one operator, fed by hand.

    Args:
        spec: the operator.
        backend: `hashmap` or `rocksdb`.
        parallelism: number of subtasks; records of a keyed operator go to the one that owns their key group.
        cache_entries: bound of the RocksDB backend's write-back cache.

    Attributes:
        output: results and watermarks (`W`) in order, over all subtasks; watermarks of parallel subtasks come once.
        timestamps: event time of each entry of `output`, None where there is none.
        side: records by side output.
        counters: by name, as the operator counted.
        clock: processing time; move it with `set_processing_time`.
    """

    def __init__(
        self,
        spec: OperatorSpec,
        *,
        backend: BackendType = "hashmap",
        parallelism: int = 1,
        cache_entries: int = 100_000,
        directory: Path | None = None,
        _restored: Sequence[OperatorSnapshot] = (),
        _history: _Collector | None = None,
        _clock: ManualClock | None = None,
        _attempt: int = 0,
    ) -> None:
        self.spec = spec
        self.clock = _clock or ManualClock(now_ms=0)
        self.counters: dict[str, int] = {}
        self._backend: BackendType = backend
        self._parallelism = parallelism
        self._cache_entries = cache_entries
        self._directory = directory or Path(tempfile.mkdtemp(prefix="millstream-harness-"))
        self._attempt = _attempt
        self._collector = _history or _Collector()
        self._time = ProcessingTimeService(self.clock)
        self._storage = CheckpointStorage(str(self._directory / "checkpoints"), "harness")
        self._checkpoint_id = _attempt * 1000
        self._jobs: list[tuple[Callable[[], Any], Callable[[Any], None]]] = []
        shares = assign_state(_restored, parallelism, _MAX_PARALLELISM) if _restored else ()
        unions = {
            name: [item for snapshot in _restored for item in snapshot.lists.get(name, ())]
            for name in {
                name for snapshot in _restored for name in snapshot.lists if name.startswith("union:")
            }
        }
        self._operators: list[Operator] = []
        self._entries: list[Operator] = []
        for subtask in range(parallelism):
            share = shares[subtask] if shares else OperatorSnapshot()
            operator = spec.create()
            operator.name = spec.kind
            operator.open(self._context(subtask, share, unions))
            self._operators.append(operator)
            self._entries.append(
                FusedOperators([operator]) if isinstance(operator, FusibleOperator) else operator
            )

    @property
    def output(self) -> list[Any]:
        """Everything emitted so far, also before a restore."""
        return self._collector.output

    @property
    def timestamps(self) -> list[int | None]:
        """Event times of `output`."""
        return self._collector.timestamps

    @property
    def side(self) -> dict[str, list[Any]]:
        """Side outputs so far."""
        return self._collector.side

    @property
    def results(self) -> list[Any]:
        """`output` without watermarks and statuses."""
        return [entry for entry in self.output if not isinstance(entry, Watermark | WatermarkStatus)]

    def element(self, value: Any, ts: int | None = None) -> None:
        """Process one record."""
        self.batch([value], None if ts is None else [ts])

    def batch(self, values: Iterable[Any], timestamps: Iterable[int] | None = None) -> None:
        """Process records in one batch per subtask."""
        rows: list[list[tuple[Any, int | None]]] = [[] for _ in self._entries]
        values = list(values)
        times: Sequence[int | None] = [None] * len(values) if timestamps is None else list(timestamps)
        for value, time in zip(values, times, strict=True):
            rows[self._owner(value)].append((value, time))
        for entry, operator, share in zip(self._entries, self._operators, rows, strict=True):
            if share:
                known = [time for _, time in share if time is not None]
                entry.process_batch(
                    RecordBatch([value for value, _ in share], known if timestamps is not None else None)
                )
                operator.end_of_batch()

    def _owner(self, value: Any) -> int:
        if self._parallelism == 1 or not isinstance(self.spec, KeyedSpec):
            return 0
        key = KeyEncoder(self.spec.key_type).encode(self.spec.key_selector(value))
        return subtask_of_key_group(key_group_of(key, _MAX_PARALLELISM), _MAX_PARALLELISM, self._parallelism)

    def watermark(self, timestamp: int) -> None:
        """Advance event time of all subtasks."""
        for index, (entry, operator) in enumerate(zip(self._entries, self._operators, strict=True)):
            entry.process_watermark(timestamp)
            operator.end_of_batch()
            if index < self._parallelism - 1 and self.output and isinstance(self.output[-1], Watermark):
                self.output.pop()  # one watermark for all, after the results of all
                self.timestamps.pop()

    def set_processing_time(self, now_ms: int) -> None:
        """Move the clock forward and run the timers that are due."""
        self.clock.advance(now_ms - self.clock.now_ms())
        self._time.run_due()

    def flush(self) -> None:
        """What a barrier or an idle moment makes operators do."""
        for operator in self._operators:
            operator.flush()

    def end_input(self) -> None:
        """The MAX watermark, then the end."""
        self.watermark(MAX_TIMESTAMP)
        for operator in self._operators:
            operator.finish()

    def snapshot(self) -> tuple[OperatorSnapshot, ...]:
        """Take a checkpoint of all subtasks, written to files as in a job, and complete it."""
        self._checkpoint_id += 1
        snapshots = []
        for operator in self._operators:
            operator.flush()
            parts = operator.snapshot(self._checkpoint_id)
            if parts is None:
                snapshots.append(OperatorSnapshot())
                continue
            handle = None
            if parts.keyed is not None:
                handle = parts.keyed.write(self._storage.streams(self._checkpoint_id, self._attempt))
                parts.keyed.release()
            snapshots.append(snapshot_of(parts, handle))
        for operator in self._operators:
            operator.notify_checkpoint_complete(self._checkpoint_id)
        self.run_background()
        return tuple(snapshots)

    def run_background(self) -> None:
        """Run what the operator gave to its helper thread, here and now."""
        while self._jobs:
            work, handler = self._jobs.pop(0)
            handler(work())

    def restored(
        self, *, parallelism: int | None = None, backend: BackendType | None = None
    ) -> OperatorHarness:
        """A new harness that goes on from a snapshot of this one, which is closed; outputs are carried over."""
        snapshots = self.snapshot()
        self.close()
        return OperatorHarness(
            self.spec,
            backend=backend or self._backend,
            parallelism=parallelism or self._parallelism,
            cache_entries=self._cache_entries,
            directory=self._directory,
            _restored=snapshots,
            _history=self._collector,
            _clock=self.clock,
            _attempt=self._attempt + 1,
        )

    def state_entries(self) -> int:
        """Entries of all tables of all subtasks: 0 when everything that should be gone is gone."""
        return sum(_count_entries(operator) for operator in self._operators)

    def close(self) -> None:
        """Close the operators."""
        for operator in self._operators:
            operator.close()

    def _context(
        self, subtask: int, share: OperatorSnapshot, unions: dict[str, list[bytes]]
    ) -> OperatorContext:
        def count(name: str, n: int) -> None:
            self.counters[name] = self.counters.get(name, 0) + n

        return OperatorContext(
            info=RuntimeInfo(
                job_id="harness",
                job_name="harness",
                task_name=self.spec.kind,
                operator_name=self.spec.kind,
                operator_id="harness",
                subtask=subtask,
                parallelism=self._parallelism,
                max_parallelism=_MAX_PARALLELISM,
                attempt=self._attempt,
                restored_checkpoint_id=None,
                auto_watermark_interval_ms=200,
                checkpointing=True,
            ),
            output=self._collector,
            processing_time=self._time,
            clock=self.clock,
            restored_lists={**share.lists, **unions},
            open_backend=lambda: self._open_backend(subtask, share),
            count=count,
            run_in_background=lambda work, handler: self._jobs.append((work, handler)),
            send_to_client=lambda checkpoint_id, origin, data: None,
        )

    def _open_backend(self, subtask: int, share: OperatorSnapshot) -> KeyedStateBackend:
        local_dir = self._directory / f"attempt-{self._attempt}" / str(subtask)
        local_dir.mkdir(parents=True)
        return create_backend(
            self._backend,
            BackendContext(
                operator=self.spec.kind,
                max_parallelism=_MAX_PARALLELISM,
                key_groups=key_group_range(subtask, _MAX_PARALLELISM, self._parallelism),
                local_dir=local_dir,
                restored=share.keyed,
                reader=self._storage.reader(),
                cache_entries=self._cache_entries,
            ),
        )


def _count_entries(operator: Operator) -> int:
    count = 0
    for table in () if operator.backend is None else operator.backend.tables():
        count += sum(
            1 for namespace in list(table.namespaces()) for _ in table.namespace(namespace).entries()
        )
    return count
