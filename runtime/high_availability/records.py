"""What outlives a leader: one small record per cluster, and the files it points to. Messages of a format, not of Python.

INVARIANT L2: a checkpoint is complete when the record names it: later than its metadata, earlier than any notification.
Kept by: tests/high_availability/test_session.py, tests/integration/high_availability/
"""

from __future__ import annotations

import msgspec

from ...operators.accumulator_registry import AccumulatorReport


class Leader(msgspec.Struct, frozen=True):
    """Who leads.

    Attributes:
        holder: random; tells two contenders of one host apart.
        lease_ms: how long its sign may stand still before others take over.
        address: where workers register, and `heartbeat_address` where they send heartbeats; "" until it is known.
        host: and `pid`: of its process, for people.
    """

    holder: str
    lease_ms: int
    address: str
    host: str
    pid: int
    heartbeat_address: str = ""


class ForkServerEntry(msgspec.Struct, frozen=True):
    """The process that holds a job's workers, and outlives the leader.

    Attributes:
        started: tells it from a later process of the same id.
    """

    host: str
    pid: int
    started: str


class JobEntry(msgspec.Struct, frozen=True):
    """A job that has not ended.

    Attributes:
        artifact: the JobGraph's file in the storage directory (`runtime.graph.artifact`).
        configuration: all keys that were set where the job was started.
        import_path: where its modules are found, on the host where it was started.
        attempt: the last one that was begun.
        checkpoints: ids of its completed checkpoints that are retained, ascending.
        initial: path of the checkpoint it started from, restored until it has one of its own.
    """

    job_id: str
    job_name: str
    artifact: str
    configuration: dict[str, str]
    import_path: list[str]
    attempt: int = 0
    checkpoints: list[int] = []
    initial: str | None = None


class Outcome(msgspec.Struct, frozen=True):
    """How the cluster's last job ended.

    Attributes:
        status: `FINISHED`, `FAILED` or `CANCELED`.
        error: why it failed.
        accumulators: their last values.
    """

    job_id: str
    job_name: str
    status: str
    net_runtime_ms: int = 0
    error: str | None = None
    accumulators: list[AccumulatorReport] = []


class ClusterRecord(msgspec.Struct, frozen=True):
    """The state of a cluster. Replaced as a whole, by its leader alone.

    Attributes:
        revision: rises with every replacement.
        epoch: rises with every leader: the fencing token.
        leader: None: nobody leads, and whoever comes first may.
    """

    revision: int = 0
    epoch: int = 0
    leader: Leader | None = None
    job: JobEntry | None = None
    outcome: Outcome | None = None
    fork_server: ForkServerEntry | None = None


_encoder = msgspec.json.Encoder()
_decoder = msgspec.json.Decoder(ClusterRecord)


def encode_record(record: ClusterRecord) -> bytes:
    """As JSON, for people who look into the storage."""
    return _encoder.encode(record)


def decode_record(content: bytes) -> ClusterRecord:
    """The inverse; no content is a cluster that never had a leader.

    Raises:
        msgspec.MsgspecError: it is no record.
    """
    return _decoder.decode(content) if content else ClusterRecord()
