"""Which state backend a job uses, under PyFlink's names. The backends themselves are in the state layer."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar


class StateBackend:
    """Where keyed state lives. Checkpoints always go to the checkpoint directory.

    Attributes:
        name: value of the key `state.backend.type`.
    """

    name: ClassVar[str]


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
