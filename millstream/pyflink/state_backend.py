"""PyFlink's description of the RocksDB state backend, with the settings of RocksDB's that are accepted without effect."""

from __future__ import annotations

import enum
import logging
from typing import ClassVar, Final

from .. import state_backends

__all__ = ["EmbeddedRocksDBStateBackend", "PredefinedOptions"]

_LOG: Final = logging.getLogger(__name__)


class PredefinedOptions(enum.Enum):
    """Settings of RocksDB for kinds of disks. Here all stand for Millstream's own."""

    DEFAULT = 0
    SPINNING_DISK_OPTIMIZED = 1
    SPINNING_DISK_OPTIMIZED_HIGH_MEM = 2
    FLASH_SSD_OPTIMIZED = 3


class EmbeddedRocksDBStateBackend(state_backends.StateBackend):
    """State in RocksDB on the worker's disk. Its tuning has no effect; what it is tuned by are `state.backend.rocksdb.*`.

    >>> EmbeddedRocksDBStateBackend().name
    'rocksdb'

    Args:
        enable_incremental_checkpointing: no effect: checkpoints are incremental.
    """

    name: ClassVar[str] = "rocksdb"

    def __init__(self, enable_incremental_checkpointing: bool | None = None) -> None:
        if enable_incremental_checkpointing is False:
            _LOG.info("checkpoints of RocksDB are incremental here in any case")
        self._paths: list[str] = []
        self._predefined_options = PredefinedOptions.DEFAULT
        self._options: str | None = None
        self._transfer_threads = 4

    def set_db_storage_paths(self, *paths: str) -> None:
        """No effect: the key `io.tmp.dirs` says where local state lives."""
        _LOG.info("local state lives where io.tmp.dirs says, not in %s", ", ".join(map(str, paths)))
        self._paths = [str(path) for path in paths]

    def get_db_storage_paths(self) -> list[str]:
        """What was given."""
        return list(self._paths)

    def is_incremental_checkpoints_enabled(self) -> bool:
        """True."""
        return True

    def set_predefined_options(self, options: PredefinedOptions) -> None:
        """No effect."""
        _LOG.info("RocksDB is not tuned by %s", options)
        self._predefined_options = PredefinedOptions(options)

    def get_predefined_options(self) -> PredefinedOptions:
        """What was given."""
        return self._predefined_options

    def set_options(self, options_factory_class_name: str) -> None:
        """No effect: the factory is a class of Java."""
        _LOG.info("RocksDB is not tuned by the Java class %s", options_factory_class_name)
        self._options = options_factory_class_name

    def get_options(self) -> str | None:
        """What was given."""
        return self._options

    def set_number_of_transfer_threads(self, number_of_transfering_threads: int) -> None:
        """No effect."""
        _LOG.info("files of checkpoints are not uploaded by %s threads", number_of_transfering_threads)
        self._transfer_threads = number_of_transfering_threads

    def get_number_of_transfer_threads(self) -> int:
        """What was given."""
        return self._transfer_threads
