"""The enumerator of sources whose splits are all known at the start: collections, index ranges, a static set of files."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final, Generic, TypeVar

import msgspec

from ..core.errors import CheckpointError, CheckpointFailureReason
from .base import SourceSplit, SplitEnumeratorContext

SplitT = TypeVar("SplitT", bound=SourceSplit)

_VERSION: Final = 1


class StaticSplitEnumerator(Generic[SplitT]):
    """Finds the splits once, shares them out among the readers, and tells each reader that there will be no more.

    Every reader is given its whole share when it registers, so that nothing depends on the order in which readers ask. On a
    restored job the unfinished splits are shared out anew, among however many readers there are now.

    Args:
        find: all splits of the source; called once in the life of a job, not again after a restore.
        share: splits and number of readers to one list for each reader; may cut splits up.
        blocking: `find` does I/O, so it has to run in a helper thread.
        restored: what `snapshot_state` gave.
    """

    def __init__(
        self,
        context: SplitEnumeratorContext[SplitT],
        restored: bytes | None,
        *,
        find: Callable[[], Sequence[SplitT]],
        share: Callable[[Sequence[SplitT], int], list[list[SplitT]]],
        encode: Callable[[SplitT], bytes],
        decode: Callable[[bytes], SplitT],
        blocking: bool = False,
    ) -> None:
        self._context = context
        self._find = find
        self._share = share
        self._encode = encode
        self._blocking = blocking
        self._found = False
        self._unshared: list[SplitT] = []
        self._shares: list[list[SplitT]] | None = None
        self._waiting: list[int] = []
        if restored is not None:
            self._found, encoded = _decode_state(restored)
            self._unshared = [decode(data) for data in encoded]

    def start(self) -> None:
        """Look for the splits, unless a checkpoint says that they were found before."""
        if self._found:
            return
        if self._blocking:
            self._context.call_async(self._find, self._on_found)
        else:
            self._on_found(self._find())

    def add_reader(self, subtask: int) -> None:
        """Give the reader its share, now or as soon as the splits are found."""
        if self._found:
            self._serve(subtask)
        else:
            self._waiting.append(subtask)

    def handle_split_request(self, subtask: int) -> None:
        """Splits that came back after sharing out go to whoever asks first."""
        if self._shares is not None and self._unshared:
            self._serve(subtask)

    def add_splits_back(self, splits: Sequence[SplitT]) -> None:
        """These are shared out together with what was not given out yet."""
        self._unshared.extend(splits)

    def snapshot_state(self, checkpoint_id: int) -> bytes:
        """Whether the splits were found, and those that no reader was given."""
        waiting = [split for share in self._shares or () for split in share]
        splits = [self._encode(split) for split in (*waiting, *self._unshared)]
        return msgspec.msgpack.encode([_VERSION, self._found, splits])

    def close(self) -> None:
        """Nothing is held open."""

    def _on_found(self, splits: Sequence[SplitT]) -> None:
        self._found = True
        self._unshared.extend(splits)
        waiting, self._waiting = self._waiting, []
        for subtask in waiting:
            self._serve(subtask)

    def _serve(self, subtask: int) -> None:
        if self._shares is None:
            self._shares = self._share(self._unshared, self._context.parallelism)
            self._unshared = []
        splits = [*self._shares[subtask], *self._unshared]
        self._shares[subtask] = []
        self._unshared = []
        if splits:
            self._context.assign_splits({subtask: splits})
        self._context.signal_no_more_splits(subtask)


def deal_out(splits: Sequence[SplitT], readers: int) -> list[list[SplitT]]:
    """Whole splits in turn, as cards are dealt.

    >>> deal_out("abcde", 2)
    [['a', 'c', 'e'], ['b', 'd']]
    """
    return [list(splits[reader::readers]) for reader in range(readers)]


def _decode_state(data: bytes) -> tuple[bool, list[bytes]]:
    version, *fields = msgspec.msgpack.decode(data)
    if version != _VERSION:
        raise CheckpointError(
            CheckpointFailureReason.INCOMPATIBLE,
            f"the checkpoint holds source state of version {version}, this release reads version {_VERSION}",
            fix="restore it with the release that wrote it, or a newer one",
        )
    found, splits = fields
    return found, splits
