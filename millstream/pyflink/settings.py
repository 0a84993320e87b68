"""PyFlink's settings of execution and checkpoints: Millstream's, with what is accepted because it changes no result."""

from __future__ import annotations

import logging
from typing import Any, Final, Self

from .. import checkpoint_config, execution_config
from .._functions import definition_error
from ..core.configuration import options
from ..core.time import Duration
from .checkpoint_storage import CheckpointStorage

__all__ = ["CheckpointConfig", "ExecutionConfig"]

_LOG: Final = logging.getLogger(__name__)
_ANY_NUMBER: Final = 2**31 - 1


class ExecutionConfig(execution_config.ExecutionConfig):
    """The settings of its environment. Made by `StreamExecutionEnvironment.get_config`."""

    def get_max_parallelism(self) -> int:
        """Number of key groups; -1 where it follows from the parallelism."""
        return super().get_max_parallelism() or -1

    # ---- serializers of a JVM: records travel in Millstream's encoding, pickled only where a type says so

    def enable_closure_cleaner(self) -> Self:
        """Functions travel with what they refer to, in any case."""
        return self._has_no_effect("the closure cleaner")

    def disable_closure_cleaner(self) -> Self:
        """See `enable_closure_cleaner`."""
        return self._has_no_effect("the closure cleaner")

    def is_closure_cleaner_enabled(self) -> bool:
        """False."""
        return False

    def enable_force_kryo(self) -> Self:
        """There is no Kryo."""
        return self._has_no_effect("Kryo")

    def disable_force_kryo(self) -> Self:
        """There is no Kryo."""
        return self

    def is_force_kryo_enabled(self) -> bool:
        """False."""
        return False

    def enable_force_avro(self) -> Self:
        """Records do not travel as Avro."""
        return self._has_no_effect("Avro as the encoding of records")

    def disable_force_avro(self) -> Self:
        """Records do not travel as Avro."""
        return self

    def is_force_avro_enabled(self) -> bool:
        """False."""
        return False

    def enable_generic_types(self) -> Self:
        """Nothing is pickled unless its type is declared so, in any case."""
        return self._has_no_effect("a setting of generic types")

    def disable_generic_types(self) -> Self:
        """See `enable_generic_types`."""
        return self

    def has_generic_types_disabled(self) -> bool:
        """True. See `enable_generic_types`."""
        return True

    def get_default_kryo_serializer_classes(self) -> dict[str, str]:
        """None."""
        return {}

    def get_registered_kryo_types(self) -> list[str]:
        """None."""
        return []

    def get_registered_pojo_types(self) -> list[str]:
        """None."""
        return []

    # ---- uids

    def enable_auto_generated_uids(self) -> Self:
        """Operators without a uid get an id from their place in the program, as by default."""
        self._set(options.AUTO_GENERATE_UIDS, value=True)
        return self

    def disable_auto_generated_uids(self) -> Self:
        """A job with an operator that has neither uid nor uid hash is refused."""
        self._set(options.AUTO_GENERATE_UIDS, value=False)
        return self

    def has_auto_generated_uids_enabled(self) -> bool:
        """See `disable_auto_generated_uids`."""
        return self._configuration().get(options.AUTO_GENERATE_UIDS)

    # ---- the runtime of a cluster

    def set_latency_tracking_interval(self, interval: int) -> Self:
        """Latency markers are not sent."""
        del interval
        return self._has_no_effect("latency tracking")

    def get_latency_tracking_interval(self) -> int:
        """0: off."""
        return 0

    def set_task_cancellation_interval(self, interval: int) -> Self:
        """Tasks are not interrupted again and again: one that does not end is killed with its process."""
        del interval
        return self._has_no_effect("an interval of task cancellation")

    def get_task_cancellation_interval(self) -> int:
        """Flink's default, in milliseconds. See `set_task_cancellation_interval`."""
        return 30_000

    def set_task_cancellation_timeout(self, timeout: int) -> Self:
        """See `set_task_cancellation_interval`."""
        del timeout
        return self._has_no_effect("a timeout of task cancellation")

    def get_task_cancellation_timeout(self) -> int:
        """0: none. See `set_task_cancellation_interval`."""
        return 0

    def set_use_snapshot_compression(self, use_snapshot_compression: bool) -> Self:
        """Snapshots are as large as their state backend makes them."""
        return self._has_no_effect("snapshot compression") if use_snapshot_compression else self

    def is_use_snapshot_compression(self) -> bool:
        """False."""
        return False

    def _has_no_effect(self, what: str) -> Self:
        _LOG.info("%s has no meaning here, which changes no result", what)
        return self


class CheckpointConfig(checkpoint_config.CheckpointConfig):
    """The settings of its environment. Made by `StreamExecutionEnvironment.get_checkpoint_config`."""

    def get_checkpoint_interval(self) -> int:
        """Milliseconds; -1 without checkpoints."""
        return super().get_checkpoint_interval() or -1

    def is_checkpointing_enabled(self) -> bool:
        return self.get_checkpoint_interval() > 0

    def is_externalized_checkpoints_enabled(self) -> bool:
        """Whether checkpoints outlive a job that is cancelled or fails."""
        kept = self.get_externalized_checkpoint_retention()
        return kept is not checkpoint_config.ExternalizedCheckpointRetention.NO_EXTERNALIZED_CHECKPOINTS

    def is_fail_on_checkpointing_errors(self) -> bool:
        """Whether one failed checkpoint fails the job."""
        return self.get_tolerable_checkpoint_failure_number() == 0

    def set_fail_on_checkpointing_errors(self, fail_on_checkpointing_errors: bool) -> Self:
        """Whether one failed checkpoint fails the job; otherwise any number may fail."""
        self.set_tolerable_checkpoint_failure_number(0 if fail_on_checkpointing_errors else _ANY_NUMBER)
        return self

    def set_checkpoint_storage(self, storage: CheckpointStorage) -> Self:
        """Where checkpoints are kept, as in PyFlink 1.x.

        Raises:
            JobDefinitionError: it is none of PyFlink's storages, or names no folder.
        """
        given: Any = storage  # the annotation is not checked at run time
        path = given.checkpoint_path if isinstance(given, CheckpointStorage) else None
        if path is None:
            raise definition_error(
                f"checkpoints cannot be kept in {given!r}: they are written to a folder or an fsspec URL",
                fix="give one: FileSystemCheckpointStorage('file:///data/checkpoints')",
            )
        self.set_checkpoint_storage_dir(path)
        return self

    # ---- unaligned checkpoints

    def set_force_unaligned_checkpoints(self, force_unaligned_checkpoints: bool = True) -> Self:
        """There is nothing to force: in a job with an iteration the exchanges of the loop stay aligned, and the others need not."""
        if force_unaligned_checkpoints:
            _LOG.info("forced unaligned checkpoints are as other unaligned checkpoints here")
        return self

    def is_force_unaligned_checkpoints(self) -> bool:
        """False. See `set_force_unaligned_checkpoints`."""
        return False

    def get_aligned_checkpoint_timeout(self) -> Duration:  # type: ignore[override]  # PyFlink's
        """How long after its start a checkpoint stays aligned."""
        return Duration.of_millis(super().get_aligned_checkpoint_timeout())

    set_alignment_timeout = checkpoint_config.CheckpointConfig.set_aligned_checkpoint_timeout
    get_alignment_timeout = get_aligned_checkpoint_timeout
