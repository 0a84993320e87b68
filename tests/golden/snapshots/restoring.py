"""Starts the job from a snapshot of some release."""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path
from typing import Final

from millstream.testing import MiniCluster
from tests.golden.snapshots.job import build

FOLDER: Final = Path(__file__).parent
TAKEN_AT_MS: Final = 1_000
"""Processing time at which half of the input has been read."""

KINDS: Final = (
    "canonical",
    "native-hashmap",
    "native-rocksdb",
    "checkpoint-hashmap",
    "checkpoint-rocksdb",
)


def backend_of(kind: str) -> str:
    """The state backend that writes a kind; a canonical savepoint is written by the one that has to convert."""
    return kind.partition("-")[2] or "rocksdb"


def restore(snapshot: Path, backend: str, parallelism: int) -> list[str]:
    """What the job started from it tells until its end, sorted."""
    with tempfile.TemporaryDirectory() as folder, MiniCluster(now_ms=TAKEN_AT_MS) as cluster:
        copy = Path(folder) / "snapshot"
        shutil.copytree(snapshot, copy)
        [metadata] = [*copy.glob("_metadata"), *copy.glob("chk-*/_metadata")]
        env, told = build(parallelism, backend, f"{folder}/checkpoints")
        output = cluster.collect(told)
        cluster.start(env, "golden", restore_from=str(metadata.parent)).run_to_end()
        return sorted(output.records)
