"""Which of a table's entries have expired, and what is left of a value whose parts expire one by one.

A table whose entries expire holds in place of a value the pair `(time of the last access in ms, value)`; of a list each element,
and of a map that is one value each value, is such a pair.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final, Literal, TypeAlias

from ..core.types import CollectionTypeInfo, MapTypeInfo, TupleTypeInfo, TypeInformation, Types
from .ttl_config import StateTtlConfig

_TIMED: Final = "TTL("


@dataclass(frozen=True, repr=False)
class TimedTypeInfo(TupleTypeInfo):
    """A value and the time of its last access. Its name is its own, so that no other type can be taken for it."""

    @property
    def name(self) -> str:
        return f"{_TIMED}{self.types[1].name})"


def is_timed(type_name: str) -> bool:
    """Whether a value type, as named in checkpoints, is that of a table whose entries expire."""
    return _TIMED in type_name


Shape: TypeAlias = Literal["value", "list", "map"]
"""What a stored value is: a pair, a list of pairs, or a map whose values are pairs."""


@dataclass(frozen=True, slots=True)
class Expiry:
    """How the entries of a table expire.

    Attributes:
        ttl_ms: an entry has expired when so much time has gone by since it was last accessed.
        shape: what a stored value is.
        prolonged_by_reading: reading is an access, not only writing.
        returns_expired: what has expired is handed out as long as it is there.
        leaves_snapshots: full snapshots leave out what has expired.
        visits: entries to look at whenever the state is used, on a backend that does not clean up by itself; 0: none.
        visits_at_every_record: also for each record.
        reads_clock_after: entries that a backend which cleans up by itself looks at before it reads the clock again; 0: it is
            not to clean up.
    """

    ttl_ms: int
    shape: Shape
    prolonged_by_reading: bool
    returns_expired: bool
    leaves_snapshots: bool
    visits: int
    visits_at_every_record: bool
    reads_clock_after: int

    def has_expired(self, accessed_ms: int, now_ms: int) -> bool:
        """Whether what was last accessed then has expired now: to the millisecond, when the time to live has gone by."""
        return accessed_ms + self.ttl_ms <= now_ms

    def test(self, now_ms: int) -> Callable[[Any], bool]:
        """Tells whether something of a stored value has expired."""
        oldest = now_ms - self.ttl_ms  # has expired
        match self.shape:
            case "value":
                return lambda stored: stored[0] <= oldest
            case "list":
                return lambda stored: any(pair[0] <= oldest for pair in stored)
            case "map":
                return lambda stored: any(pair[0] <= oldest for pair in stored.values())

    def kept(self, stored: Any, now_ms: int) -> Any:
        """What is left of a stored value: the same object when all of it is, None when nothing is."""
        if not self.test(now_ms)(stored):
            return stored
        oldest = now_ms - self.ttl_ms
        match self.shape:
            case "value":
                return None
            case "list":
                return [pair for pair in stored if pair[0] > oldest] or None
            case "map":
                return {key: pair for key, pair in stored.items() if pair[0] > oldest} or None


def stored_type(value_type: TypeInformation[Any], expiry: Expiry | None) -> TypeInformation[Any]:
    """What a table holds in place of values of a type."""
    match None if expiry is None else expiry.shape:
        case None:
            return value_type
        case "value":
            return _timed(value_type)
        case "list":
            assert isinstance(value_type, CollectionTypeInfo), "a list has elements"
            return Types.LIST(_timed(value_type.element))
        case "map":
            assert isinstance(value_type, MapTypeInfo), "a map has keys and values"
            return Types.MAP(value_type.key, _timed(value_type.value))


def _timed(value_type: TypeInformation[Any]) -> TypeInformation[Any]:
    return TimedTypeInfo((Types.LONG(), value_type))


def expiry_of(config: StateTtlConfig | None, shape: Shape) -> Expiry | None:
    """What a descriptor's configuration means for its table; None when nothing expires."""
    if config is None or not config.is_enabled():
        return None
    cleanup = config.get_cleanup_strategies()
    incremental = cleanup.get_incremental_cleanup_strategy()
    sweep = cleanup.get_rocksdb_compact_filter_cleanup_strategy()
    visibility = config.get_state_visibility()
    return Expiry(
        ttl_ms=config.get_ttl().to_milliseconds(),
        shape=shape,
        prolonged_by_reading=config.get_update_type() is StateTtlConfig.UpdateType.OnReadAndWrite,
        returns_expired=visibility is StateTtlConfig.StateVisibility.ReturnExpiredIfNotCleanedUp,
        leaves_snapshots=cleanup.in_full_snapshot(),
        visits=0 if incremental is None else incremental.get_cleanup_size(),
        visits_at_every_record=incremental is not None and incremental.run_cleanup_for_every_record(),
        reads_clock_after=0 if sweep is None else sweep.get_query_time_after_num_entries(),
    )
