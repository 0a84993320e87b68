"""PyFlink programs unchanged: `install()` lets `import pyflink` find Millstream.

The modules that DataStream programs import from exist under their names and hand out Millstream's classes. A name that has no
counterpart raises an error; where there is something to use instead, it says what.
"""

from __future__ import annotations

import logging
import sys
from collections.abc import Iterator, Sequence
from importlib import import_module
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec
from types import ModuleType
from typing import Any, Final

from .core.configuration import Configuration
from .core.errors import JobDefinitionError
from .environment import StreamExecutionEnvironment

_LOG: Final = logging.getLogger(__name__)
_ROOT: Final = "pyflink"

_COMMON: Final = [
    "completable_future",
    "config_options",
    "configuration",
    "execution_config",
    "execution_mode",
    "job_client",
    "job_execution_result",
    "job_id",
    "job_status",
    "restart_strategy",
    "serialization",
    "serializer",
    "time",
    "typeinfo",
    "types",
    "watermark_strategy",
]
_DATASTREAM: Final = [
    "async_data_stream",
    "checkpoint_config",
    "checkpointing_mode",
    "data_stream",
    "execution_mode",
    "externalized_checkpoint_retention",
    "functions",
    "output_tag",
    "runtime_execution_mode",
    "slot_sharing_group",
    "state",
    "state_backend",
    "stream_execution_environment",
    "time_domain",
    "timerservice",
    "util",
    "window",
]
_API: Final = (
    "millstream",
    "millstream.connectors.schemas",
    "millstream.connectors.files",
    "millstream.connectors.datagen",
)
_KAFKA: Final = ("millstream.connectors.kafka",)

_SOURCES: Final[dict[str, tuple[str, ...]]] = {
    "pyflink": (),
    "pyflink.common": _API,
    **{f"pyflink.common.{name}": _API for name in _COMMON},
    "pyflink.datastream": _API,
    **{f"pyflink.datastream.{name}": _API for name in _DATASTREAM},
    "pyflink.datastream.connectors": (*_API, *_KAFKA),
    "pyflink.datastream.connectors.base": (*_API, *_KAFKA),
    "pyflink.datastream.connectors.file_system": _API,
    "pyflink.datastream.connectors.kafka": _KAFKA,
    "pyflink.datastream.connectors.number_seq": _API,
    "pyflink.datastream.formats": ("millstream.connectors.formats",),
    "pyflink.datastream.formats.csv": ("millstream.connectors.formats",),
    "pyflink.datastream.formats.json": ("millstream.connectors.formats",),
}
"""Where the names of each module are looked for, in this order."""

_CHECKPOINT_DIR: Final = (
    "env.get_checkpoint_config().set_checkpoint_storage(...), or execution.checkpointing.dir"
)
_INSTEAD: Final = {
    "SourceFunction": "env.from_source(...) with a Source (millstream.connectors.base tells how to write one)",
    "FlinkKafkaConsumer": "KafkaSource",
    "FlinkKafkaProducer": "KafkaSink",
    "StreamingFileSink": "FileSink",
    "MemoryStateBackend": "HashMapStateBackend",
    "FsStateBackend": "HashMapStateBackend",
    "RocksDBStateBackend": "EmbeddedRocksDBStateBackend",
    "CustomStateBackend": "HashMapStateBackend or EmbeddedRocksDBStateBackend",
    "PredefinedOptions": "the settings state.backend.rocksdb.*",
    "CheckpointStorage": _CHECKPOINT_DIR,
    "FileSystemCheckpointStorage": _CHECKPOINT_DIR,
    "JobManagerCheckpointStorage": _CHECKPOINT_DIR,
    "CustomCheckpointStorage": _CHECKPOINT_DIR,
    "ExternalizedCheckpointCleanup": "ExternalizedCheckpointRetention",
    "TimeCharacteristic": "a WatermarkStrategy: there is event time where a program assigns timestamps",
    "RestartStrategies": "the settings restart-strategy.*",
    "StateTtlConfig": "a timer that clears the state; time to live is not there yet",
    "StreamTableEnvironment": "the DataStream API: there are no tables yet",
}


