"""What a savepoint is asked for with: travels with the trigger and in its barrier, so that every subtask knows of it."""

from __future__ import annotations

import enum

import msgspec


class SavepointFormatType(enum.Enum):
    """How a savepoint holds keyed state.

    Source: FLIP-203.

    >>> SavepointFormatType.CANONICAL.value
    'CANONICAL'
    """

    CANONICAL = "CANONICAL"
    """One layout for all state backends: each of them restores it."""
    NATIVE = "NATIVE"
    """The files of the backend that the job runs on: taken and restored faster, by the same backend alone."""


class SavepointTarget(msgspec.Struct, frozen=True):
    """Where a savepoint goes.

    Attributes:
        folder: full path or URL of the savepoint's own folder.
        format: of its keyed state.
        stops: the job ends with it: behind its barrier nothing is read, fired or emitted any more, and its completion
            commits what it covers.
    """

    folder: str
    format: SavepointFormatType = SavepointFormatType.CANONICAL
    stops: bool = False
