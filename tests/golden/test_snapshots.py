"""Savepoints and checkpoints of every release are restored, at the parallelism of then and another, with all that they hold."""

from __future__ import annotations

from importlib.metadata import version

import pytest

from tests.golden.snapshots.job import RECORDS
from tests.golden.snapshots.restoring import FOLDER, KINDS, backend_of, restore

RELEASES = sorted(path.name for path in FOLDER.iterdir() if (path / "expected.txt").exists())
BACKENDS = {"canonical": ("hashmap", "rocksdb")}
CASES = [
    (release, kind, backend, parallelism)
    for release in RELEASES
    for kind in KINDS
    for backend in BACKENDS.get(kind, (backend_of(kind),))
    for parallelism in (1, 2)
]


def expected(release: str) -> list[str]:
    return (FOLDER / release / "expected.txt").read_text(encoding="utf-8").splitlines()


@pytest.mark.parametrize(("release", "kind", "backend", "parallelism"), CASES)
def test_a_snapshot_is_restored_with_all_that_it_holds(
    release: str, kind: str, backend: str, parallelism: int
) -> None:
    assert restore(FOLDER / release / kind, backend, parallelism) == expected(release)


@pytest.mark.parametrize("release", RELEASES)
def test_what_is_expected_speaks_of_every_kind_of_state(release: str) -> None:
    lines = expected(release)
    counted = [line for line in lines if line.startswith("counted ")]
    assert {line.partition(" after ")[2] for line in counted} == {str(RECORDS - len(counted))}
    for word in ("states", "rule"):
        assert sum(line.startswith(f"{word} ") for line in lines) == len(counted)
    assert any(line.startswith("again ") for line in lines)
    assert not any("None" in line for line in lines), "broadcast state or counts are missing"
    for word in ("window", "session", "timer key-1 EVENT_TIME", "timer key-1 PROCESSING_TIME"):
        assert any(line.startswith(word) for line in lines), word


def test_this_version_has_written_its_own() -> None:
    assert version("millstream") in RELEASES, "python -m tests.golden.snapshots writes them"
