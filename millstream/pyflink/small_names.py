"""Names of PyFlink that are one thing of Millstream's under another name, or a constant."""

from __future__ import annotations

import enum

from ..collected import CollectedResults as CloseableIterator
from ..connectors.base import Sink, Source
from ..runtime.job_manager.completable_future import CompletableFuture

__all__ = [
    "DEFAULT_OUTPUT_TAG",
    "MAX_LONG_VALUE",
    "MIN_LONG_VALUE",
    "CloseableIterator",
    "CompletableFuture",
    "InputDependencyConstraint",
    "JobID",
    "Sink",
    "Source",
]

MAX_LONG_VALUE = (1 << 63) - 1
MIN_LONG_VALUE = -(1 << 63)
DEFAULT_OUTPUT_TAG = ""

JobID = str
"""Ids of jobs are texts of 32 hexadecimal digits."""


class InputDependencyConstraint(enum.Enum):
    """When a task begins, in a Flink of long ago; nothing takes it."""

    ANY = 0
    ALL = 1
