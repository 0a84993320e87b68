"""Which state backend a job uses, under PyFlink's names. The backends themselves are in the state layer."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import ClassVar

from .core.configuration import options


class StateBackend:
    """Where keyed state lives.

    Attributes:
        name: value of the key `state.backend.type`.
    """

    name: ClassVar[str]

    def configuration(self) -> Mapping[str, str]:
        """The keys that the backend is configured by, beside `state.backend.type`."""
        return {}


@dataclass(frozen=True, slots=True)
class HashMapStateBackend(StateBackend):
    """State as Python objects in memory: fastest, bounded by memory.

    >>> HashMapStateBackend().name
    'hashmap'
    """

    name: ClassVar[str] = "hashmap"


@dataclass(frozen=True, slots=True)
class EmbeddedRocksDBStateBackend(StateBackend):
    """State in RocksDB on the worker's disk behind a cache: bounded by disk, with incremental checkpoints.

    >>> EmbeddedRocksDBStateBackend().name
    'rocksdb'
    """

    name: ClassVar[str] = "rocksdb"


@dataclass(frozen=True, slots=True)
class PostgreSQLStateBackend(StateBackend):
    """State in PostgreSQL behind a cache, as versioned rows: a checkpoint is a version, and no file of state.

    Attributes:
        url: `postgresql://USER@HOST:PORT/DATABASE`, without the password where the workers have PGPASSWORD or ~/.pgpass.
        schema: that the tables are in; made if it is missing.

    >>> PostgreSQLStateBackend("postgresql://flow:secret@db/state")
    PostgreSQLStateBackend(schema='millstream')
    """

    name: ClassVar[str] = "postgresql"
    url: str = field(repr=False)
    schema: str = "millstream"

    def configuration(self) -> Mapping[str, str]:
        return {options.POSTGRESQL_URL.key: self.url, options.POSTGRESQL_SCHEMA.key: self.schema}


@dataclass(frozen=True, slots=True)
class RedisStateBackend(StateBackend):
    """State in Redis behind a cache: a checkpoint is the log of what has changed, which is applied when it is complete.

    Attributes:
        url: `redis://USER:PASSWORD@HOST:PORT/DATABASE`.
        prefix: that keys begin with.

    >>> RedisStateBackend("redis://:secret@cache:6379/0")
    RedisStateBackend(prefix='millstream')
    """

    name: ClassVar[str] = "redis"
    url: str = field(repr=False)
    prefix: str = "millstream"

    def configuration(self) -> Mapping[str, str]:
        return {options.REDIS_URL.key: self.url, options.REDIS_PREFIX.key: self.prefix}
