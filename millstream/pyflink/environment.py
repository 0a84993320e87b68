"""PyFlink's environment: Millstream's, with the calls that only make sense with a JVM or a cluster."""

from __future__ import annotations

import logging
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final, NoReturn, Self

from .. import environment
from .._functions import definition_error
from ..checkpoint_config import CheckpointingMode
from ..core.configuration import Configuration, options
from ..data_stream import DataStream
from ..operators.watermark_strategy import WatermarkStrategy
from ..stream_settings import check_parallelism
from .ignored_keys import without_ignored_keys
from .restart_strategy import RestartStrategies, RestartStrategyConfiguration
from .settings import CheckpointConfig, ExecutionConfig

__all__ = ["StreamExecutionEnvironment"]

_LOG: Final = logging.getLogger(__name__)


class StreamExecutionEnvironment(environment.StreamExecutionEnvironment):
    """Millstream's environment. Calls that cannot mean anything here are accepted with a line in the log, or refused where
    that would change what the program does.

    >>> env = StreamExecutionEnvironment.get_execution_environment()
    >>> env.get_checkpoint_interval()
    -1
    """

    def __init__(self, configuration: Configuration | None = None) -> None:
        super().__init__(None if configuration is None else without_ignored_keys(configuration, self))

    @staticmethod
    def get_execution_environment(configuration: Configuration | None = None) -> StreamExecutionEnvironment:
        return StreamExecutionEnvironment(configuration)

    # ---- settings

    def configure(self, configuration: Configuration | Mapping[str, str]) -> Self:
        """As Millstream's; keys that have no effect here are left out, with a line in the log."""
        return super().configure(without_ignored_keys(Configuration(configuration), self))

    def get_config(self) -> ExecutionConfig:
        return ExecutionConfig(self._set, self._effective)

    def get_checkpoint_config(self) -> CheckpointConfig:
        return CheckpointConfig(self._set, self._effective)

    def get_max_parallelism(self) -> int:
        """Number of key groups; -1 where it follows from the parallelism."""
        return super().get_max_parallelism() or -1

    def get_checkpoint_interval(self) -> int:
        """Milliseconds; -1 without checkpoints."""
        return self.get_checkpoint_config().get_checkpoint_interval()

    def get_checkpointing_mode(self) -> CheckpointingMode:
        """What checkpoints guarantee."""
        return self.get_checkpoint_config().get_checkpointing_mode()

    get_checkpointing_consistency_mode = get_checkpointing_mode

    def is_unaligned_checkpoints_enabled(self) -> bool:
        """Whether barriers overtake records under way."""
        return self.get_checkpoint_config().is_unaligned_checkpoints_enabled()

    def is_force_unaligned_checkpoints(self) -> bool:
        """False: there is nothing to force."""
        return self.get_checkpoint_config().is_force_unaligned_checkpoints()

    def set_restart_strategy(self, restart_strategy_configuration: RestartStrategyConfiguration) -> Self:
        """What happens after a failure: one of `RestartStrategies`, as in PyFlink 1.x.

        Raises:
            JobDefinitionError: it is none.
            ConfigurationError: a number of it is out of range.
        """
        given: Any = restart_strategy_configuration  # the annotation is not checked at run time
        if not isinstance(given, RestartStrategyConfiguration):
            raise definition_error(
                f"set_restart_strategy() was given {given!r}, which is no restart strategy",
                fix=f"pass for example {RestartStrategies.__name__}.fixed_delay_restart(3, 1000)",
            )
        return super().configure(given.settings())

    def is_chaining_of_operators_with_different_max_parallelism_enabled(self) -> bool:
        """False: a chain has one number of key groups."""
        return False

    def enable_changelog_state_backend(self, enabled: bool) -> Self:
        """No changelog is kept, so that checkpoints take as long as before; results are the same."""
        if enabled:
            _LOG.warning(
                "there is no changelog state backend: checkpoints are those of the chosen state backend"
            )
        return self

    def is_changelog_state_backend_enabled(self) -> bool:
        """False. See `enable_changelog_state_backend`."""
        return False

    def set_default_savepoint_directory(self, directory: str) -> Self:
        """Where savepoints go that are triggered without a directory."""
        return self.configure({options.SAVEPOINT_DIR.key: str(directory)})

    def get_default_savepoint_directory(self) -> str | None:
        """What `set_default_savepoint_directory` or the key `execution.checkpointing.savepoint-dir` says."""
        return self.get_configuration().get(options.SAVEPOINT_DIR)

    def get_default_local_parallelism(self) -> int:
        """As `get_parallelism`: all environments are local ones."""
        return self.get_parallelism()

    def set_default_local_parallelism(self, parallelism: int) -> None:
        """As `set_parallelism`, unless the parallelism has been set.

        Raises:
            JobDefinitionError: it is not an int from 1 to 32768.
        """
        check_parallelism(parallelism, "parallelism")
        if self._effective().source_of(options.PARALLELISM_DEFAULT) is None:
            self.set_parallelism(parallelism)

    # ---- what a JVM or the processes beside it would load

    def add_jars(self, *jars_path: str) -> None:
        """Nothing to load: connectors are part of Millstream, or extras of it."""
        _LOG.info("there is no JVM, so nothing is loaded from %s", ", ".join(jars_path))

    def add_classpaths(self, *classpaths: str) -> None:
        """Nothing to load. As `add_jars`."""
        self.add_jars(*classpaths)

    def add_python_file(self, file_path: str) -> None:
        """Let the program and its functions import the file, or what is in the folder.

        Raises:
            JobDefinitionError: there is none.
        """
        path = Path(str(file_path).removeprefix("file://"))
        if not path.exists():
            raise definition_error(
                f"add_python_file() was given {file_path!r}, which does not exist",
                fix="give the path of a module, a package or a zip file on this machine",
            )
        is_module = path.suffix == ".py" or (path / "__init__.py").exists()
        sys.path.insert(0, str((path.parent if is_module else path).resolve()))

    def set_python_requirements(
        self, requirements_file_path: str, requirements_cache_dir: str | None = None
    ) -> None:
        """Nothing is installed: functions run in the Python that runs the program."""
        del requirements_cache_dir
        _LOG.warning("nothing is installed from %s: do it by pip install -r", requirements_file_path)

    def add_python_archive(self, archive_path: str, target_dir: str | None = None) -> NoReturn:
        """Not here.

        Raises:
            JobDefinitionError: always: functions would not find what is in the archive.
        """
        del target_dir
        raise definition_error(
            f"the archive {archive_path!r} is not unpacked for functions",
            fix="unpack it, and let functions open its files by absolute paths",
        )

    def set_python_executable(self, python_exec: str) -> None:
        """Functions run in the Python that runs the program."""
        _LOG.info("functions run in %s, not in %s", sys.executable, python_exec)

    def register_cached_file(self, file_path: str, name: str, executable: bool = False) -> None:
        """Not copied: workers see the files of this machine, and PyFlink's functions cannot ask for the copy."""
        del executable
        _LOG.info("%s is not copied as %r: functions open it where it is", file_path, name)

    # ---- sources of Java's

    def add_source(
        self, source_func: object, source_name: str = "Custom Source", type_info: Any = None
    ) -> DataStream[Any]:
        """The records of a source that PyFlink has as a SourceFunction, such as `RMQSource`.

        Raises:
            JobDefinitionError: it is none that is here.
        """
        if not isinstance(source_func, type) and hasattr(source_func, "create_reader"):
            given: Any = source_func  # from_source looks at it
            return self.from_source(given, WatermarkStrategy.no_watermarks(), source_name, type_info)
        raise definition_error(
            f"{source_func!r} cannot be the source '{source_name}': a SourceFunction is code of a JVM",
            fix="use from_source() with a source of millstream.connectors, or one written after millstream.connectors.base",
        )

    def create_input(self, input_format: object, type_info: object = None) -> NoReturn:
        """Not here.

        Raises:
            JobDefinitionError: always.
        """
        del type_info
        raise definition_error(
            f"{input_format!r} cannot be read: an InputFormat is code of a JVM",
            fix="use from_source() with a FileSource, or with a source written after millstream.connectors.base",
        )
