"""PyFlink's descriptions of where checkpoints are kept. Here they are always files below one folder or URL."""

from __future__ import annotations

from .._functions import definition_error

__all__ = ["CheckpointStorage", "FileSystemCheckpointStorage", "JobManagerCheckpointStorage"]


class CheckpointStorage:
    """A folder or fsspec URL, or none.

    Attributes:
        checkpoint_path: None: the key `execution.checkpointing.dir` says where.
    """

    def __init__(self, checkpoint_path: str | None) -> None:
        self.checkpoint_path = checkpoint_path

    def get_checkpoint_path(self) -> str | None:
        """The folder or URL, None if none was given."""
        return self.checkpoint_path

    def get_savepoint_path(self) -> str | None:
        """None: there is no folder for savepoints."""
        return None


class FileSystemCheckpointStorage(CheckpointStorage):
    """A folder or fsspec URL.

    >>> FileSystemCheckpointStorage("file:///data/checkpoints").get_checkpoint_path()
    'file:///data/checkpoints'

    Args:
        checkpoint_path: the folder or URL.
        file_state_size_threshold: no effect: what belongs into the metadata is decided by the state backend.
        write_buffer_size: no effect.

    Raises:
        JobDefinitionError: no path is given.
    """

    def __init__(
        self,
        checkpoint_path: str | None = None,
        file_state_size_threshold: int | None = None,
        write_buffer_size: int = -1,
    ) -> None:
        if checkpoint_path is None:
            raise definition_error(
                "FileSystemCheckpointStorage() was given no path",
                fix="give a folder or an fsspec URL, such as 'file:///data/checkpoints'",
            )
        super().__init__(str(checkpoint_path))
        self._threshold = file_state_size_threshold
        self._write_buffer_size = write_buffer_size

    def get_min_file_size_threshold(self) -> int:
        """What was given in bytes, 0 if nothing was."""
        return self._threshold or 0

    def get_write_buffer_size(self) -> int:
        """What was given in bytes, -1 if nothing was."""
        return self._write_buffer_size


class JobManagerCheckpointStorage(CheckpointStorage):
    """Flink's checkpoints in the memory of the JobManager. Here that is no place: with a path it stands for that folder.

    Args:
        checkpoint_path: a folder or URL; None: `set_checkpoint_storage` refuses it.
        max_state_size: no effect.
    """

    DEFAULT_MAX_STATE_SIZE = 5 << 20

    def __init__(self, checkpoint_path: str | None = None, max_state_size: int | None = None) -> None:
        super().__init__(checkpoint_path)
        self._max_state_size = max_state_size

    def get_max_state_size(self) -> int:
        """What was given in bytes."""
        return self.DEFAULT_MAX_STATE_SIZE if self._max_state_size is None else self._max_state_size
