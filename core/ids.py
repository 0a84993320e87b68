"""Identifiers, each a type of its own so that they cannot be mixed up on their way through the layers."""

from __future__ import annotations

import os
from typing import NewType

JobId = NewType("JobId", str)
"""32 hexadecimal digits: one fresh start of a job and all its restarts; kept by `--resume`."""

OperatorId = NewType("OperatorId", str)
"""Stable across runs of the same program: the `uid` hashed, or a hash of the topology."""

VertexId = NewType("VertexId", str)
"""A chain of operators in the JobGraph: the operator id of its head."""

CheckpointId = NewType("CheckpointId", int)
"""Increasing from 1 within a job, also across restarts."""

WorkerId = NewType("WorkerId", int)
"""Index of a TaskManager (worker process) within a cluster, from 0."""


def new_job_id() -> JobId:
    """A fresh random job id."""
    return JobId(os.urandom(16).hex())


SubtaskId = NewType("SubtaskId", str)
"""`"<vertex index>/<subtask index>"`, both from 0: a parallel copy of a vertex within one JobGraph."""


def subtask_id(vertex_index: int, subtask_index: int) -> SubtaskId:
    """
    >>> subtask_id(3, 0)
    '3/0'
    """
    return SubtaskId(f"{vertex_index}/{subtask_index}")


def subtask_index(subtask: str) -> int:
    """
    >>> subtask_index("3/0")
    0
    """
    return int(subtask.rpartition("/")[2])
