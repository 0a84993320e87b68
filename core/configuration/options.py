"""Every key there is, with Flink's names; ours where Flink has none. The documentation's table is made from this one."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final, NamedTuple, TypeVar

from .option import (
    ConfigOption,
    Form,
    boolean,
    choice,
    duration,
    integer,
    integer_or_infinite,
    memory_size,
    number,
    pairs,
    text,
    texts,
)

T = TypeVar("T")

OPTIONS: Final[dict[str, ConfigOption[Any]]] = {}
"""All known options by key."""


def _option(key: str, default: T, form: Form[T], description: str) -> ConfigOption[T]:
    option = OPTIONS[key] = ConfigOption(key, default, form, description)
    return option


def _maybe(form: Form[T]) -> Form[T | None]:
    """A form for options whose default is None: not set."""
    return form  # type: ignore[return-value]  # parses to T; only the default is None


PARALLELISM_DEFAULT: Final = _option(
    "parallelism.default",
    1,
    integer(1, 1 << 15, "4"),
    "Subtasks of every operator that sets none itself. 1 may run inside the client process.",
)
PIPELINE_NAME: Final = _option(
    "pipeline.name",
    None,
    _maybe(text("a name", "clickstream")),
    "The job's name; that of execute() comes first.",
)
MAX_PARALLELISM: Final = _option(
    "pipeline.max-parallelism",
    None,
    _maybe(integer(1, 1 << 15, "128")),
    "Number of key groups, fixed for the life of the state. Unset: 128, or more for a parallelism above 85.",
)
GLOBAL_JOB_PARAMETERS: Final[ConfigOption[Mapping[str, str]]] = _option(
    "pipeline.global-job-parameters",
    {},
    pairs("names and texts", "input:/data/in, limit:10"),
    "What functions can ask for by `get_job_parameter`.",
)
AUTO_GENERATE_UIDS: Final = _option(
    "pipeline.auto-generate-uids",
    True,
    boolean(),
    "Whether an operator may do without a uid; otherwise the program is refused.",
)
AUTO_WATERMARK_INTERVAL: Final = _option(
    "pipeline.auto-watermark-interval", 200, duration(1, "200 ms"), "How often sources emit watermarks."
)
OPERATOR_CHAINING: Final = _option(
    "pipeline.operator-chaining.enabled", True, boolean(), "Fuse operators that may be into one chain."
)
OBJECT_REUSE: Final = _option(
    "pipeline.object-reuse",
    False,
    boolean(),
    "Operators on state emit the very objects they keep; no function may change a record it was given. Otherwise they emit copies.",
)
BUFFER_TIMEOUT: Final = _option(
    "execution.buffer-timeout.interval",
    100,
    duration(0, "100 ms"),
    "How long a batch may wait for more records before it is sent on; 0 sends at once.",
)
BUFFER_TIMEOUT_ENABLED: Final = _option(
    "execution.buffer-timeout.enabled",
    True,
    boolean(),
    "Whether a batch that is not full leaves after a time; otherwise it waits until it is full or its subtask is idle.",
)
RUNTIME_MODE: Final = _option(
    "execution.runtime-mode",
    "STREAMING",
    choice("STREAMING", "BATCH", "AUTOMATIC"),
    "Whether results come while the input goes on, or once it has ended; AUTOMATIC: BATCH if every source is bounded.",
)
BATCH_SHUFFLE_MODE: Final = _option(
    "execution.batch-shuffle-mode",
    "ALL_EXCHANGES_BLOCKING",
    choice("ALL_EXCHANGES_BLOCKING", "ALL_EXCHANGES_PIPELINED"),
    "In BATCH mode, whether a task reads its input completely before it begins. Inputs of keyed operators always are.",
)
SORTED_INPUTS_MEMORY: Final = _option(
    "execution.sorted-inputs.memory",
    128 << 20,
    memory_size("128 mb"),
    "In BATCH mode, memory for the records of each input that is read completely; what does not fit goes to disk.",
)
LOCAL_AGGREGATION: Final = _option(
    "execution.local-aggregation.enabled",
    True,
    boolean(),
    "Combine window aggregates that have a merge, and reduces, before the exchange. Results are the same.",
)

CHECKPOINTING_INTERVAL: Final = _option(
    "execution.checkpointing.interval",
    None,
    _maybe(duration(1, "10 s")),
    "Time between the starts of two checkpoints. Unset: no checkpoints.",
)
CHECKPOINTING_TIMEOUT: Final = _option(
    "execution.checkpointing.timeout",
    600_000,
    duration(1, "10 min"),
    "A checkpoint that takes longer has failed.",
)
CHECKPOINTING_MIN_PAUSE: Final = _option(
    "execution.checkpointing.min-pause",
    0,
    duration(0, "1 s"),
    "Least time between the end of a checkpoint and the start of the next; more than 0 allows one at a time.",
)
MAX_CONCURRENT_CHECKPOINTS: Final = _option(
    "execution.checkpointing.max-concurrent-checkpoints",
    1,
    integer(1, example="2"),
    "Checkpoints that may be under way at the same time: 1 with unaligned checkpoints.",
)
TOLERABLE_FAILED_CHECKPOINTS: Final = _option(
    "execution.checkpointing.tolerable-failed-checkpoints",
    0,
    integer(0, example="3"),
    "Checkpoints that may fail in a row before the job does.",
)
CHECKPOINTING_DIR: Final = _option(
    "execution.checkpointing.dir",
    None,
    _maybe(text("a folder or an fsspec URL", "s3://bucket/checkpoints")),
    "Where checkpoints are stored: <dir>/<job id>/chk-<n>.",
)
DATA_INLINE_THRESHOLD: Final = _option(
    "execution.checkpointing.data-inline-threshold",
    20 << 10,
    memory_size("20 kb", zero=True, most=1 << 20),
    "Records that barriers overtook at a subtask are kept in the checkpoint's metadata, if they are no more than that, instead of in"
    " files of their own.",
)
NUM_RETAINED_CHECKPOINTS: Final = _option(
    "execution.checkpointing.num-retained",
    3,
    integer(1, example="3"),
    "Completed checkpoints that are kept. Flink keeps 1; older ones are there for the day the newest is damaged.",
)
RECOVERY_FALLBACK: Final = _option(
    "execution.checkpointing.recovery-fallback",
    False,
    boolean(),
    "Whether a job that commits output goes on from an older checkpoint when the newest is damaged, and commits again what followed.",
)
LOCAL_BACKUP: Final = _option(
    "execution.checkpointing.local-backup.enabled",
    False,
    boolean(),
    "Whether workers keep copies of the files of their last completed checkpoint on their host, below io.tmp.dirs.",
)
STATE_RECOVERY_FROM_LOCAL: Final = _option(
    "execution.state-recovery.from-local",
    False,
    boolean(),
    "Whether a subtask that restarts on its host restores from such copies; what is missing or damaged is read from the storage.",
)
CHECKPOINTING_MODE: Final = _option(
    "execution.checkpointing.mode",
    "EXACTLY_ONCE",
    choice("EXACTLY_ONCE", "AT_LEAST_ONCE"),
    "Whether a subtask with several inputs aligns them at barriers.",
)
UNALIGNED_ENABLED: Final = _option(
    "execution.checkpointing.unaligned.enabled",
    False,
    boolean(),
    "Barriers overtake records under way, which become part of the checkpoint: its duration no longer depends on how fast"
    " records are processed. With mode EXACTLY_ONCE alone.",
)
ALIGNED_CHECKPOINT_TIMEOUT: Final = _option(
    "execution.checkpointing.aligned-checkpoint-timeout",
    0,
    duration(0, "30 s"),
    "With unaligned checkpoints: so long after its start a checkpoint stays aligned, and barriers overtake from then on.",
)
EXTERNALIZED_CHECKPOINT_RETENTION: Final = _option(
    "execution.checkpointing.externalized-checkpoint-retention",
    "RETAIN_ON_CANCELLATION",
    choice("RETAIN_ON_CANCELLATION", "DELETE_ON_CANCELLATION", "NO_EXTERNALIZED_CHECKPOINTS"),
    "What becomes of the checkpoints of a job that is cancelled. Flink's default keeps none; here nothing is deleted unasked.",
)
SAVEPOINT_DIR: Final = _option(
    "execution.checkpointing.savepoint-dir",
    None,
    _maybe(text("a folder or an fsspec URL", "s3://bucket/savepoints")),
    "Where savepoints go that are triggered without a directory: <dir>/savepoint-<job>-<random>.",
)
SAVEPOINT_PATH: Final = _option(
    "execution.savepoint.path",
    None,
    _maybe(text("the folder of a checkpoint or savepoint", "/data/checkpoints/5f2a/chk-17")),
    "Start from this checkpoint or savepoint.",
)
SAVEPOINT_IGNORE_UNCLAIMED_STATE: Final = _option(
    "execution.savepoint.ignore-unclaimed-state",
    False,
    boolean(),
    "Start although the savepoint holds state of operators that the program no longer has; that state is dropped.",
)

STATE_BACKEND: Final = _option(
    "state.backend.type",
    "hashmap",
    choice("hashmap", "rocksdb", "postgresql", "redis"),
    "Where keyed state lives: in memory, on local disk with incremental checkpoints, or in a database.",
)
ROCKSDB_CACHE_ENTRIES: Final = _option(
    "state.backend.rocksdb.cache.entries",
    200_000,
    integer(1, example="200000"),
    "Deserialised entries of each operator's state that a worker keeps in memory.",
)
ROCKSDB_MEMORY: Final = _option(
    "state.backend.rocksdb.memory.fixed-per-slot",
    512 << 20,
    memory_size("512 mb"),
    "Memory that the RocksDB state of a worker takes at most: objects, block cache with indexes and filters, and write buffers.",
)
ROCKSDB_OBJECTS_RATIO: Final = _option(
    "state.backend.rocksdb.memory.objects-ratio",
    0.4,
    number(0.01, 0.9, "0.4"),
    "The part of that memory that is for deserialised entries (estimated); the rest is RocksDB's own.",
)
ROCKSDB_WRITE_BUFFER_RATIO: Final = _option(
    "state.backend.rocksdb.memory.write-buffer-ratio",
    0.5,
    number(0.01, 0.9, "0.5"),
    "The part of RocksDB's own memory that write buffers may take.",
)

POSTGRESQL_URL: Final = _option(
    "state.backend.postgresql.url",
    None,
    _maybe(text("a URL", "postgresql://USER@HOST:5432/DATABASE")),
    "The database of the backend `postgresql`. The password may also come from PGPASSWORD or ~/.pgpass of the workers.",
)
POSTGRESQL_SCHEMA: Final = _option(
    "state.backend.postgresql.schema",
    "millstream",
    text("a name", "millstream"),
    "The schema that the backend `postgresql` keeps its tables in; made if it is missing.",
)
REDIS_URL: Final = _option(
    "state.backend.redis.url",
    None,
    _maybe(text("a URL", "redis://HOST:6379/0")),
    "The database of the backend `redis`.",
)
REDIS_PREFIX: Final = _option(
    "state.backend.redis.prefix",
    "millstream",
    text("a name", "millstream"),
    "What the keys of the backend `redis` begin with.",
)
EXTERNAL_CACHE_ENTRIES: Final = _option(
    "state.backend.external.cache.entries",
    200_000,
    integer(1, example="200000"),
    "Deserialised entries of each operator's state that a worker keeps in memory, where the state lives in a database.",
)

RESTART_STRATEGY: Final = _option(
    "restart-strategy.type",
    None,
    _maybe(
        choice(
            "none",
            "fixed-delay",
            "exponential-delay",
            "failure-rate",
            also={
                "off": "none",
                "disable": "none",
                "fixeddelay": "fixed-delay",
                "exponentialdelay": "exponential-delay",
                "failurerate": "failure-rate",
            },
        )
    ),
    "What happens after a failure. Unset: exponential-delay with checkpoints, none without.",
)
HEARTBEAT_INTERVAL: Final = _option(
    "heartbeat.interval",
    10_000,
    duration(1, "10 s"),
    "Distance between two signs of life that the JobManager and its workers, and workers that exchange records, give each other.",
)
HEARTBEAT_TIMEOUT: Final = _option(
    "heartbeat.timeout",
    50_000,
    duration(1, "50 s"),
    "Whoever has given no sign of life for this long is given up.",
)
FAILOVER_STRATEGY: Final = _option(
    "jobmanager.execution.failover-strategy",
    "region",
    choice("region", "full"),
    "What restarts after a failure: the pipelined regions it struck, or all tasks of the job.",
)
FIXED_DELAY_ATTEMPTS: Final = _option(
    "restart-strategy.fixed-delay.attempts",
    1,
    integer_or_infinite(1),
    "Restarts before the job fails for good.",
)
FIXED_DELAY_DELAY: Final = _option(
    "restart-strategy.fixed-delay.delay", 1_000, duration(0, "1 s"), "Pause before each restart."
)
EXPONENTIAL_INITIAL_BACKOFF: Final = _option(
    "restart-strategy.exponential-delay.initial-backoff",
    1_000,
    duration(1, "1 s"),
    "Pause before the first restart.",
)
EXPONENTIAL_MAX_BACKOFF: Final = _option(
    "restart-strategy.exponential-delay.max-backoff",
    60_000,
    duration(1, "1 min"),
    "The longest pause.",
)
EXPONENTIAL_MULTIPLIER: Final = _option(
    "restart-strategy.exponential-delay.backoff-multiplier",
    1.5,
    number(1, float("inf"), "1.5"),
    "How much longer each pause is than the one before.",
)
EXPONENTIAL_RESET_THRESHOLD: Final = _option(
    "restart-strategy.exponential-delay.reset-backoff-threshold",
    3_600_000,
    duration(1, "1 h"),
    "A job that ran this long without a failure starts again with the first pause.",
)
EXPONENTIAL_JITTER: Final = _option(
    "restart-strategy.exponential-delay.jitter-factor",
    0.1,
    number(0, 1, "0.1"),
    "The part of a pause that chance adds or takes away.",
)
EXPONENTIAL_ATTEMPTS: Final = _option(
    "restart-strategy.exponential-delay.attempts-before-reset-backoff",
    None,
    integer_or_infinite(1),
    "Restarts, counted since the last reset, before the job fails for good.",
)
FAILURE_RATE_MAX_FAILURES: Final = _option(
    "restart-strategy.failure-rate.max-failures-per-interval",
    1,
    integer(1, example="1"),
    "Failures within the interval that the job survives; one more fails it for good.",
)
FAILURE_RATE_INTERVAL: Final = _option(
    "restart-strategy.failure-rate.failure-rate-interval",
    60_000,
    duration(1, "1 min"),
    "The time within which failures are counted.",
)
FAILURE_RATE_DELAY: Final = _option(
    "restart-strategy.failure-rate.delay", 1_000, duration(0, "1 s"), "Pause before each restart."
)

HA_TYPE: Final = _option(
    "high-availability.type",
    "NONE",
    choice("NONE", "ZOOKEEPER", "FILESYSTEM"),
    "Where job managers elect a leader, so that a standby goes on with the job when the leader dies: nowhere, in ZooKeeper, or on a shared file system.",
)
HA_STORAGE_DIR: Final = _option(
    "high-availability.storageDir",
    None,
    _maybe(text("a folder, or a URL for ZooKeeper", "/shared/ha")),
    "Where the job's graph and the cluster's secret are kept; on a shared file system, the election too.",
)
HA_CLUSTER_ID: Final = _option(
    "high-availability.cluster-id",
    "default",
    text("a name", "orders"),
    "Job managers of the same id stand by for one another; each cluster runs one job at a time.",
)
HA_LEASE_TIMEOUT: Final = _option(
    "high-availability.lease-timeout",
    15_000,
    duration(500, "15 s"),
    "How long a leader may show no sign of life, on a shared file system, before a standby takes over.",
)
HA_ZOOKEEPER_QUORUM: Final = _option(
    "high-availability.zookeeper.quorum",
    None,
    _maybe(text("host:port, with commas between them", "zk1:2181,zk2:2181")),
    "The ZooKeeper servers.",
)
HA_ZOOKEEPER_ROOT: Final = _option(
    "high-availability.zookeeper.path.root",
    "/millstream",
    text("a path", "/millstream"),
    "The node below which the clusters are.",
)
HA_ZOOKEEPER_SESSION_TIMEOUT: Final = _option(
    "high-availability.zookeeper.client.session-timeout",
    60_000,
    duration(500, "60 s"),
    "How long a leader may show no sign of life, in ZooKeeper, before a standby takes over.",
)
HA_ZOOKEEPER_CONNECTION_TIMEOUT: Final = _option(
    "high-availability.zookeeper.client.connection-timeout",
    15_000,
    duration(100, "15 s"),
    "How long to wait for the first connection to ZooKeeper.",
)
REGISTRATION_TIMEOUT: Final = _option(
    "taskmanager.registration.timeout",
    300_000,
    duration(100, "5 min"),
    "How long worker processes wait for a new leader when theirs is gone, before they end. With high availability.",
)
TASK_MANAGER_MODE: Final = _option(
    "taskmanager.mode",
    "auto",
    choice("auto", "embedded", "process"),
    "Where subtasks run: inside the client process, in worker processes, or embedded at parallelism 1 and in processes above.",
)
BATCH_SIZE: Final = _option(
    "taskmanager.batch-size",
    1_024,
    integer(1, 1 << 20, "1024"),
    "The most records that travel in one batch.",
)
CREDITS_PER_CHANNEL: Final = _option(
    "taskmanager.network.credits-per-channel",
    4,
    integer(1, 1 << 16, "4"),
    "Batches that may be under way in a channel before its receiver has taken one.",
)
ADAPTIVE_PARTITIONER: Final = _option(
    "taskmanager.network.adaptive-partitioner.enabled",
    False,
    boolean(),
    "Let rebalance and rescale prefer the receivers that have most room.",
)
TMP_DIRS: Final = _option(
    "io.tmp.dirs",
    (),
    texts("folders, with commas between them", "/data1/tmp, /data2/tmp"),
    "Where local state lives. Unset: the machine's folder for temporary files.",
)


class OptionRow(NamedTuple):
    """A row of the documentation's table."""

    key: str
    default: str
    expected: str
    environment: str
    description: str


