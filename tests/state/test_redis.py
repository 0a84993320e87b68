"""The backend on a real Redis."""

from __future__ import annotations

import contextlib
import itertools
import traceback
from collections.abc import Iterable
from pathlib import Path
from typing import Any, ClassVar

import pytest
import redis

from millstream.core.errors import CheckpointError, ConfigurationError, ConnectorError, StateError
from millstream.dev.server import LocalServer, Server
from millstream.state import redis_store
from millstream.state.backend import KeyedStateBackend, StateOwner, StateStore
from millstream.state.backends import BackendType
from millstream.state.handles import KeyedStateHandle
from millstream.state.redis_connection import RedisConnection
from millstream.state.redis_keys import RedisKeys, applied
from millstream.state.redis_log import read_log
from tests.integration.engine.harness import wait_until
from tests.services.availability import unavailable, unique_name
from tests.state.backend_suite import MAX_PARALLELISM, VALUES, WINDOWS, StateBackendSuite
from tests.state.local_checkpoints import LocalCheckpoints


class TestRedis(StateBackendSuite):
    kind: ClassVar[BackendType] = "redis"
    examples: ClassVar[int] = 15

    @pytest.fixture(autouse=True)
    def _store(self, redis_server: Server) -> None:
        self.store = StateStore(redis_server.url, "tests")

    def owner(self, job: str, attempt: int) -> StateOwner:
        return StateOwner(job, "sum", attempt)

    def put(self, backend: KeyedStateBackend, value: int, keys: Iterable[str] = "xyz") -> None:
        for key in keys:
            backend.table(VALUES).namespace(None)[key] = value

    def values(self, backend: KeyedStateBackend) -> dict[str, int]:
        return dict(backend.table(VALUES).namespace(None).entries())

    def completed(
        self, backend: KeyedStateBackend, checkpoint_id: int, checkpoints: LocalCheckpoints
    ) -> KeyedStateHandle:
        """A snapshot that is complete, and in Redis."""
        handle = self.written(backend, checkpoint_id, checkpoints)
        backend.notify_checkpoint_complete(checkpoint_id)
        wait_until(lambda: self.is_applied(handle, checkpoint_id), "the log to be applied")
        return handle

    def is_applied(self, handle: KeyedStateHandle, checkpoint_id: int) -> bool:
        assert handle.external is not None
        keys = RedisKeys(self.store.area, handle.external.job_id, handle.external.operator_id)
        with redis.Redis.from_url(self.store.url) as client:
            found = client.hmget(keys.owner, [applied(group) for group in range(MAX_PARALLELISM)])
        return found == [b"%d" % checkpoint_id] * MAX_PARALLELISM

    def test_a_zombie_can_neither_snapshot_nor_apply_nor_take_over(
        self, tmp_path: Path, checkpoints: LocalCheckpoints
    ) -> None:
        job = unique_name("job")
        zombie = self.open(tmp_path / "a", owner=self.owner(job, 1))
        self.put(zombie, 1)
        handle = self.completed(zombie, 1, checkpoints)
        self.put(zombie, 2)
        late = self.written(zombie, 2, checkpoints)
        heir = self.open(tmp_path / "b", owner=self.owner(job, 2), restored=(handle,), reader=checkpoints)
        zombie.notify_checkpoint_complete(2)
        with pytest.raises(StateError, match="belongs to attempt 2"):
            wait_until(zombie.end_of_batch, "the refusal")
        with pytest.raises(StateError, match="belongs to attempt 2"):
            self.written(zombie, 3, checkpoints)
        zombie.close()
        with pytest.raises(StateError, match="belongs to attempt 2"):
            self.open(tmp_path / "c", owner=self.owner(job, 1), restored=(late,), reader=checkpoints)
        assert self.values(heir) == {"x": 1, "y": 1, "z": 1}
        heir.close()

    @pytest.mark.parametrize("dies_at", range(7))
    def test_a_restart_finishes_what_a_dead_worker_has_begun_to_apply(
        self,
        tmp_path: Path,
        checkpoints: LocalCheckpoints,
        monkeypatch: pytest.MonkeyPatch,
        dies_at: int,
    ) -> None:
        job = unique_name("job")
        monkeypatch.setattr(redis_store, "_OPERATIONS_AT_ONCE", 6)
        first = self.open(tmp_path / "a", owner=self.owner(job, 1))
        self.put(first, 1, "abcdefgh")
        first.table(WINDOWS).namespace(5)["x"] = [1]
        self.completed(first, 1, checkpoints)
        self.put(first, 2, "abcd")
        first.table(VALUES).namespace(None).remove("h")
        first.table(WINDOWS).drop(5)
        first.table(WINDOWS).namespace(6)["x"] = [2]
        handle = self.written(first, 2, checkpoints)
        expected = {**dict.fromkeys("abcd", 2), **dict.fromkeys("efg", 1)}
        steps = itertools.count()
        apply = RedisConnection.apply

        def dying(*arguments: Any) -> None:
            if next(steps) == dies_at:
                raise ConnectorError("planned", retryable=True)
            apply(*arguments)

        monkeypatch.setattr(RedisConnection, "apply", dying)
        first.notify_checkpoint_complete(2)
        with contextlib.suppress(ConnectorError):  # with few steps there is none to die at
            wait_until(lambda: first.end_of_batch() or not first._applier.busy, "the outcome")
        monkeypatch.setattr(RedisConnection, "apply", apply)
        first.close()
        assert next(steps) > dies_at or self.is_applied(handle, 2)
        second = self.open(tmp_path / "b", owner=self.owner(job, 2), restored=(handle,), reader=checkpoints)
        assert self.values(second) == expected
        assert list(second.table(WINDOWS).namespace(5).entries()) == []
        assert dict(second.table(WINDOWS).namespace(6).entries()) == {"x": [2]}
        second.close()

    def test_what_is_not_part_of_a_complete_checkpoint_never_reaches_redis(
        self, tmp_path: Path, checkpoints: LocalCheckpoints
    ) -> None:
        job = unique_name("job")
        first = self.open(tmp_path / "a", owner=self.owner(job, 1), cache_entries=2)
        self.put(first, 1)
        handle = self.completed(first, 1, checkpoints)
        self.put(first, 2, "xyzuvw")
        first.end_of_batch()
        self.written(first, 2, checkpoints)  # never complete
        first.close()
        second = self.open(tmp_path / "b", owner=self.owner(job, 2), restored=(handle,), reader=checkpoints)
        assert self.values(second) == {"x": 1, "y": 1, "z": 1}
        second.close()

    def test_a_log_holds_what_has_changed_since_the_last_one_that_was_applied(
        self, tmp_path: Path, checkpoints: LocalCheckpoints
    ) -> None:
        job = unique_name("job")
        backend = self.open(tmp_path / "a", owner=self.owner(job, 1))
        self.put(backend, 1, [f"key-{n}" for n in range(1_000)])
        self.completed(backend, 1, checkpoints)
        wait_until(lambda: backend.end_of_batch() or not backend._applier.busy, "the outcome")
        self.put(backend, 2, ["key-7"])
        second = self.written(backend, 2, checkpoints)  # aborted
        self.put(backend, 3, ["key-8"])
        third = self.written(backend, 3, checkpoints)
        backend.close()
        assert second.files["log"].size < third.files["log"].size < 1_000
        assert third.external is not None
        assert third.external.base == 1
        restored = self.open(tmp_path / "b", owner=self.owner(job, 2), restored=(third,), reader=checkpoints)
        values = self.values(restored)
        assert (len(values), values["key-7"], values["key-8"], values["key-9"]) == (1_000, 2, 3, 1)
        restored.close()

    @pytest.mark.parametrize("same_job", [True, False])
    def test_a_checkpoint_that_redis_has_left_behind_is_refused(
        self, tmp_path: Path, checkpoints: LocalCheckpoints, same_job: bool
    ) -> None:
        job = unique_name("job")
        backend = self.open(tmp_path / "a", owner=self.owner(job, 1))
        self.put(backend, 1)
        old = self.completed(backend, 1, checkpoints)
        self.put(backend, 2)
        self.completed(backend, 2, checkpoints)
        backend.close()
        other = self.owner(job if same_job else unique_name("job"), 2)
        with pytest.raises(StateError) as caught:
            self.open(tmp_path / "b", owner=other, restored=(old,), reader=checkpoints)
        assert "holds checkpoint 2" in caught.value.what
        assert "checkpoint 1 cannot be restored" in caught.value.what
        assert "savepoint" in (caught.value.fix or "")

    def test_a_job_that_redis_knows_is_not_started_from_nothing(
        self, tmp_path: Path, checkpoints: LocalCheckpoints
    ) -> None:
        job = unique_name("job")
        backend = self.open(tmp_path / "a", owner=self.owner(job, 1))
        self.put(backend, 1)
        self.completed(backend, 1, checkpoints)
        backend.close()
        with pytest.raises(StateError, match="started from nothing"):
            self.open(tmp_path / "b", owner=self.owner(job, 2))

    def test_lost_data_lets_no_checkpoint_complete_and_no_restore_pass(
        self, tmp_path: Path, checkpoints: LocalCheckpoints
    ) -> None:
        job = unique_name("job")
        backend = self.open(tmp_path / "a", owner=self.owner(job, 1))
        self.put(backend, 1)
        handle = self.completed(backend, 1, checkpoints)
        with redis.Redis.from_url(self.store.url) as client:
            client.delete(*client.keys(f"{self.store.area}:{job}:*"))
        with pytest.raises(StateError, match="lost"):
            self.written(backend, 2, checkpoints)
        backend.close()
        with pytest.raises(StateError, match="lost"):
            self.open(tmp_path / "b", owner=self.owner(job, 2), restored=(handle,), reader=checkpoints)

    def test_the_server_may_be_restarted_between_two_reads(
        self, tmp_path: Path, checkpoints: LocalCheckpoints, redis_server: Server
    ) -> None:
        if not isinstance(redis_server, LocalServer):
            unavailable("a given server cannot be restarted", fix="unset MILLSTREAM_TEST_REDIS")
        job = unique_name("job")
        backend = self.open(tmp_path / "a", owner=self.owner(job, 1), cache_entries=2)
        self.put(backend, 1, [f"key-{n}" for n in range(10)])
        self.completed(backend, 1, checkpoints)
        redis_server.kill()
        redis_server.start()
        assert self.values(backend) == {f"key-{n}": 1 for n in range(10)}
        self.completed(backend, 2, checkpoints)
        backend.close()

    def test_a_redis_that_throws_keys_away_is_refused(self, tmp_path: Path) -> None:
        with redis.Redis.from_url(self.store.url) as client:
            client.config_set("maxmemory", "1gb")
            client.config_set("maxmemory-policy", "allkeys-lru")
            try:
                with pytest.raises(ConfigurationError, match="allkeys-lru"):
                    self.open(tmp_path / "a")
            finally:
                client.config_set("maxmemory", "0")
                client.config_set("maxmemory-policy", "noeviction")

    @pytest.mark.parametrize(
        "url", ["redis://user:hush@127.0.0.1:1/0", "redis:hush@127.0.0.1", "redis://:hush@127.0.0.1:port/0"]
    )
    def test_the_password_is_in_no_error(
        self, tmp_path: Path, url: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("millstream.state.redis_connection._RETRIES", 0)
        store = StateStore(url, "tests")
        with pytest.raises((ConfigurationError, ConnectorError)) as caught:
            self.open(tmp_path / "a", store=store)
        assert "hush" not in "".join(traceback.format_exception(caught.value))
        assert "state.backend.redis.url" in str(caught.value)
        assert "hush" not in repr(store)

    def test_a_log_of_another_format_is_refused(self) -> None:
        with pytest.raises(CheckpointError, match="MSREDIS"):
            read_log(b"MSREDIS\x00\x03", (0, 7), {}, "here")
