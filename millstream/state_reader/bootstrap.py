"""What a savepoint is made of when it is made of data instead of by a job."""

from __future__ import annotations

import tempfile
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Generic, NoReturn, TypeVar

from ..core.batch import MIN_TIMESTAMP
from ..core.clock import SystemClock
from ..core.errors import StateError
from ..core.savepoints import SavepointFormatType
from ..core.types import KeyEncoder, TypeInformation
from ..operators.base import RuntimeInfo
from ..operators.functions import Function, RuntimeContext, TimerService
from ..operators.runtime_context import KeyedRuntimeContext
from ..operators.user_function import close_function, open_function
from ..state.backend import BackendContext, CheckpointStreams, KeyedStateBackend
from ..state.backends import create_backend
from ..state.handles import FileRef, KeyedStateHandle
from ..state.key_context import KeyContext
from ..state.timers import KeyedTimers

IN = TypeVar("IN")

_CACHE_ENTRIES: Final = 50_000
"""Entries in memory at a time; the others lie in RocksDB, in key group order."""

_BATCH: Final = 1_000
"""Values between two looks at how much is in memory."""


class KeyedStateBootstrapFunction(Function, ABC, Generic[IN]):
    """Writes values into keyed state: as a `KeyedProcessFunction`, without results.

    `open(runtime_context)` asks for the states, by the descriptors that the job will ask with.
    """

    class Context(ABC):
        """Valid during the call alone."""

        @abstractmethod
        def get_current_key(self) -> Any:
            """The key of the value."""

        @abstractmethod
        def timer_service(self) -> TimerService:
            """Registers timers, which fire in the job."""

    @abstractmethod
    def process_element(self, value: IN, ctx: KeyedStateBootstrapFunction.Context) -> None:
        """Take one value in."""


@dataclass(frozen=True, slots=True)
class KeyedBootstrap:
    """Keyed state of one operator, to be made of data.

    Attributes:
        data: read once, one by one.
        key_selector: gives the key of a value.
        key_type: type of the keys, as the job's `key_by` declares it.
        function: writes the state.
    """

    data: Iterable[Any]
    key_selector: Callable[[Any], Any]
    key_type: TypeInformation[Any]
    function: KeyedStateBootstrapFunction[Any]

    def write(self, uid: str, max_parallelism: int, streams: CheckpointStreams) -> KeyedStateHandle:
        """Everything, in the layout that all backends restore.

        Memory holds some 50,000 entries at a time, the rest is in RocksDB in a temporary folder.

        Raises:
            InvalidKeyError: a key is not of the type.
            RecordSerializationError: a value is not of the type of its state.
            CheckpointError: STORAGE.
        """
        with tempfile.TemporaryDirectory(prefix="millstream-bootstrap-") as folder:
            key_groups = (0, max_parallelism - 1)
            backend = create_backend(
                "rocksdb",
                BackendContext(
                    uid, max_parallelism, key_groups, Path(folder), (), _NoReader(), _CACHE_ENTRIES
                ),
            )
            try:
                self._fill(backend, uid, max_parallelism)
                return _written(backend, streams)
            finally:
                backend.close()

    def _fill(self, backend: KeyedStateBackend, uid: str, max_parallelism: int) -> None:
        keys = KeyContext()
        context = _BootstrapContext(keys, _BootstrapTimers(backend, keys, self.key_type))
        info = RuntimeInfo("", "", uid, uid, "", 0, 1, max_parallelism, 1, None, 0, checkpointing=False)
        open_function(self.function, _runtime_context(info, backend, keys, self.key_type))
        validate = KeyEncoder(self.key_type).encode
        for number, value in enumerate(self.data, 1):
            key = self.key_selector(value)
            validate(key)
            keys.current_key = key
            self.function.process_element(value, context)
            if number % _BATCH == 0:
                backend.end_of_batch()
        close_function(self.function)


def _runtime_context(
    info: RuntimeInfo, backend: KeyedStateBackend, keys: KeyContext, key_type: TypeInformation[Any]
) -> RuntimeContext:
    return KeyedRuntimeContext(info, backend, keys, key_type)


def _written(backend: KeyedStateBackend, streams: CheckpointStreams) -> KeyedStateHandle:
    pending: Any = backend.snapshot(1)  # of RocksDB, which SupportsSavepoints
    try:
        handle: KeyedStateHandle = pending.write_savepoint(streams, SavepointFormatType.CANONICAL)
        return handle
    finally:
        pending.release()


class _BootstrapContext(KeyedStateBootstrapFunction.Context):
    def __init__(self, keys: KeyContext, timers: TimerService) -> None:
        self._keys = keys
        self._timers = timers

    def get_current_key(self) -> Any:
        return self._keys.current_key

    def timer_service(self) -> TimerService:
        return self._timers


class _BootstrapTimers(TimerService):
    """Timers under the names that process functions know them by. Nothing fires."""

    def __init__(self, backend: KeyedStateBackend, keys: KeyContext, key_type: TypeInformation[Any]) -> None:
        self._event_timers = KeyedTimers(backend, "event-timers", key_type)
        self._processing_timers = KeyedTimers(backend, "processing-timers", key_type)
        self._keys = keys

    def current_processing_time(self) -> int:
        return SystemClock().now_ms()

    def current_watermark(self) -> int:
        return MIN_TIMESTAMP

    def register_event_time_timer(self, timestamp: int) -> None:
        self._event_timers.register(self._keys.current_key, timestamp)

    def register_processing_time_timer(self, timestamp: int) -> None:
        self._processing_timers.register(self._keys.current_key, timestamp)

    def delete_event_time_timer(self, timestamp: int) -> None:
        self._event_timers.delete(self._keys.current_key, timestamp)

    def delete_processing_time_timer(self, timestamp: int) -> None:
        self._processing_timers.delete(self._keys.current_key, timestamp)


class _NoReader:
    """Of a backend that restores nothing."""

    def read(self, ref: FileRef) -> NoReturn:
        raise StateError(f"a new savepoint has no file '{ref.path}'")

    def download(self, ref: FileRef, local: Path) -> NoReturn:
        self.read(ref)