class MissingInMillstream(ImportError):
    """A name of PyFlink that has no counterpart here."""

    def __init__(self, module: str, name: str) -> None:
        instead = _INSTEAD.get(name)
        advice = f"use {instead}" if instead else "see the migration page of the user guide"
        super().__init__(f"{module}.{name} does not exist in Millstream\n  fix:   {advice}", name=name)


class PyFlinkEnvironment(StreamExecutionEnvironment):
    """The environment with the calls that only make sense with a JVM: accepted, with a line in the log."""

    @staticmethod
    def get_execution_environment(configuration: Configuration | None = None) -> PyFlinkEnvironment:
        return PyFlinkEnvironment(configuration)

    def add_jars(self, *jars_path: str) -> None:
        """Nothing to load: connectors are part of Millstream, or extras of it."""
        _LOG.info("there is no JVM, so nothing is loaded from %s", ", ".join(jars_path))

    def add_classpaths(self, *classpaths: str) -> None:
        """Nothing to load. As `add_jars`."""
        self.add_jars(*classpaths)


_OF_THE_ALIAS: Final = {"StreamExecutionEnvironment": PyFlinkEnvironment}


def install() -> None:
    """Register `pyflink` and the modules below it. Calling it again does nothing.

    Raises:
        JobDefinitionError: the real PyFlink has been imported already.

    >>> install()
    >>> from pyflink.common import Types
    >>> from pyflink.datastream import StreamExecutionEnvironment
    >>> env = StreamExecutionEnvironment.get_execution_environment()
    >>> env.from_collection([1, 2], Types.INT()).map(lambda number: number + 1).execute_and_collect(limit=2)
    [2, 3]
    """
    if any(isinstance(finder, _AliasFinder) for finder in sys.meta_path):
        return
    if _ROOT in sys.modules:
        raise JobDefinitionError(
            "pyflink is imported already, so its names cannot stand for Millstream's",
            fix="call millstream.pyflink.install() before the first import of pyflink, or use `millstream run --pyflink`",
        )
    sys.meta_path.insert(0, _AliasFinder())


class _AliasFinder(MetaPathFinder):
    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        del path, target
        if fullname.partition(".")[0] != _ROOT:
            return None
        if fullname not in _SOURCES:
            parent, _, name = fullname.rpartition(".")
            raise MissingInMillstream(parent, name)
        return ModuleSpec(fullname, _AliasLoader(), is_package=True)


class _AliasLoader(Loader):
    def create_module(self, spec: ModuleSpec) -> ModuleType:
        return _AliasModule(spec.name)

    def exec_module(self, module: ModuleType) -> None:
        """Names come when they are asked for."""


class _AliasModule(ModuleType):
    def __getattr__(self, name: str) -> Any:
        if name.startswith("__") and name != "__all__":
            raise AttributeError(name)
        value = sorted(_names_of(self.__name__)) if name == "__all__" else self._find(name)
        setattr(self, name, value)
        return value

    def _find(self, name: str) -> Any:
        submodule = f"{self.__name__}.{name}"
        if submodule in _SOURCES:
            return import_module(submodule)
        if name in _OF_THE_ALIAS:
            return _OF_THE_ALIAS[name]
        for source in _SOURCES[self.__name__]:
            module = import_module(source)
            if name in module.__all__:
                return getattr(module, name)
        raise MissingInMillstream(self.__name__, name)

    def __reduce__(self) -> tuple[Any, ...]:
        return _alias_module, (
            self.__name__,
        )  # for a function that refers to the module, on its way to a worker

    def __dir__(self) -> list[str]:
        return sorted({*super().__dir__(), *_names_of(self.__name__)})


def _alias_module(name: str) -> ModuleType:
    install()
    return import_module(name)


def _names_of(module: str) -> Iterator[str]:
    for source in _SOURCES[module]:
        yield from (name for name in import_module(source).__all__ if not name.startswith("__"))
