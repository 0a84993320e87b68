"""The backend on a real PostgreSQL."""

from __future__ import annotations

import traceback
from pathlib import Path
from random import Random
from typing import Any, ClassVar

import psycopg
import pytest

from millstream.core.errors import (
    CheckpointError,
    CheckpointFailureReason,
    ConfigurationError,
    ConnectorError,
    StateError,
)
from millstream.dev.server import LocalServer, Server
from millstream.state.backend import StateOwner, StateStore
from millstream.state.backends import BackendType
from millstream.state.handles import KeyedStateHandle
from tests.integration.engine.harness import wait_until
from tests.services.availability import unavailable, unique_name
from tests.state.backend_suite import VALUES, WINDOWS, StateBackendSuite
from tests.state.local_checkpoints import LocalCheckpoints


class TestPostgreSQL(StateBackendSuite):
    kind: ClassVar[BackendType] = "postgresql"
    examples: ClassVar[int] = 15

    @pytest.fixture(autouse=True)
    def _store(self, postgresql: Server) -> None:
        self.store = StateStore(postgresql.url, "millstream_tests")

    def damage(self, handle: KeyedStateHandle, checkpoints: LocalCheckpoints) -> None:
        assert handle.external is not None
        self.sql(
            "DELETE FROM snapshots USING operators WHERE id = operator_id AND job = %s",
            handle.external.job_id,
        )

    def sql(self, query: str, *parameters: Any) -> list[tuple[Any, ...]]:
        with psycopg.connect(self.store.url, options=f"-c search_path={self.store.area}") as connection:
            cursor = connection.execute(query, parameters)
            return cursor.fetchall() if cursor.description else []

    def owner(self, job: str, attempt: int) -> StateOwner:
        return StateOwner(job, "sum", attempt)

    def counts(self, job: str) -> dict[str, int]:
        """Rows of a job by state."""
        query = (
            "SELECT name, count(version) FROM operators JOIN states ON operators.id = operator_id "
            "LEFT JOIN entries ON states.id = state_id WHERE job = %s AND name <> '' GROUP BY name"
        )
        return dict(self.sql(query, job))

    def test_a_zombie_cannot_write(self, tmp_path: Path, checkpoints: LocalCheckpoints) -> None:
        job = unique_name("job")
        zombie = self.open(tmp_path / "a", owner=self.owner(job, 1))
        zombie.table(VALUES).namespace(None)["x"] = 1
        handle = self.written(zombie, 1, checkpoints)
        zombie.table(VALUES).namespace(None)["x"] = 2
        pending = zombie.snapshot(2)
        heir = self.open(tmp_path / "b", owner=self.owner(job, 2), restored=(handle,), reader=checkpoints)
        with pytest.raises(StateError, match="belongs to attempt 2"):
            pending.write(checkpoints.streams(2))
        pending.release()
        assert heir.table(VALUES).namespace(None)["x"] == 1
        zombie.close()
        # Nor can it come too late with a take-over of its own, which would remove what the heir has written.
        heir.table(VALUES).namespace(None)["x"] = 3
        second = self.written(heir, 2, checkpoints)
        with pytest.raises(StateError, match="belongs to attempt 2"):
            self.open(tmp_path / "c", owner=self.owner(job, 1), restored=(handle,), reader=checkpoints)
        heir.close()
        heir = self.open(tmp_path / "d", owner=self.owner(job, 3), restored=(second,), reader=checkpoints)
        assert heir.table(VALUES).namespace(None)["x"] == 3
        heir.close()

    def test_what_a_dead_attempt_wrote_behind_its_last_checkpoint_is_never_seen(
        self, tmp_path: Path, checkpoints: LocalCheckpoints
    ) -> None:
        job = unique_name("job")
        first = self.open(tmp_path / "a", owner=self.owner(job, 1))
        for key in ("x", "y", "z"):
            first.table(VALUES).namespace(None)[key] = 1
        handle = self.written(first, 1, checkpoints)
        first.table(VALUES).namespace(None)["x"] = 2
        first.table(VALUES).namespace(None).remove("y")
        first.table(VALUES).namespace(None)["new"] = 2
        never_completed = self.written(first, 2, checkpoints)
        first.close()
        second = self.open(tmp_path / "b", owner=self.owner(job, 2), restored=(handle,), reader=checkpoints)
        assert dict(second.table(VALUES).namespace(None).entries()) == {"x": 1, "y": 1, "z": 1}
        second.close()
        with pytest.raises(CheckpointError) as caught:
            self.open(
                tmp_path / "c", owner=self.owner(job, 3), restored=(never_completed,), reader=checkpoints
            )
        assert caught.value.reason is CheckpointFailureReason.CORRUPT

    def test_old_versions_go_when_no_retained_checkpoint_reads_them(
        self, tmp_path: Path, checkpoints: LocalCheckpoints
    ) -> None:
        job = unique_name("job")
        backend = self.open(tmp_path / "a", owner=self.owner(job, 1))
        handles = []
        for checkpoint in range(1, 6):
            for n in range(100):
                backend.table(VALUES).namespace(None)[f"key-{n}"] = checkpoint
            backend.table(WINDOWS).namespace(checkpoint)["x"] = [checkpoint]
            if checkpoint > 1:
                backend.table(WINDOWS).drop(checkpoint - 1)
            handles.append(self.written(backend, checkpoint, checkpoints))
        assert self.counts(job) == {"values": 500, "windows": 9}
        backend.notify_checkpoint_subsumed(4)
        # Of each key the versions of checkpoints 4 and 5; a window of each, and that the older one is gone.
        wait_until(lambda: self.counts(job) == {"values": 200, "windows": 3}, "the collection")
        backend.close()
        for handle, expected in zip(handles[3:], (4, 5), strict=True):
            restored = self.open(tmp_path / f"r{expected}", restored=(handle,), reader=checkpoints)
            values = dict(restored.table(VALUES).namespace(None).entries())
            assert values == {f"key-{n}": expected for n in range(100)}
            assert dict(restored.table(WINDOWS).namespace(expected).entries()) == {"x": [expected]}
            assert list(restored.table(WINDOWS).namespace(expected - 1).entries()) == []
            restored.close()
        with pytest.raises(CheckpointError, match="checkpoint 3"):
            self.open(tmp_path / "gone", restored=(handles[2],), reader=checkpoints)

    def test_an_attempt_removes_what_earlier_ones_left_behind(
        self, tmp_path: Path, checkpoints: LocalCheckpoints
    ) -> None:
        job = unique_name("job")
        handle = None
        for attempt in range(1, 4):
            backend = self.open(
                tmp_path / f"{attempt}",
                owner=self.owner(job, attempt),
                restored=() if handle is None else (handle,),
                reader=checkpoints,
            )
            for n in range(50):
                backend.table(VALUES).namespace(None)[f"key-{n}"] = attempt
            handle = self.written(backend, attempt, checkpoints)
            if attempt == 3:
                assert self.counts(job) == {"values": 150}
                backend.notify_checkpoint_subsumed(3)
                wait_until(lambda: self.counts(job) == {"values": 50}, "the collection")
            backend.close()

    def test_more_than_the_bound_is_written_before_the_checkpoint(
        self, tmp_path: Path, checkpoints: LocalCheckpoints
    ) -> None:
        job = unique_name("job")
        backend = self.open(tmp_path / "a", owner=self.owner(job, 1), cache_entries=10)
        for n in range(100):
            backend.table(VALUES).namespace(None)[f"key-{n}"] = n
            backend.end_of_batch()
        assert self.counts(job)["values"] > 80
        assert backend.statistics().entries_in_memory <= 10
        # Not complete, so not restored; and gone with the next attempt.
        backend.close()
        self.open(tmp_path / "b", owner=self.owner(job, 2)).close()
        assert self.counts(job)["values"] == 0

    def test_the_server_may_be_restarted_between_two_reads(
        self, tmp_path: Path, checkpoints: LocalCheckpoints, postgresql: Server
    ) -> None:
        if not isinstance(postgresql, LocalServer):
            unavailable("a given server cannot be restarted", fix="unset MILLSTREAM_TEST_POSTGRESQL")
        backend = self.open(tmp_path / "a", cache_entries=2)
        for n in range(10):
            backend.table(VALUES).namespace(None)[f"key-{n}"] = n
            backend.end_of_batch()
        postgresql.restart()
        assert [backend.table(VALUES).namespace(None)[f"key-{n}"] for n in range(10)] == list(range(10))
        postgresql.kill()
        postgresql.start()
        handle = self.written(backend, 1, checkpoints)
        backend.close()
        restored = self.open(tmp_path / "b", restored=(handle,), reader=checkpoints)
        assert len(list(restored.table(VALUES).namespace(None).entries())) == 10
        restored.close()

    def test_a_key_that_is_too_long_is_one_clear_error(
        self, tmp_path: Path, checkpoints: LocalCheckpoints
    ) -> None:
        backend = self.open(tmp_path / "a")
        backend.table(VALUES).namespace(None)[random_text(9_000)] = 1
        with pytest.raises(StateError) as caught:
            self.written(backend, 1, checkpoints)
        assert "2,500 bytes" in (caught.value.fix or "")
        backend.close()

    def test_a_schema_of_another_format_is_refused(self, tmp_path: Path) -> None:
        area = unique_name("schema").replace("-", "_")
        store = StateStore(self.store.url, area)
        self.open(tmp_path / "a", store=store).close()
        self.sql(f"UPDATE {area}.format SET version = 99")
        with pytest.raises(StateError, match="99"):
            self.open(tmp_path / "b", store=store)
        self.sql(f"DROP SCHEMA {area} CASCADE")

    @pytest.mark.parametrize(
        "url",
        [
            "postgresql://user:hush@127.0.0.1:1/nowhere",
            "postgresql//user:hush@127.0.0.1:1/nowhere",
            "postgresql://user:hush@127.0.0.1:port/nowhere",
        ],
    )
    def test_the_password_is_in_no_error(
        self, tmp_path: Path, url: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("millstream.state.postgresql_connection._PAUSES_MS", (1,))
        store = StateStore(url, "millstream_tests")
        with pytest.raises((ConfigurationError, ConnectorError)) as caught:
            self.open(tmp_path / "a", store=store)
        assert "hush" not in "".join(traceback.format_exception(caught.value))
        assert "state.backend.postgresql.url" in str(caught.value)
        assert "hush" not in repr(store)


def random_text(length: int) -> str:
    """Nothing that compression could help with."""
    return Random(7).randbytes(length).hex()
