"""What a reader of RabbitMQ has in a checkpoint: its ledger, and how much it is still to read."""

from __future__ import annotations

from typing import Final

import msgpack
import msgspec

from ...core.errors import CheckpointError, CheckpointFailureReason

_VERSION: Final = 1


class RabbitMQSplit(msgspec.Struct, frozen=True):
    """One reader's share of the queue.

    Attributes:
        ledger: ids of emitted messages that the broker may deliver again, and since when (ms) that is uncertain; 0: it was
            not when the snapshot was taken.
        remaining: how many more messages to read; None without end.
        restored: the queue may hold messages that are in some reader's ledger.
    """

    split_id: str
    ledger: tuple[tuple[str, int], ...] = ()
    remaining: int | None = None
    restored: bool = False


def encode_split(split: RabbitMQSplit) -> bytes:
    """Versioned msgpack of `split`."""
    encoded: bytes = msgpack.packb([_VERSION, split.split_id, split.ledger, split.remaining, split.restored])
    return encoded


def decode_split(data: bytes) -> RabbitMQSplit:
    """The inverse of `encode_split`.

    Raises:
        CheckpointError: written by a later release.
    """
    version, *fields = msgpack.unpackb(data)
    check_version(version)
    split_id, ledger, remaining, restored = fields
    return RabbitMQSplit(split_id, tuple((id_, since) for id_, since in ledger), remaining, restored)


def check_version(version: int) -> None:
    """Refuse what a later release wrote.

    Raises:
        CheckpointError: it is not this one's.
    """
    if version != _VERSION:
        raise CheckpointError(
            CheckpointFailureReason.INCOMPATIBLE,
            f"a RabbitMQ source in the checkpoint has format version {version!r}; this release reads {_VERSION}",
            fix="restore with the release that wrote the checkpoint, or a later one",
        )
