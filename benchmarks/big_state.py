"""`python -m benchmarks.big_state`: keyed state of many gigabytes, its snapshots and its restore, on one backend.

Fills a table with entries of about half a kilobyte, then reads and updates them at random in batches, as an operator does, while
snapshots are taken one after another. Prints and writes to `benchmarks/results/`: rates, the synchronous part of the snapshots, how
long a batch took at most, the peak of the resident memory, and how long it took to restore the last snapshot.
"""

from __future__ import annotations

import gc
import json
import resource
import statistics
import tempfile
import time
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from random import Random
from typing import Annotated, Any, Final

import typer

from millstream.checkpoint.storage import CheckpointStorage
from millstream.core.configuration.option import memory_size
from millstream.core.types import Types
from millstream.state.backend import BackendContext, KeyedStateBackend, TableDescriptor
from millstream.state.backends import BackendType, create_backend
from millstream.state.handles import KeyedStateHandle
from millstream.state.memory import WorkerMemory

from .figures import Outcome, write

VALUE_BYTES: Final = 400
ENTRY_BYTES: Final = 500  # with its key, as RocksDB stores it; about 700 as objects on the heap
BATCH: Final = 1_000
TABLE: Final = TableDescriptor(
    "accounts",
    Types.STRING(),
    Types.TUPLE([Types.LONG(), Types.PRIMITIVE_ARRAY(Types.BYTE())]),
    mutable_values=False,
)


class World:
    """A backend with its loop, alone in this process."""

    def __init__(self, kind: BackendType, folder: Path, memory_bytes: int, entries: int) -> None:
        self.storage = CheckpointStorage(str(folder / "checkpoints"), "big-state")
        self.folder, self.kind, self.memory_bytes, self.entries = folder, kind, memory_bytes, entries
        self.random = Random(1)
        self.threads = ThreadPoolExecutor(1)
        self.sync_ms: list[float] = []
        self.sync_cpu_ms: list[float] = []  # without what other processes of a busy machine take away
        self.batch_ms: list[float] = []
        self.snapshot_s: list[float] = []
        self.handle: KeyedStateHandle | None = None
        self.backend = self.open(())

    def open(self, restored: tuple[KeyedStateHandle, ...]) -> KeyedStateBackend:
        """An attempt of a subtask that owns all key groups."""
        local = Path(tempfile.mkdtemp(dir=self.folder))
        context = BackendContext(
            "accounts",
            128,
            (0, 127),
            local,
            restored,
            self.storage.reader(),
            cache_entries=200_000,
            memory=WorkerMemory(self.memory_bytes),
        )
        return create_backend(self.kind, context)

    def fill(self) -> None:
        """Put all entries."""
        table, randbytes = self.backend.table(TABLE), self.random.randbytes
        for start in range(0, self.entries, BATCH):
            entries = table.namespace(None)
            for number in range(start, start + BATCH):
                entries[f"account-{number}"] = (0, randbytes(VALUE_BYTES))
            self.backend.end_of_batch()

    def update(self, batches: int) -> Iterator[None]:
        """Read and write entries at random; a step is a batch."""
        table, randrange = self.backend.table(TABLE), self.random.randrange
        for _ in range(batches):
            began = time.perf_counter()
            entries = table.namespace(None)
            for _ in range(BATCH):
                key = f"account-{randrange(self.entries)}"
                count, content = entries[key]
                entries[key] = (count + 1, content)
            self.backend.end_of_batch()
            self.batch_ms.append((time.perf_counter() - began) * 1000)
            yield

    def snapshots(self, number: int, batches_between: int) -> None:
        """Take snapshots, updating all the time."""
        for checkpoint_id in range(1, number + 1):
            for _ in self.update(batches_between):
                pass
            began, cpu = time.perf_counter(), time.thread_time()
            pending = self.backend.snapshot(checkpoint_id)
            self.sync_cpu_ms.append((time.thread_time() - cpu) * 1000)
            self.sync_ms.append((time.perf_counter() - began) * 1000)
            written = self.threads.submit(pending.write, self.storage.streams(checkpoint_id, 1))
            updates = self.update(1 << 40)
            while not written.done():
                next(updates)
            self.snapshot_s.append(time.perf_counter() - began)
            self._complete(checkpoint_id, pending, written)

    def _complete(self, checkpoint_id: int, pending: Any, written: Future[KeyedStateHandle]) -> None:
        before, self.handle = self.handle, written.result()
        pending.release()
        self.backend.notify_checkpoint_complete(checkpoint_id)
        if before is not None:  # what a coordinator does with a checkpoint that is subsumed
            kept = set(self.handle.files.values())
            self.storage.discard_files([ref for ref in before.files.values() if ref not in kept])

    def restore_s(self) -> float:
        """How long it takes until the first entry of the last snapshot is read."""
        assert self.handle is not None, "a snapshot was taken"
        self.backend.close()
        del self.backend
        gc.collect()
        began = time.perf_counter()
        self.backend = self.open((self.handle,))
        assert self.backend.table(TABLE).namespace(None).peek("account-7") is not None
        return time.perf_counter() - began


def main(
    backend: str = "rocksdb",
    state_size: str = "1 gb",
    memory: str = "512 mb",
    snapshots: int = 10,
    batches: Annotated[int, typer.Option(help="Batches of 1,000 updates between two snapshots.")] = 50,
    folder: str = "",
) -> None:
    """Measure one backend."""
    parse = memory_size("1 gb").parse
    entries = parse(state_size) // ENTRY_BYTES // BATCH * BATCH
    kind: BackendType = "rocksdb" if backend == "rocksdb" else "hashmap"
    with tempfile.TemporaryDirectory(dir=folder or None) as place:
        details = measure(World(kind, Path(place), parse(memory), entries), snapshots, batches)
    details |= {"state_size": state_size, "memory": memory, "entries": entries}
    name = f"{state_size} of state on {backend}, synchronous part of a snapshot at most, ms"
    outcome = Outcome(name, details["sync_ms_max"], "ms", 50, details["sync_ms_max"] <= 50, details)
    print(json.dumps(details, indent=2))
    print(f"written to {write([outcome], label=f'big-state-{backend}')}")


def measure(world: World, snapshots: int, batches: int) -> dict[str, Any]:
    """All figures of one run."""
    began = time.perf_counter()
    world.fill()
    filled_s = time.perf_counter() - began
    rss_filled = _peak_rss_mb()
    world.snapshots(snapshots, batches)
    updates = len(world.batch_ms) * BATCH
    restore_s = world.restore_s()
    return {
        "sync_ms_max": round(max(world.sync_ms), 1),
        "sync_ms_median": round(statistics.median(world.sync_ms), 1),
        "sync_cpu_ms_max": round(max(world.sync_cpu_ms), 1),
        "sync_cpu_ms_median": round(statistics.median(world.sync_cpu_ms), 1),
        "batch_ms_max": round(max(world.batch_ms), 1),
        "batch_ms_median": round(statistics.median(world.batch_ms), 1),
        "snapshot_s_median": round(statistics.median(world.snapshot_s), 2),
        "filled_per_s": round(world.entries / filled_s),
        "updates_per_s": round(updates / (sum(world.batch_ms) / 1000)),
        "peak_rss_mb_filled": rss_filled,
        "peak_rss_mb": _peak_rss_mb(),
        "restore_s": round(restore_s, 2),
    }


def _peak_rss_mb() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024


if __name__ == "__main__":
    typer.run(main)
