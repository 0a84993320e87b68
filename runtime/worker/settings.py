"""The part of the configuration that a worker's tasks depend on."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from ...core.configuration import Configuration, options
from ...state.backend import StateStore
from ...state.backends import BackendType
from ...state.stores import cache_entries_of, store_of
from ..graph.stream_graph import NO_BUFFER_TIMEOUT
from .local_recovery import LocalRecoverySettings


@dataclass(frozen=True, slots=True)
class WorkerSettings:
    """Resolved once per attempt. Times in ms; `credits_per_channel` in batches, `batch_size` in records.

    Attributes:
        batch_mode: the job runs in BATCH mode.
        blocking_exchanges: in BATCH mode, whether inputs that are not sorted are read completely, too.
        collecting_bytes: memory for each input that is read completely.
        rocksdb_memory: bytes for all backends of the worker, the part for objects, the part of the rest for write buffers.
        object_reuse: operators on state emit the very objects that they keep.
        inline_bytes: records under way of so much at most go into a checkpoint's metadata.
        overtake_after_ms: after which barriers overtake records; None: checkpoints are aligned.
    """

    batch_size: int
    credits_per_channel: int
    buffer_timeout_ms: int
    auto_watermark_interval_ms: int
    exactly_once: bool
    checkpointing: bool
    backend: BackendType
    cache_entries: int
    store: StateStore | None
    rocksdb_memory: tuple[int, float, float]
    job_parameters: Mapping[str, str]
    batch_mode: bool
    blocking_exchanges: bool
    collecting_bytes: int
    object_reuse: bool
    overtake_after_ms: int | None
    local_recovery: LocalRecoverySettings
    inline_bytes: int

    @staticmethod
    def of(keys: Mapping[str, str]) -> WorkerSettings:
        """From the keys that were set."""
        configuration = Configuration(keys)
        get = configuration.get
        batch_mode = get(options.RUNTIME_MODE) == "BATCH"
        return WorkerSettings(
            batch_size=get(options.BATCH_SIZE),
            credits_per_channel=get(options.CREDITS_PER_CHANNEL),
            buffer_timeout_ms=(
                get(options.BUFFER_TIMEOUT) if get(options.BUFFER_TIMEOUT_ENABLED) else NO_BUFFER_TIMEOUT
            ),
            # In BATCH mode there is one watermark, which ends the input.
            auto_watermark_interval_ms=0 if batch_mode else get(options.AUTO_WATERMARK_INTERVAL),
            exactly_once=get(options.CHECKPOINTING_MODE) == "EXACTLY_ONCE",
            checkpointing=get(options.CHECKPOINTING_INTERVAL) is not None,
            backend=get(options.STATE_BACKEND),
            cache_entries=cache_entries_of(configuration),
            store=store_of(configuration),
            rocksdb_memory=(
                get(options.ROCKSDB_MEMORY),
                get(options.ROCKSDB_OBJECTS_RATIO),
                get(options.ROCKSDB_WRITE_BUFFER_RATIO),
            ),
            job_parameters=get(options.GLOBAL_JOB_PARAMETERS),
            batch_mode=batch_mode,
            blocking_exchanges=get(options.BATCH_SHUFFLE_MODE) == "ALL_EXCHANGES_BLOCKING",
            collecting_bytes=get(options.SORTED_INPUTS_MEMORY),
            object_reuse=get(options.OBJECT_REUSE),
            overtake_after_ms=get(options.ALIGNED_CHECKPOINT_TIMEOUT)
            if get(options.UNALIGNED_ENABLED)
            else None,
            local_recovery=LocalRecoverySettings(
                backup=get(options.LOCAL_BACKUP), recover=get(options.STATE_RECOVERY_FROM_LOCAL)
            ),
            inline_bytes=get(options.DATA_INLINE_THRESHOLD),
        )
