"""How a fork server and its workers hear of new leaders: lines in pipes."""

from __future__ import annotations

import contextlib
import os
import select
from collections.abc import Mapping

import msgspec

from ...checkpoint.retry import wait_ms
from ...core.errors import MillstreamError
from ..high_availability.records import decode_record
from ..high_availability.settings import HighAvailability
from ..high_availability.store import RecordStore


class NewLeader(msgspec.Struct, frozen=True):
    """Who leads now, where workers register, and where they send heartbeats."""

    epoch: int
    address: str
    heartbeat_address: str


def encode_news(leader: NewLeader) -> bytes:
    """A line for `LeaderNews`."""
    return msgspec.json.encode(leader) + b"\n"


class LeaderNews:
    """The reading end of a pipe that tells of leaders, of which the last one counts.

    Attributes:
        over: the writing end is closed: whoever told is gone.
    """

    def __init__(self, descriptor: int) -> None:
        os.set_blocking(descriptor, False)
        self._descriptor = descriptor
        self._tail = b""
        self.over = False

    def fileno(self) -> int:
        """For `select.poll`."""
        return self._descriptor

    def newest(self) -> NewLeader | None:
        """The last leader told of since the last call."""
        with contextlib.suppress(BlockingIOError):
            while chunk := os.read(self._descriptor, 1 << 16):
                self._tail += chunk
            self.over = True
        lines = self._tail.split(b"\n")
        self._tail = lines.pop()
        return msgspec.json.decode(lines[-1], type=NewLeader) if lines else None

    def wait(self) -> None:
        """Block until there is something new."""
        poll = select.poll()
        poll.register(self._descriptor, select.POLLIN)
        poll.poll()

    def close(self) -> None:
        """Close this end."""
        os.close(self._descriptor)


def tell_of_leaders(keys: Mapping[str, str], descriptor: int) -> None:
    """Write each leader that workers can register with into a pipe, until nobody reads it. In a process of its own."""
    ha = HighAvailability.of_keys(keys)
    store = _opened(ha)
    told = 0
    while True:
        with contextlib.suppress(OSError):  # the services are away: there is nothing to tell
            record = decode_record(store.read().content)
            leader = record.leader
            if leader is not None and leader.address and record.epoch > told:
                if not _tell(descriptor, NewLeader(record.epoch, leader.address, leader.heartbeat_address)):
                    return
                told = record.epoch
        wait_ms(ha.terms.look_ms)


def _tell(descriptor: int, leader: NewLeader) -> bool:
    try:
        os.write(descriptor, encode_news(leader))
    except BrokenPipeError:
        return False
    return True


def _opened(ha: HighAvailability) -> RecordStore:
    while True:
        try:
            return ha.open_store()
        except MillstreamError:  # the leader has used the services: they are away for a while
            wait_ms(ha.terms.look_ms)
