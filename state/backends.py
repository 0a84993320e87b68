"""Chooses a backend by its configured name (`state.backend.type`)."""

from __future__ import annotations

from typing import Literal, TypeAlias, assert_never

from .backend import BackendContext, KeyedStateBackend
from .heap import HeapBackend

BackendType: TypeAlias = Literal["hashmap", "rocksdb", "postgresql", "redis"]
"""Flink's names."""


def create_backend(kind: BackendType, context: BackendContext) -> KeyedStateBackend:
    """A backend with what `context` restores.

    Raises:
        StateError: the restored state was written by another backend, or its parts contradict each other.
        CheckpointError: CORRUPT, a restored file is missing or damaged, or a database no longer has what is restored.
        ConnectorError: a database cannot be reached.
    """
    match kind:
        case "hashmap":
            return HeapBackend(context)
        case "rocksdb":
            from .rocksdb import RocksDBBackend

            return RocksDBBackend(context)
        case "postgresql":
            from .postgresql import PostgreSQLBackend

            return PostgreSQLBackend(context)
        case "redis":
            from .redis import RedisBackend

            return RedisBackend(context)
        case _:
            assert_never(kind)
