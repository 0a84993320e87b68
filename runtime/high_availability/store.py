"""What the election and the leader need of a service: one record that is replaced exclusively, and signs of life."""

from __future__ import annotations

from typing import NamedTuple, Protocol

from ...core.errors import MillstreamError


class Versioned(NamedTuple):
    """The record as read. Version 0, without content: there is none yet."""

    version: int
    content: bytes


class RecordConflict(MillstreamError):
    """The record was replaced by somebody else: it is not of the version that was read."""


class RecordStore(Protocol):
    """Thread-safe. Every method raises OSError while the service cannot be reached, and may be called again then."""

    def read(self) -> Versioned:
        """The record, not older than the last replacement that any process was told of."""

    def replace(self, version: int, content: bytes) -> int:
        """Replace the record of that version; the new version. Durable on return.

        Called again with the same arguments, after an error that left open what happened, it finds out: `content` differs
        between any two callers.

        Raises:
            RecordConflict: it is of another version.
        """

    def read_sign(self, epoch: int) -> bytes:
        """The sign of life of that epoch's leader; nothing when there is none yet."""

    def write_sign(self, epoch: int, sign: bytes) -> None:
        """Show a sign of life under that epoch."""

    def close(self) -> None:
        """Give up connections. Idempotent."""
