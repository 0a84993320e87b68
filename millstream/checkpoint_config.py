"""Checkpointing settings of an environment, under PyFlink's names. Each is a key of the configuration."""

from __future__ import annotations

import enum
import os
from collections.abc import Callable
from typing import Any

from ._functions import definition_error
from .core.arguments import check_instance, check_text
from .core.configuration import ConfigOption, Configuration, options
from .core.time import TimeLike, to_millis


class CheckpointingMode(enum.Enum):
    """What checkpoints guarantee about state: each record counted once, or (without alignment) at least once."""

    EXACTLY_ONCE = "EXACTLY_ONCE"
    AT_LEAST_ONCE = "AT_LEAST_ONCE"


class ExternalizedCheckpointRetention(enum.Enum):
    """What becomes of the checkpoints of a job that is cancelled."""

    RETAIN_ON_CANCELLATION = "RETAIN_ON_CANCELLATION"
    DELETE_ON_CANCELLATION = "DELETE_ON_CANCELLATION"
    NO_EXTERNALIZED_CHECKPOINTS = "NO_EXTERNALIZED_CHECKPOINTS"


class CheckpointConfig:
    """Reads and changes the settings of its environment. Made by `StreamExecutionEnvironment.get_checkpoint_config`.

    Lengths of time are taken as `Duration`, `timedelta` or an int of milliseconds, and given as milliseconds.
    """

    def __init__(
        self, change: Callable[[ConfigOption[Any], Any], object], configuration: Callable[[], Configuration]
    ) -> None:
        self._change = change
        self._configuration = configuration

    def is_checkpointing_enabled(self) -> bool:
        """Whether the job takes checkpoints."""
        return self.get_checkpoint_interval() is not None

    def get_checkpoint_interval(self) -> int | None:
        """Time from one checkpoint to the next in ms; None when there are none."""
        return self._configuration().get(options.CHECKPOINTING_INTERVAL)

    def set_checkpoint_interval(self, checkpoint_interval: TimeLike) -> CheckpointConfig:
        """Take a checkpoint so often.

        Raises:
            JobDefinitionError: the interval is not positive.
        """
        return self._set_millis(options.CHECKPOINTING_INTERVAL, "checkpoint interval", checkpoint_interval, 1)

    def get_checkpointing_consistency_mode(self) -> CheckpointingMode:
        """What checkpoints guarantee."""
        return CheckpointingMode(self._configuration().get(options.CHECKPOINTING_MODE))

    def set_checkpointing_consistency_mode(self, checkpointing_mode: CheckpointingMode) -> CheckpointConfig:
        """Choose what checkpoints guarantee."""
        fix = "give for example CheckpointingMode.EXACTLY_ONCE"
        check_instance("checkpointing mode", checkpointing_mode, CheckpointingMode, fix=fix)
        return self._set(options.CHECKPOINTING_MODE, checkpointing_mode.value)

    get_checkpointing_mode = get_checkpointing_consistency_mode
    set_checkpointing_mode = set_checkpointing_consistency_mode

    def get_checkpoint_timeout(self) -> int:
        """How long a checkpoint may take before it has failed, in ms."""
        value: int = self._configuration().get(options.CHECKPOINTING_TIMEOUT)
        return value

    def set_checkpoint_timeout(self, checkpoint_timeout: TimeLike) -> CheckpointConfig:
        """How long a checkpoint may take before it has failed."""
        return self._set_millis(options.CHECKPOINTING_TIMEOUT, "checkpoint timeout", checkpoint_timeout, 1)

    def get_min_pause_between_checkpoints(self) -> int:
        """Least time from the end of a checkpoint to the next one, in ms."""
        value: int = self._configuration().get(options.CHECKPOINTING_MIN_PAUSE)
        return value

    def set_min_pause_between_checkpoints(self, min_pause_between_checkpoints: TimeLike) -> CheckpointConfig:
        """Least time from the end of a checkpoint to the next one."""
        return self._set_millis(
            options.CHECKPOINTING_MIN_PAUSE, "pause between checkpoints", min_pause_between_checkpoints, 0
        )

    def get_max_concurrent_checkpoints(self) -> int:
        """How many checkpoints may be under way at once."""
        value: int = self._configuration().get(options.MAX_CONCURRENT_CHECKPOINTS)
        return value

    def set_max_concurrent_checkpoints(self, max_concurrent_checkpoints: int) -> CheckpointConfig:
        """How many checkpoints may be under way at once."""
        return self._set(options.MAX_CONCURRENT_CHECKPOINTS, max_concurrent_checkpoints)

    def get_tolerable_checkpoint_failure_number(self) -> int:
        """How many checkpoints may fail in a row before the job does."""
        value: int = self._configuration().get(options.TOLERABLE_FAILED_CHECKPOINTS)
        return value

    def set_tolerable_checkpoint_failure_number(
        self, tolerable_checkpoint_failure_number: int
    ) -> CheckpointConfig:
        """How many checkpoints may fail in a row before the job does."""
        return self._set(options.TOLERABLE_FAILED_CHECKPOINTS, tolerable_checkpoint_failure_number)

    def get_externalized_checkpoint_retention(self) -> ExternalizedCheckpointRetention:
        """What becomes of the checkpoints of a job that is cancelled."""
        return ExternalizedCheckpointRetention(
            self._configuration().get(options.EXTERNALIZED_CHECKPOINT_RETENTION)
        )

    def set_externalized_checkpoint_retention(
        self, retention_mode: ExternalizedCheckpointRetention
    ) -> CheckpointConfig:
        """What becomes of the checkpoints of a job that is cancelled."""
        fix = "give for example ExternalizedCheckpointRetention.RETAIN_ON_CANCELLATION"
        check_instance("checkpoint retention", retention_mode, ExternalizedCheckpointRetention, fix=fix)
        return self._set(options.EXTERNALIZED_CHECKPOINT_RETENTION, retention_mode.value)

    def is_unaligned_checkpoints_enabled(self) -> bool:
        """Whether barriers overtake records under way."""
        value: bool = self._configuration().get(options.UNALIGNED_ENABLED)
        return value

    def enable_unaligned_checkpoints(self, enabled: bool = True) -> CheckpointConfig:
        """Let barriers overtake records under way, which are then part of the checkpoint.

        A checkpoint then takes no longer when records are processed slowly, and gets larger by what is under way. Broadcast,
        forward and rescale exchanges keep their order, and so do those of iterations. With EXACTLY_ONCE alone.
        """
        return self._set(options.UNALIGNED_ENABLED, enabled)

    def disable_unaligned_checkpoints(self) -> CheckpointConfig:
        """Let barriers wait for the records before them, as by default."""
        return self.enable_unaligned_checkpoints(False)

    def get_aligned_checkpoint_timeout(self) -> int:
        """With unaligned checkpoints: how long after their start barriers still wait for records, in ms."""
        value: int = self._configuration().get(options.ALIGNED_CHECKPOINT_TIMEOUT)
        return value

    def set_aligned_checkpoint_timeout(self, alignment_timeout: TimeLike) -> CheckpointConfig:
        """With unaligned checkpoints: begin each one aligned, and let barriers overtake when it takes longer than this."""
        return self._set_millis(
            options.ALIGNED_CHECKPOINT_TIMEOUT, "aligned checkpoint timeout", alignment_timeout, 0
        )

    def get_checkpoint_storage_dir(self) -> str | None:
        """Where checkpoints are kept: a path or any fsspec URL."""
        return self._configuration().get(options.CHECKPOINTING_DIR)

    def set_checkpoint_storage_dir(self, checkpoint_path: str) -> CheckpointConfig:
        """Where checkpoints are kept: a path or any fsspec URL."""
        path = os.fspath(checkpoint_path) if isinstance(checkpoint_path, os.PathLike) else checkpoint_path
        check_text("directory of checkpoints", path, fix="give a path or an fsspec URL")
        return self._set(options.CHECKPOINTING_DIR, path)

    def _set(
        self, option: ConfigOption[Any], value: Any
    ) -> CheckpointConfig:  # any value that Configuration.set takes
        self._change(option, value)
        return self

    def _set_millis(
        self, option: ConfigOption[Any], what: str, value: TimeLike, least: int
    ) -> CheckpointConfig:
        millis = to_millis(value)
        if millis < least:
            raise definition_error(
                f"the {what} must be at least {least} ms, not {millis} ms", fix="give for example 1000"
            )
        return self._set(option, f"{millis} ms")
