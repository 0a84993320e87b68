"""How long state lives: `StateTtlConfig`, with PyFlink's names and arguments."""

from __future__ import annotations

from collections.abc import Mapping
from enum import Enum
from typing import Any, Final, TypeVar

from ..core.errors import StateError
from ..core.time import Duration, Time, TimeLike, to_millis

E = TypeVar("E", bound=Enum)

_DEFAULT_CLEANUP_SIZE: Final = 5
_DEFAULT_QUERY_TIME_AFTER: Final = 1000
_DEFAULT_PERIODIC_COMPACTION: Final = Duration.of_days(30)


class StateTtlConfig:
    """The time-to-live of a state, made by a builder and given to `descriptor.enable_time_to_live(...)`.

    A value expires once its time to live has gone by in processing time since it was last written (or read, if asked for): list
    elements and map entries each by themselves. The time of the last access is part of the state and of its checkpoints.

    >>> config = StateTtlConfig.new_builder(Time.hours(1)).update_ttl_on_read_and_write().build()
    >>> config.get_ttl().to_milliseconds(), config.get_update_type().name
    (3600000, 'OnReadAndWrite')
    """

    class UpdateType(Enum):
        """What prolongs the life of a value."""

        Disabled = 0
        OnCreateAndWrite = 1
        OnReadAndWrite = 2

    class StateVisibility(Enum):
        """Whether a value that has expired, and is still there, is handed out."""

        ReturnExpiredIfNotCleanedUp = 0
        NeverReturnExpired = 1

    class TtlTimeCharacteristic(Enum):
        """Which time is meant: processing time, there is no other."""

        ProcessingTime = 0

    class CleanupStrategies:
        """When expired values are removed, besides when they are read."""

        class Strategies(Enum):
            """The kinds of clean-up."""

            FULL_STATE_SCAN_SNAPSHOT = 0
            INCREMENTAL_CLEANUP = 1
            ROCKSDB_COMPACTION_FILTER = 2

        class CleanupStrategy:
            """Base of the settings of one kind of clean-up."""

        class EmptyCleanupStrategy(CleanupStrategy):
            """A clean-up that has no settings."""

        class IncrementalCleanupStrategy(CleanupStrategy):
            """Some entries are looked at whenever the state is used."""

            def __init__(self, cleanup_size: int, run_cleanup_for_every_record: bool) -> None:
                self._cleanup_size = cleanup_size
                self._run_cleanup_for_every_record = run_cleanup_for_every_record

            def get_cleanup_size(self) -> int:
                """How many entries at once."""
                return self._cleanup_size

            def run_cleanup_for_every_record(self) -> bool:
                """Whether also for each record, be the state used or not."""
                return self._run_cleanup_for_every_record

        class RocksdbCompactFilterCleanupStrategy(CleanupStrategy):
            """The RocksDB backend looks for expired entries of itself."""

            def __init__(
                self, query_time_after_num_entries: int, periodic_compaction_time: Any = None
            ) -> None:
                self._query_time_after_num_entries = query_time_after_num_entries
                self._periodic_compaction_time = periodic_compaction_time or _DEFAULT_PERIODIC_COMPACTION

            def get_query_time_after_num_entries(self) -> int:
                """The clock is read again after so many entries."""
                return self._query_time_after_num_entries

            def get_periodic_compaction_time(self) -> Duration:
                """As given; see `StateTtlConfig.Builder.cleanup_in_rocksdb_compact_filter`."""
                return Duration.of_millis(to_millis(self._periodic_compaction_time))

        EMPTY_STRATEGY: Final = EmptyCleanupStrategy()

        def __init__(
            self,
            strategies: Mapping[
                StateTtlConfig.CleanupStrategies.Strategies, StateTtlConfig.CleanupStrategies.CleanupStrategy
            ],
            is_cleanup_in_background: bool,
        ) -> None:
            self._strategies = dict(strategies)
            self._is_cleanup_in_background = is_cleanup_in_background

        def is_cleanup_in_background(self) -> bool:
            """Whether each backend cleans up in its own way without being asked."""
            return self._is_cleanup_in_background

        def in_full_snapshot(self) -> bool:
            """Whether full snapshots leave expired values out."""
            return StateTtlConfig.CleanupStrategies.Strategies.FULL_STATE_SCAN_SNAPSHOT in self._strategies

        def get_incremental_cleanup_strategy(
            self,
        ) -> StateTtlConfig.CleanupStrategies.IncrementalCleanupStrategy | None:
            """What the heap backend does: as asked for, else five entries at each access, unless the background is disabled."""
            found = self._strategies.get(StateTtlConfig.CleanupStrategies.Strategies.INCREMENTAL_CLEANUP)
            if isinstance(found, StateTtlConfig.CleanupStrategies.IncrementalCleanupStrategy):
                return found
            if self._is_cleanup_in_background:
                return StateTtlConfig.CleanupStrategies.IncrementalCleanupStrategy(
                    _DEFAULT_CLEANUP_SIZE, run_cleanup_for_every_record=False
                )
            return None

        def get_rocksdb_compact_filter_cleanup_strategy(
            self,
        ) -> StateTtlConfig.CleanupStrategies.RocksdbCompactFilterCleanupStrategy | None:
            """What the RocksDB backend does: as asked for, else the default, unless the background is disabled."""
            found = self._strategies.get(
                StateTtlConfig.CleanupStrategies.Strategies.ROCKSDB_COMPACTION_FILTER
            )
            if isinstance(found, StateTtlConfig.CleanupStrategies.RocksdbCompactFilterCleanupStrategy):
                return found
            if self._is_cleanup_in_background:
                return StateTtlConfig.CleanupStrategies.RocksdbCompactFilterCleanupStrategy(
                    _DEFAULT_QUERY_TIME_AFTER
                )
            return None

    def __init__(
        self,
        update_type: StateTtlConfig.UpdateType,
        state_visibility: StateTtlConfig.StateVisibility,
        ttl_time_characteristic: StateTtlConfig.TtlTimeCharacteristic,
        ttl: TimeLike,
        cleanup_strategies: StateTtlConfig.CleanupStrategies,
    ) -> None:
        self._update_type = _member(update_type, StateTtlConfig.UpdateType)
        self._state_visibility = _member(state_visibility, StateTtlConfig.StateVisibility)
        self._ttl_time_characteristic = _member(ttl_time_characteristic, StateTtlConfig.TtlTimeCharacteristic)
        self._ttl = _positive_time(ttl)
        self._cleanup_strategies = cleanup_strategies

    @staticmethod
    def new_builder(ttl: TimeLike) -> StateTtlConfig.Builder:
        """A builder for values that live so long.

        Raises:
            JobDefinitionError: `ttl` is not a length of time.
            StateError: it is less than a millisecond.
        """
        return StateTtlConfig.Builder(ttl)

    def get_update_type(self) -> StateTtlConfig.UpdateType:
        """What prolongs the life of a value."""
        return self._update_type

    def get_state_visibility(self) -> StateTtlConfig.StateVisibility:
        """Whether expired values are handed out until they are removed."""
        return self._state_visibility

    def get_ttl(self) -> Time:
        """How long a value lives."""
        return self._ttl

    def get_ttl_time_characteristic(self) -> StateTtlConfig.TtlTimeCharacteristic:
        """Processing time."""
        return self._ttl_time_characteristic

    def is_enabled(self) -> bool:
        """Whether values expire at all."""
        return self._update_type is not StateTtlConfig.UpdateType.Disabled

    def get_cleanup_strategies(self) -> StateTtlConfig.CleanupStrategies:
        """When expired values are removed."""
        return self._cleanup_strategies

    def __repr__(self) -> str:
        names = f"{self._update_type.name}, {self._state_visibility.name}"
        return f"StateTtlConfig({self._ttl.millis} ms, {names})"

    class Builder:
        """Collects the settings. Without any: updated when written, never returned once expired, cleaned up in the background.

        Raises:
            JobDefinitionError: `ttl` is not a length of time.
            StateError: it is less than a millisecond.
        """

        def __init__(self, ttl: TimeLike) -> None:
            self._ttl = _positive_time(ttl)
            self._update_type = StateTtlConfig.UpdateType.OnCreateAndWrite
            self._state_visibility = StateTtlConfig.StateVisibility.NeverReturnExpired
            self._ttl_time_characteristic = StateTtlConfig.TtlTimeCharacteristic.ProcessingTime
            self._is_cleanup_in_background = True
            self._strategies: dict[
                StateTtlConfig.CleanupStrategies.Strategies, StateTtlConfig.CleanupStrategies.CleanupStrategy
            ] = {}

        def set_update_type(self, update_type: StateTtlConfig.UpdateType) -> StateTtlConfig.Builder:
            """What prolongs the life of a value; `Disabled` turns time-to-live off.

            Raises:
                StateError: it is no `StateTtlConfig.UpdateType`.
            """
            self._update_type = _member(update_type, StateTtlConfig.UpdateType)
            return self

        def update_ttl_on_create_and_write(self) -> StateTtlConfig.Builder:
            """Writing prolongs the life of a value."""
            return self.set_update_type(StateTtlConfig.UpdateType.OnCreateAndWrite)

        def update_ttl_on_read_and_write(self) -> StateTtlConfig.Builder:
            """Reading prolongs the life of a value as well."""
            return self.set_update_type(StateTtlConfig.UpdateType.OnReadAndWrite)

        def set_state_visibility(
            self, state_visibility: StateTtlConfig.StateVisibility
        ) -> StateTtlConfig.Builder:
            """Whether an expired value is handed out as long as it is there.

            Raises:
                StateError: it is no `StateTtlConfig.StateVisibility`.
            """
            self._state_visibility = _member(state_visibility, StateTtlConfig.StateVisibility)
            return self

        def return_expired_if_not_cleaned_up(self) -> StateTtlConfig.Builder:
            """A value that has expired can still be read, once: reading removes it."""
            return self.set_state_visibility(StateTtlConfig.StateVisibility.ReturnExpiredIfNotCleanedUp)

        def never_return_expired(self) -> StateTtlConfig.Builder:
            """A value that has expired is as good as gone."""
            return self.set_state_visibility(StateTtlConfig.StateVisibility.NeverReturnExpired)

        def set_ttl_time_characteristic(
            self, ttl_time_characteristic: StateTtlConfig.TtlTimeCharacteristic
        ) -> StateTtlConfig.Builder:
            """Processing time, there is no other.

            Raises:
                StateError: it is no `StateTtlConfig.TtlTimeCharacteristic`.
            """
            self._ttl_time_characteristic = _member(
                ttl_time_characteristic, StateTtlConfig.TtlTimeCharacteristic
            )
            return self

        def use_processing_time(self) -> StateTtlConfig.Builder:
            """The default."""
            return self.set_ttl_time_characteristic(StateTtlConfig.TtlTimeCharacteristic.ProcessingTime)

        def cleanup_full_snapshot(self) -> StateTtlConfig.Builder:
            """Leave expired values out of full snapshots, those of the heap backend; the state at hand keeps them."""
            self._strategies[StateTtlConfig.CleanupStrategies.Strategies.FULL_STATE_SCAN_SNAPSHOT] = (
                StateTtlConfig.CleanupStrategies.EMPTY_STRATEGY
            )
            return self

        def cleanup_incrementally(
            self, cleanup_size: int, run_cleanup_for_every_record: bool
        ) -> StateTtlConfig.Builder:
            """On the heap backend, look at some entries at each access to the state, and remove those that have expired.

            Args:
                cleanup_size: how many entries at once.
                run_cleanup_for_every_record: as many also for each record that the operator gets, be the state used or not.

            Raises:
                StateError: `cleanup_size` is not a positive number.
            """
            _require_positive(cleanup_size, "cleanup_size")
            self._strategies[StateTtlConfig.CleanupStrategies.Strategies.INCREMENTAL_CLEANUP] = (
                StateTtlConfig.CleanupStrategies.IncrementalCleanupStrategy(
                    cleanup_size, bool(run_cleanup_for_every_record)
                )
            )
            return self

        def cleanup_in_rocksdb_compact_filter(
            self, query_time_after_num_entries: int, periodic_compaction_time: TimeLike | None = None
        ) -> StateTtlConfig.Builder:
            """On the RocksDB backend, go through all entries between batches, a bounded number at a time.

            This takes the place of Flink's compaction filter: expired entries are deleted, and the next compaction forgets them.

            Args:
                query_time_after_num_entries: read the clock again after so many entries.
                periodic_compaction_time: accepted, and without effect: the sweep comes to every entry again and again, whatever
                    the age of its file.

            Raises:
                StateError: `query_time_after_num_entries` is not a positive number.
                JobDefinitionError: `periodic_compaction_time` is not a length of time.
            """
            _require_positive(query_time_after_num_entries, "query_time_after_num_entries")
            if periodic_compaction_time is not None:
                to_millis(periodic_compaction_time)
            self._strategies[StateTtlConfig.CleanupStrategies.Strategies.ROCKSDB_COMPACTION_FILTER] = (
                StateTtlConfig.CleanupStrategies.RocksdbCompactFilterCleanupStrategy(
                    query_time_after_num_entries, periodic_compaction_time
                )
            )
            return self

        def disable_cleanup_in_background(self) -> StateTtlConfig.Builder:
            """No clean-up that was not asked for by another method of this builder."""
            self._is_cleanup_in_background = False
            return self

        def set_ttl(self, ttl: TimeLike) -> StateTtlConfig.Builder:
            """How long a value lives. Raises as `StateTtlConfig.new_builder`."""
            self._ttl = _positive_time(ttl)
            return self

        def build(self) -> StateTtlConfig:
            """The configuration."""
            return StateTtlConfig(
                self._update_type,
                self._state_visibility,
                self._ttl_time_characteristic,
                self._ttl,
                StateTtlConfig.CleanupStrategies(self._strategies, self._is_cleanup_in_background),
            )


def _positive_time(ttl: TimeLike) -> Time:
    millis = to_millis(ttl)
    if millis <= 0:
        raise StateError(
            f"{ttl!r} is too short a time to live",
            fix="give at least a millisecond, such as Time.hours(1); to turn time-to-live off leave enable_time_to_live out",
        )
    return Time.milliseconds(millis)


def _require_positive(number: Any, argument: str) -> None:
    if type(number) is not int or number <= 0:
        raise StateError(f"{argument} is {number!r}", fix="give a positive number of entries")


def _member(value: Any, of: type[E]) -> E:
    if not isinstance(value, of):
        raise StateError(
            f"{value!r} is no {of.__qualname__}", fix=f"give one of {', '.join(m.name for m in of)}"
        )
    return value
