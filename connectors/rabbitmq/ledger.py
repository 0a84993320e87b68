"""What a reader of RabbitMQ has emitted and may not yet forget: pure, one for each reader.

A delivery is *owed* an acknowledgement from the moment its record is emitted, or is found to be a duplicate. It is acknowledged
when a checkpoint that covers it has completed, which is certain when a round trip behind it came back on the same channel and
a while has passed, since a broker that is killed may not have written what it took last. Only then is its id forgotten.
"""

from __future__ import annotations

from bisect import bisect_right
from collections import Counter, deque
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

CERTAIN_AFTER_MS: Final = 2_000
"""From the round trip behind an acknowledgement on: RabbitMQ writes acknowledgements to disk every few hundred ms."""
_OPEN: Final = -1


@dataclass(frozen=True, slots=True)
class Owed:
    """A delivery that is to be acknowledged. `id` is None where ids are not used, `foreign` if a sibling's ledger holds it."""

    tag: int
    id: str | None
    foreign: bool = False


class Ledger:
    """Decides what is acknowledged and when an id may be forgotten. Reads no clock and sends nothing.

    Delivery tags are those of one connection: all of them are void after `connection_lost`. Times of `now_ms` are wall-clock
    where an id is kept for long, and monotonic (`monotonic_ms`) where a pause is measured.

    INVARIANT M1: an id is in the ledger, and so in every checkpoint that covers its record, from the record's emission until
    the broker cannot deliver it again. Kept by: tests/simulation/test_rabbitmq.py.

    Args:
        restored: ids, and since when (ms) it is uncertain whether the broker still has the message.
        keep_ms: for how long such an id is kept.
        remember_ms: for how long an id is kept whose message is gone: a publisher may send it again.
    """

    def __init__(self, restored: Iterable[tuple[str, int]], *, keep_ms: int, remember_ms: int = 0) -> None:
        self._keep_ms = keep_ms
        self._remember_ms = remember_ms
        self._remembered: dict[str, int] = {}  # until when (ms), in this order
        self._ids: dict[str, int] = dict(
            restored
        )  # since when it is uncertain; _OPEN: an acknowledgement is owed
        self._repeats: Counter[str] = Counter()  # how many deliveries of an id are owed beyond the first
        self._pending: list[Owed] = []  # since the last snapshot
        self._by_checkpoint: dict[int, list[Owed]] = {}  # the first one that covers them
        self._unproven: dict[int, list[Owed]] = {}  # acknowledged, by the round trip behind it
        self._proven: deque[tuple[int, list[Owed]]] = deque()
        self._round_trip = 0
        self._first_snapshot: int | None = None
        self._last_snapshot = 0

    def __contains__(self, id_: str) -> bool:
        return id_ in self._ids or id_ in self._remembered

    def __len__(self) -> int:
        return len(self._ids) + len(self._remembered)

    @property
    def covered_from(self) -> int:
        """A checkpoint of this id, or a later one, covers all that was emitted so far."""
        return self._last_snapshot + 1

    @property
    def owed(self) -> int:
        """How many deliveries wait for a checkpoint."""
        return len(self._pending) + sum(map(len, self._by_checkpoint.values()))

    def emitted(self, tag: int, id_: str | None) -> None:
        """The record of a delivery goes to the pipeline, before the next snapshot."""
        self._pending.append(Owed(tag, id_))
        if id_ is not None:
            self._ids[id_] = _OPEN

    def repeated(self, tag: int, id_: str) -> None:
        """A delivery whose id is in here was dropped."""
        self._pending.append(Owed(tag, id_))
        if self._ids.get(id_) == _OPEN:
            self._repeats[id_] += 1
        self._ids[id_] = _OPEN

    def repeated_elsewhere(self, tag: int, id_: str, covered_from: int) -> None:
        """A delivery was dropped whose id a sibling holds; what that one emitted is covered by checkpoints from this one on."""
        self._by_checkpoint.setdefault(covered_from, []).append(Owed(tag, id_, foreign=True))

    def snapshot(self, checkpoint_id: int) -> list[tuple[str, int]]:
        """The ids to keep in this checkpoint, with `_OPEN` replaced by 0: uncertain from the restore on."""
        if self._first_snapshot is None:
            self._first_snapshot = checkpoint_id
        self._last_snapshot = max(self._last_snapshot, checkpoint_id)
        if self._pending:
            self._by_checkpoint.setdefault(checkpoint_id, []).extend(self._pending)
            self._pending = []
        ids = [(id_, max(since, 0)) for id_, since in self._ids.items()]
        # After a restore these are ids like the others, and kept as long as here.
        ids += [
            (id_, until - self._keep_ms) for id_, until in self._remembered.items() if id_ not in self._ids
        ]
        return ids

    def complete(self, checkpoint_id: int) -> tuple[int, list[int]] | None:
        """This checkpoint is durable. Gives the tags to acknowledge now, rising, and the number by which `round_trip_done`
        is to be called for them; None if there are none.

        Late and repeated calls are fine; a checkpoint of an earlier attempt covers nothing of this one."""
        if self._first_snapshot is None or checkpoint_id < self._first_snapshot:
            return None
        covered = [first for first in self._by_checkpoint if first <= checkpoint_id]
        owed = [one for first in covered for one in self._by_checkpoint.pop(first)]
        if not owed:
            return None
        self._round_trip += 1
        self._unproven[self._round_trip] = owed
        return self._round_trip, sorted(one.tag for one in owed)

    def round_trip_done(self, number: int, monotonic_ms: int) -> None:
        """An answer came back to what was sent behind the acknowledgements of that number; ignored after a lost connection."""
        owed = self._unproven.pop(number, None)
        if owed is not None:
            self._proven.append((monotonic_ms, owed))

    def settle(self, monotonic_ms: int, now_ms: int) -> list[str]:
        """Forget the ids whose acknowledgement is certain by now; gives those of siblings, to be told `settled`."""
        elsewhere = []
        while self._proven and monotonic_ms - self._proven[0][0] >= CERTAIN_AFTER_MS:
            for one in self._proven.popleft()[1]:
                if one.id is None:
                    continue
                if one.foreign:
                    elsewhere.append(one.id)
                elif self._repeats[one.id] > 0:
                    self._repeats[one.id] -= 1
                else:
                    del self._repeats[one.id]
                    self._let_go(one.id, now_ms)
        return elsewhere

    def settled(self, ids: Iterable[str], now_ms: int) -> None:
        """A sibling's acknowledgement of these is certain. One that is owed here as well is another message, and stays."""
        for id_ in ids:
            if self._ids.get(id_, _OPEN) != _OPEN:
                self._let_go(id_, now_ms)

    def _let_go(self, id_: str, now_ms: int) -> None:
        del self._ids[id_]
        if self._remember_ms:
            self._remembered.pop(id_, None)
            self._remembered[id_] = now_ms + self._remember_ms

    def connection_lost(self, now_ms: int) -> None:
        """Whatever was not certain may come again, to anybody."""
        for id_, since in self._ids.items():
            if since == _OPEN:
                self._ids[id_] = now_ms
        self._repeats.clear()
        self._pending.clear()
        self._by_checkpoint.clear()
        self._unproven.clear()
        self._proven.clear()

    def expire(self, now_ms: int) -> list[str]:
        """Forget ids that are uncertain for `keep_ms`, and give them: nobody has seen their message again."""
        before = now_ms - self._keep_ms
        old = [id_ for id_, since in self._ids.items() if since != _OPEN and since <= before]
        for id_ in old:
            del self._ids[id_]
        for id_, until in list(self._remembered.items()):
            if until > now_ms:
                break
            del self._remembered[id_]
        return old


class AckPlan:
    """Acknowledges delivery tags of one channel with few messages: all up to a tag at once, and single ones above it.

    >>> plan = AckPlan()
    >>> plan.add([1, 2, 4])
    (2, [4])
    >>> plan.add([3])
    (3, [])
    """

    def __init__(self) -> None:
        self._low = 0  # every tag up to this one was answered
        self._above: set[int] = set()

    def add(self, tags: list[int]) -> tuple[int | None, list[int]]:
        """For rising tags that were not answered yet: the one up to which all may be acknowledged (None: no prefix), and
        the single ones. The one is among `tags`, since the broker closes the channel for a tag that it has an answer to."""
        low, above = self._low, self._above
        above.update(tags)
        while low + 1 in above:
            low += 1
            above.remove(low)
        self._low = low
        below = bisect_right(tags, low)
        return (tags[below - 1] if below else None), tags[below:]
