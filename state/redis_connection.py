"""Commands to Redis, repeated while it is away, and what its errors become."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from typing import Any, Final, TypeVar

from ..core.errors import ConfigurationError, ConnectorError, MissingDependencyError, StateError
from .backend import StateStore

T = TypeVar("T")

_LOG: Final = logging.getLogger(__name__)

_RETRIES: Final = 9
_FIRST_PAUSE_S: Final = 0.05
_LONGEST_PAUSE_S: Final = 2.0
"""Together some eight seconds, in which a server restarts."""

URL_OPTION: Final = "state.backend.redis.url"


class RedisConnection:
    """A client; its methods may be called by several threads.

    Args:
        store: URL and prefix.
        operator: name for error messages.

    Raises:
        MissingDependencyError: the extra `redis` is not installed.
        ConfigurationError: the URL is none; it is not shown, because of its password.
    """

    def __init__(self, store: StateStore, operator: str) -> None:
        self.where: Final = f"operator '{operator}', prefix '{store.area}' of the Redis of {URL_OPTION}"
        self._client = _client(store.url)
        self._apply = self._client.register_script(_APPLY)
        self._own = self._client.register_script(_OWN)

    def ask(self, command: str, *arguments: Any) -> Any:
        """Redis' answer to a command, which the client repeats by itself: all that we send may be repeated.

        Raises:
            ConnectorError: retryable, when Redis cannot be reached for some seconds; not retryable for what it refuses.
        """
        return self._run(lambda: self._client.execute_command(command, *arguments))

    def copy(self, places: Sequence[tuple[bytes, bytes]]) -> None:
        """Copy the values of keys to other keys, inside Redis."""

        def copy() -> None:
            pipeline = self._client.pipeline(transaction=False)
            for source, target in places:
                pipeline.copy(source, target, replace=True)
            pipeline.execute()

        self._run(copy)

    def apply(self, owner_key: bytes, attempt: int, operations: list[bytes | int]) -> None:
        """Do the operations in one step, if the attempt owns the state.

        INVARIANT X2: what an attempt writes to Redis is part of a checkpoint that is complete, and of its own line of attempts.
        Kept by: tests/state/test_redis.py

        Raises:
            StateError: a newer attempt owns it, or Redis has lost its data.
        """
        found = self._run(lambda: self._apply(keys=[owner_key], args=[attempt, *operations]))
        if found != b"done":
            raise self.not_owner(attempt, found)

    def own(self, owner_key: bytes, attempt: int) -> None:
        """Let no older attempt write from now on.

        Raises:
            StateError: there is a newer one.
        """
        found = self._run(lambda: self._own(keys=[owner_key], args=[attempt]))
        if int(found) != attempt:
            raise self.not_owner(attempt, found)

    def not_owner(self, attempt: int, found: bytes) -> StateError:
        """The error for an attempt that may not write any more. `found`: the attempt that may, empty if there is no trace of one."""
        if not found:
            return StateError(
                "Redis has lost the state: there is no trace of it",
                where=self.where,
                fix="restore the data of Redis (it needs appendonly or snapshots), or start from a canonical savepoint",
            )
        return StateError(
            f"attempt {attempt} may not write its state any more: it belongs to attempt {int(found)} now",
            where=self.where,
            fix="nothing is to be done if this attempt was given up; no two jobs may run from one job id",
        )

    def refuse_eviction(self) -> None:
        """State is no cache.

        Raises:
            ConfigurationError: Redis may throw keys away when its memory is full.
        """
        import redis

        try:
            settings: Any = self.ask("CONFIG GET", "maxmemory*")
        except ConnectorError as error:
            if not isinstance(error.__cause__, redis.ResponseError):
                raise
            _LOG.warning("%s: cannot be asked whether it evicts keys, which would lose state", self.where)
            return
        policy = settings.get("maxmemory-policy", settings.get(b"maxmemory-policy"))
        policy = policy.decode() if isinstance(policy, bytes) else policy
        limit = settings.get("maxmemory", settings.get(b"maxmemory"))
        if int(limit or 0) != 0 and policy != "noeviction":
            raise ConfigurationError(
                f"Redis throws keys away when its memory is full (maxmemory-policy {policy})",
                where=self.where,
                fix="CONFIG SET maxmemory-policy noeviction",
            )

    def close(self) -> None:
        """Idempotent."""
        self._client.close()

    def _run(self, operation: Callable[[], T]) -> T:
        import redis

        try:
            return operation()
        except (redis.ConnectionError, redis.TimeoutError) as error:
            raise ConnectorError(
                f"Redis cannot be reached: {error}",
                where=self.where,
                fix=f"start it, or mend {URL_OPTION}; a job restarts from its last checkpoint",
                retryable=not isinstance(error, redis.AuthenticationError),
            ) from error
        except redis.RedisError as error:
            raise ConnectorError(f"Redis refused: {error}", where=self.where) from error


def _client(url: str) -> Any:  # typed for texts, and given bytes
    try:
        import redis
        from redis.backoff import ExponentialBackoff
        from redis.retry import Retry
    except ImportError as error:
        raise MissingDependencyError("redis", "redis", needed_for="the state backend 'redis'") from error
    try:
        return redis.Redis.from_url(
            url,
            retry=Retry(ExponentialBackoff(cap=_LONGEST_PAUSE_S, base=_FIRST_PAUSE_S), _RETRIES),
            retry_on_error=[redis.ConnectionError, redis.TimeoutError, redis.BusyLoadingError],
            socket_timeout=30,
            socket_connect_timeout=5,
            client_name="millstream",
            protocol=2,
        )
    except ValueError:
        raise ConfigurationError(  # not chained: the client quotes what it could not read
            "the URL of Redis cannot be read",
            where=URL_OPTION,
            fix="write it as redis://:PASSWORD@HOST:6379/0, special characters in percent-encoding",
        ) from None


_OWN: Final = """
local current = redis.call('HGET', KEYS[1], 'attempt')
if current and tonumber(current) > tonumber(ARGV[1]) then
    return current
end
redis.call('HSET', KEYS[1], 'attempt', ARGV[1])
return ARGV[1]
"""

# Operations: kind, data key, index key, namespace, how many arguments follow, those.
_APPLY: Final = """
local current = redis.call('HGET', KEYS[1], 'attempt')
if current ~= ARGV[1] then
    return current or ''
end
local at = 2
while at <= #ARGV do
    local kind, data, index, part, count = ARGV[at], ARGV[at + 1], ARGV[at + 2], ARGV[at + 3], tonumber(ARGV[at + 4])
    at = at + 5
    if kind == 'drop' then
        redis.call('UNLINK', data)
    elseif kind == 'mark' then
        for i = at, at + count - 1, 2 do
            redis.call('HSET', KEYS[1], ARGV[i], ARGV[i + 1])
        end
    elseif kind == 'set' then
        for i = at, at + count - 1, 2 do
            redis.call('HSET', data, ARGV[i], ARGV[i + 1])
        end
        redis.call('SADD', index, part)
    else
        for i = at, at + count - 1 do
            redis.call('HDEL', data, ARGV[i])
        end
    end
    if (kind == 'drop' or kind == 'delete') and redis.call('EXISTS', data) == 0 then
        redis.call('SREM', index, part)
    end
    at = at + count
end
return 'done'
"""
