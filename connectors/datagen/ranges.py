"""Ranges of indices as splits, and how they are shared out among readers. Pure arithmetic."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import msgspec

# Whole ranges are preferred to even shares up to this factor over an even share: every cut makes one more split whose event
# times run beside the others', and a restart at the same parallelism should not cut anything.
_EVEN_ENOUGH: Final = 1.25
_VERSION: Final = 1


@dataclass(frozen=True, slots=True)
class IndexRange:
    """The indices from `start` up to, but without `stop`; those before `position` have been read."""

    start: int
    stop: int
    position: int

    @property
    def split_id(self) -> str:
        return f"{self.start}-{self.stop}"

    @property
    def remaining(self) -> int:
        """How many indices are still to be read."""
        return self.stop - self.position

    def encode(self) -> bytes:
        """A versioned encoding."""
        return msgspec.msgpack.encode([_VERSION, self.start, self.stop, self.position])

    @staticmethod
    def decode(data: bytes) -> IndexRange:
        """The inverse of `encode`."""
        _, start, stop, position = msgspec.msgpack.decode(data)
        return IndexRange(start, stop, position)


def share_out(ranges: Sequence[IndexRange], readers: int) -> list[list[IndexRange]]:
    """What is left of the ranges, in even shares: no index is lost, none is given twice.

    Whole ranges stay whole if that is nearly even; otherwise ranges are cut so that shares differ by one index at most.

    >>> share_out([IndexRange(0, 10, 0)], 2)
    [[IndexRange(start=0, stop=5, position=0)], [IndexRange(start=5, stop=10, position=5)]]
    """
    left = [piece for piece in ranges if piece.remaining]
    whole = _share_whole(left, readers)
    total = sum(piece.remaining for piece in left)
    largest = max(sum(piece.remaining for piece in share) for share in whole)
    return whole if largest * readers <= total * _EVEN_ENOUGH else _share_cut(left, readers)


def _share_whole(ranges: Sequence[IndexRange], readers: int) -> list[list[IndexRange]]:
    # Largest first, each to the reader with the least to do.
    shares: list[list[IndexRange]] = [[] for _ in range(readers)]
    loads = [0] * readers
    for piece in sorted(ranges, key=lambda piece: (-piece.remaining, piece.start)):
        reader = loads.index(min(loads))
        shares[reader].append(piece)
        loads[reader] += piece.remaining
    return shares


def _share_cut(ranges: Sequence[IndexRange], readers: int) -> list[list[IndexRange]]:
    # The ranges are laid end to end and the line is cut into equal pieces.
    total = sum(piece.remaining for piece in ranges)
    ends = [total * (reader + 1) // readers for reader in range(readers)]
    shares: list[list[IndexRange]] = [[] for _ in range(readers)]
    reader = done = 0
    for piece in ranges:
        start, position = piece.start, piece.position
        while position < piece.stop:
            while done == ends[reader]:
                reader += 1
            stop = min(piece.stop, position + ends[reader] - done)
            shares[reader].append(IndexRange(start, stop, position))
            done += stop - position
            start = position = stop
    return shares
