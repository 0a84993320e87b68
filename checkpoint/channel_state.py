"""Files of channel state: what was under way in the channels of one exchange at one subtask.

A file is msgpack: a list of channels, each with the subtasks at its ends and its elements, encoded as on the wire between
workers (kind and payload). The checksum is in the `FileRef`.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

import msgspec

from ..core.errors import CheckpointError, CheckpointFailureReason


class ChannelContent(msgspec.Struct, frozen=True, array_like=True):
    """The elements of one channel, from subtask `source` to subtask `target` of then, in order."""

    source: int
    target: int
    frames: list[tuple[int, bytes]]


_decoder: Final = msgspec.msgpack.Decoder(list[ChannelContent])


def encode_channels(channels: Iterable[ChannelContent]) -> bytes:
    """The content of a file."""
    return msgspec.msgpack.encode(list(channels))


def decode_channels(data: bytes, path: str) -> list[ChannelContent]:
    """The inverse of `encode_channels`; `path` goes into the error.

    Raises:
        CheckpointError: CORRUPT.
    """
    try:
        return _decoder.decode(data)
    except msgspec.MsgspecError as error:
        raise CheckpointError(
            CheckpointFailureReason.CORRUPT,
            f"a file of channel state cannot be decoded: {error}",
            where=path,
            fix="restore an older checkpoint; `millstream checkpoints DIR` lists what is there",
        ) from error