def describe_options() -> list[OptionRow]:
    """The documentation's table, in the order of this module."""
    return [
        OptionRow(
            option.key,
            "(unset)"
            if option.default in (None, (), {}) and option.form.example != "infinite"
            else option.form.write(option.default),
            option.form.expected,
            environment_name(option.key),
            option.description,
        )
        for option in OPTIONS.values()
    ]


def environment_name(key: str) -> str:
    """The environment variable of a key.

    >>> environment_name("state.backend.type")
    'MILLSTREAM_STATE_BACKEND_TYPE'
    """
    return "MILLSTREAM_" + key.upper().replace(".", "_").replace("-", "_")


LEGACY_KEYS: Final = {
    "state.backend": STATE_BACKEND.key,
    "state.checkpoints.dir": CHECKPOINTING_DIR.key,
    "state.savepoints.dir": SAVEPOINT_DIR.key,
    "state.checkpoints.num-retained": NUM_RETAINED_CHECKPOINTS.key,
    "restart-strategy": RESTART_STRATEGY.key,
    "execution.checkpointing.externalized-checkpoint-retention-mode": EXTERNALIZED_CHECKPOINT_RETENTION.key,
    "execution.checkpointing.externalized-checkpoint-cleanup": EXTERNALIZED_CHECKPOINT_RETENTION.key,
    "execution.checkpointing.unaligned": UNALIGNED_ENABLED.key,
    "execution.checkpointing.alignment-timeout": ALIGNED_CHECKPOINT_TIMEOUT.key,
    "execution.buffer-timeout": BUFFER_TIMEOUT.key,
    "pipeline.operator-chaining": OPERATOR_CHAINING.key,
    "parallelism": PARALLELISM_DEFAULT.key,
    "env.parallelism": PARALLELISM_DEFAULT.key,
    "taskmanager.tmp.dirs": TMP_DIRS.key,
    "execution.savepoint-path": SAVEPOINT_PATH.key,
    "high-availability": HA_TYPE.key,
}
"""Spellings of Flink 1.x, and near ones, with today's."""
