"""Records that a barrier overtook: the channel state of one snapshot of one task, while it comes together.

Source: FLIP-76 (unaligned checkpoints); FLINK-27251 (a barrier that waits in the sender may overtake there, too).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, TypeAlias

Frame: TypeAlias = tuple[int, bytes | memoryview]
"""Kind and payload, as on the wire."""

_CHANNEL_HEADER_BYTES: Final = 32
_FRAME_HEADER_BYTES: Final = 8
"""At most, in `checkpoint/channel_state.py`."""


class InFlightRecords:
    """What was before the barrier in the channels of a task and behind its snapshot.

    A channel is open as long as more of that may come. The snapshot may be acknowledged when all have been closed.

    Attributes:
        frames: by channel id, in the order of the channel.
        overtook: whether the snapshot was taken before the barrier had come on all inputs.
        given_up: the checkpoint will not complete, or a later one has begun; nothing is kept any more.
    """

    def __init__(self, checkpoint_id: int, *, overtook: bool = False) -> None:
        self.checkpoint_id = checkpoint_id
        self.overtook = overtook
        self.frames: dict[int, list[Frame]] = {}
        self.given_up = False
        self._open: set[int] = set()
        self._when_settled: Callable[[], None] | None = None

    @property
    def settled(self) -> bool:
        """Whether nothing more comes: it is complete, or given up."""
        return self.given_up or not self._open

    @property
    def size_bytes(self) -> int:
        """Of everything kept so far."""
        return sum(len(payload) for frames in self.frames.values() for _, payload in frames)

    def fits(self, size: int) -> bool:
        """Whether what is kept can be encoded in so many bytes, for each exchange and for all together."""
        headers = sum(
            _CHANNEL_HEADER_BYTES + _FRAME_HEADER_BYTES * len(frames) for frames in self.frames.values()
        )
        return self.size_bytes + headers <= size

    def open(self, channel_id: int) -> None:
        """The channel may bring more before its barrier."""
        self._open.add(channel_id)

    def add(self, channel_id: int, kind: int, payload: bytes | memoryview) -> None:
        """Keep an element; the payload must not change any more."""
        self.frames.setdefault(channel_id, []).append((kind, payload))

    def close(self, channel_id: int) -> None:
        """The channel's barrier came, or left."""
        self._open.discard(channel_id)
        self._settle()

    def give_up(self) -> None:
        """Harmless when it was complete."""
        if not self.settled:
            self.given_up = True
            self.frames.clear()
            self._settle()

    def once_settled(self, action: Callable[[], None]) -> None:
        """Call it when nothing more comes: at once if that is so already."""
        self._when_settled = action
        self._settle()

    def _settle(self) -> None:
        if self.settled and self._when_settled is not None:
            action, self._when_settled = self._when_settled, None
            action()
