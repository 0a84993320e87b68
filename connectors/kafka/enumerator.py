"""The enumerator of `KafkaSource`: which subtask reads which partition, from where to where.

Decides in the JobManager's thread; asks the cluster in a helper thread (`call_async`).
"""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Final

import msgpack

from ...core.errors import ConnectorError
from ..base import SplitEnumeratorContext
from .discovery import KafkaCluster, Subscription
from .offsets import KafkaOffsetsInitializer, resolve
from .partitions import KafkaTopicPartition
from .split import KafkaPartitionSplit, check_version, decode_split, encode_split

_LOG: Final = logging.getLogger(__name__)
_VERSION: Final = 1
_LATER: Final = KafkaOffsetsInitializer.earliest()
"""A partition that appears while the job runs is read from its beginning: nothing in it may be missed."""


@dataclass(frozen=True)
class EnumeratorSettings:
    """What the enumerator needs of a `KafkaSource`.

    Attributes:
        stopping: None for splits without end.
        discovery_interval_ms: None: look once.
    """

    subscription: Subscription
    starting: KafkaOffsetsInitializer
    stopping: KafkaOffsetsInitializer | None
    discovery_interval_ms: int | None


class KafkaSourceEnumerator:
    """Finds partitions and gives each to the subtask with the fewest.

    The order is that of topic and partition, ties go to the lowest subtask, so the same partitions are always given out in
    the same way, and evenly. A partition once found is never read again from its start, also after its split finished or
    while the topic is gone.
    """

    def __init__(
        self,
        settings: EnumeratorSettings,
        connect: Callable[[], KafkaCluster],
        context: SplitEnumeratorContext[KafkaPartitionSplit],
        restored: bytes | None,
    ) -> None:
        """`connect` makes the view of the cluster; `restored` is an earlier `snapshot_state`."""
        self._settings = settings
        self._context = context
        self._cluster = connect()
        self._found: frozenset[KafkaTopicPartition] = frozenset()
        self._looked = False
        self._owners: dict[str, int] = {}
        self._unassigned: dict[int, list[KafkaPartitionSplit]] = {}
        self._readers: set[int] = set()
        self._told_no_more: set[int] = set()
        self._restored_splits: list[KafkaPartitionSplit] = []
        if restored is not None:
            version, found, looked, unassigned = msgpack.unpackb(restored)
            check_version(version, _VERSION, "the state of a Kafka source")
            self._found = frozenset(KafkaTopicPartition(*partition) for partition in found)
            self._looked = looked
            self._restored_splits = [decode_split(split) for split in unassigned]

    def start(self) -> None:
        """Look for partitions; again every `discovery_interval_ms`."""
        self._plan(self._restored_splits)
        self._restored_splits = []
        interval_ms = self._settings.discovery_interval_ms
        if interval_ms is not None:
            self._context.call_async(self._discover, self._on_discovered, period_ms=interval_ms)
        elif not self._looked:
            self._context.call_async(self._discover, self._on_discovered)

    def add_reader(self, subtask: int) -> None:
        """Give the reader what was planned for it."""
        self._readers.add(subtask)
        self._told_no_more.discard(subtask)
        self._hand_out()

    def handle_split_request(self, subtask: int) -> None:
        """Nothing: splits are given out as soon as they are known."""

    def add_splits_back(self, splits: Sequence[KafkaPartitionSplit]) -> None:
        """Plan anew for splits of a restored checkpoint, from their positions on."""
        for split in splits:
            self._owners.pop(split.split_id, None)
        self._found |= {split.topic_partition for split in splits}
        self._plan(splits)
        self._hand_out()

    def snapshot_state(self, checkpoint_id: int) -> bytes:  # the state is the same for every checkpoint
        """The partitions ever found, and the splits that no reader has yet."""
        waiting = [encode_split(split) for splits in self._unassigned.values() for split in splits]
        encoded: bytes = msgpack.packb([_VERSION, sorted(self._found), self._looked, sorted(waiting)])
        return encoded

    def close(self) -> None:
        """Disconnect."""
        self._cluster.close()

    # In a helper thread: reads `_found` and `_looked`, which are replaced as a whole, and touches nothing else.
    def _discover(self) -> list[KafkaPartitionSplit] | None:
        known, first = self._found, not self._looked
        try:
            there = self._cluster.partitions(self._settings.subscription)
            new = [partition for partition in there if partition not in known]
            starts = resolve(self._settings.starting if first else _LATER, new, self._cluster) if new else {}
            stopping = self._settings.stopping
            stops = resolve(stopping, new, self._cluster) if new and stopping is not None else {}
        except ConnectorError as error:
            if first:
                raise
            # The brokers may be restarting; what is being read does not depend on this, and the next look comes.
            _LOG.warning("partition discovery failed, trying again at the next interval: %s", error)
            return None
        if first and not there:
            self._found_nothing()
        return [KafkaPartitionSplit(*partition, starts[partition], stops.get(partition)) for partition in new]

    def _found_nothing(self) -> None:
        wanted = self._settings.subscription.describe()
        if self._settings.discovery_interval_ms is None:
            raise ConnectorError(
                f"Kafka: there are no {wanted}",
                fix="create a topic, or correct the pattern of set_topic_pattern(...)",
            )
        _LOG.warning(
            "there are no %s yet; looking again every %d ms", wanted, self._settings.discovery_interval_ms
        )

    def _on_discovered(self, found: list[KafkaPartitionSplit] | None) -> None:
        if found is None:
            return
        new = [split for split in found if split.topic_partition not in self._found]
        self._found |= {split.topic_partition for split in new}
        self._looked = True
        self._plan(new)
        self._hand_out()

    def _plan(self, splits: Iterable[KafkaPartitionSplit]) -> None:
        load = Counter(self._owners.values())
        for split in sorted(splits, key=lambda split: split.topic_partition):
            owner = min(range(self._context.parallelism), key=lambda subtask: (load[subtask], subtask))
            load[owner] += 1
            self._owners[split.split_id] = owner
            self._unassigned.setdefault(owner, []).append(split)

    def _hand_out(self) -> None:
        ready = {subtask: splits for subtask, splits in self._unassigned.items() if subtask in self._readers}
        if ready:
            for subtask in ready:
                del self._unassigned[subtask]
            self._context.assign_splits(ready)
        if (
            self._looked
            and self._settings.stopping is not None
            and self._settings.discovery_interval_ms is None
        ):
            for subtask in sorted(self._readers - self._told_no_more):
                self._told_no_more.add(subtask)
                self._context.signal_no_more_splits(subtask)
