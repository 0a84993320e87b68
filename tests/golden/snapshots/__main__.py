"""Writes the snapshots of this version: `python -m tests.golden.snapshots`. Once for each release, and then never again."""

from __future__ import annotations

import shutil
import sys
import tempfile
from importlib.metadata import version
from pathlib import Path

from millstream import SavepointFormatType
from millstream.testing import MiniCluster
from tests.golden.snapshots.job import build
from tests.golden.snapshots.restoring import FOLDER, KINDS, TAKEN_AT_MS, backend_of, restore


def write(kind: str, target: Path) -> None:
    """Run the job up to the middle of its input, take the snapshot, and put it at `target`."""
    with tempfile.TemporaryDirectory() as folder, MiniCluster() as cluster:
        env, told = build(1, backend_of(kind), f"{folder}/checkpoints")
        cluster.collect(told)
        job = cluster.start(env, "golden")
        job.advance_time(TAKEN_AT_MS)
        checkpoint = (
            job.trigger_checkpoint()
        )  # commits, so that no committable of this process is in what follows
        if kind.startswith("checkpoint"):
            shutil.copytree(Path(job.trigger_checkpoint()).parent, target)
            shutil.rmtree(target / Path(checkpoint).name)
        else:
            kind_of_savepoint = SavepointFormatType[kind.partition("-")[0].upper()]
            shutil.move(job.trigger_savepoint(f"{folder}/savepoints", kind_of_savepoint), target)
        job.cancel()


def main() -> None:
    release = FOLDER / version("millstream")
    if release.exists():
        sys.exit(f"{release} is there already: what a release wrote stays as it is")
    release.mkdir()
    for kind in KINDS:
        write(kind, release / kind)
    told = restore(release / "canonical", "hashmap", 1)
    (release / "expected.txt").write_text("".join(f"{line}\n" for line in told), encoding="utf-8")


if __name__ == "__main__":
    main()
