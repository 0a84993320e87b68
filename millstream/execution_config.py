"""Execution settings of an environment, under PyFlink's names. Each is a key of the configuration."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from ._functions import definition_error
from .core.configuration import ConfigOption, Configuration, options
from .core.time import TimeLike, to_millis
from .stream_settings import check_parallelism


class ExecutionConfig:
    """Reads and changes the settings of its environment. Made by `StreamExecutionEnvironment.get_config`.

    >>> from millstream import StreamExecutionEnvironment
    >>> env = StreamExecutionEnvironment.get_execution_environment()
    >>> env.get_config().set_global_job_parameters({"limit": 10}).get_global_job_parameters()
    {'limit': '10'}
    """

    def __init__(
        self, change: Callable[[ConfigOption[Any], Any], object], configuration: Callable[[], Configuration]
    ) -> None:
        self._change = change
        self._configuration = configuration

    def get_parallelism(self) -> int:
        """Number of subtasks of each operator that does not set its own."""
        parallelism: int = self._configuration().get(options.PARALLELISM_DEFAULT)
        return parallelism

    def set_parallelism(self, parallelism: int) -> ExecutionConfig:
        """See `get_parallelism`.

        Raises:
            JobDefinitionError: it is not an int from 1 to 32768.
        """
        check_parallelism(parallelism, "parallelism")
        return self._set(options.PARALLELISM_DEFAULT, parallelism)

    def get_max_parallelism(self) -> int | None:
        """Number of key groups; None where it follows from the parallelism."""
        return self._configuration().get(options.MAX_PARALLELISM)

    def set_max_parallelism(self, max_parallelism: int) -> ExecutionConfig:
        """See `get_max_parallelism`.

        Raises:
            JobDefinitionError: it is not an int from 1 to 32768.
        """
        check_parallelism(max_parallelism, "maximum parallelism")
        return self._set(options.MAX_PARALLELISM, max_parallelism)

    def get_auto_watermark_interval(self) -> int:
        """How often watermarks are emitted, in milliseconds."""
        interval_ms: int = self._configuration().get(options.AUTO_WATERMARK_INTERVAL)
        return interval_ms

    def set_auto_watermark_interval(self, interval: TimeLike) -> ExecutionConfig:
        """See `get_auto_watermark_interval`.

        Raises:
            JobDefinitionError: it is not positive.
        """
        interval_ms = to_millis(interval)
        if interval_ms <= 0:
            raise definition_error(
                f"the interval of watermarks must be positive, not {interval!r}",
                fix="give for example Duration.of_millis(200); WatermarkStrategy.no_watermarks() makes none",
            )
        return self._set(options.AUTO_WATERMARK_INTERVAL, interval_ms)

    def enable_object_reuse(self) -> ExecutionConfig:
        """Operators on state emit the very objects they keep, not copies: no function may change a record it was given."""
        return self._set(options.OBJECT_REUSE, value=True)

    def disable_object_reuse(self) -> ExecutionConfig:
        """Take `enable_object_reuse` back: what can be changed in place leaves state as a copy."""
        return self._set(options.OBJECT_REUSE, value=False)

    def is_object_reuse_enabled(self) -> bool:
        """Whether `enable_object_reuse` was called."""
        return self._configuration().get(options.OBJECT_REUSE)

    def get_global_job_parameters(self) -> dict[str, str]:
        """What functions get from `RuntimeContext.get_job_parameter`. A copy."""
        parameters: Mapping[str, str] = self._configuration().get(options.GLOBAL_JOB_PARAMETERS)
        return dict(parameters)

    def set_global_job_parameters(self, global_job_parameters_dict: Mapping[str, Any]) -> ExecutionConfig:
        """Replace the parameters; values become strings.

        Raises:
            JobDefinitionError: not a mapping.
        """
        given: Any = global_job_parameters_dict  # the annotation is not checked at run time
        if not isinstance(given, Mapping):
            raise definition_error(
                f"job parameters must be a dict, not {given!r}", fix="pass {'name': 'value'}"
            )
        texts = {str(name): str(value) for name, value in given.items()}
        return self._set(options.GLOBAL_JOB_PARAMETERS, texts)

    def _set(self, option: ConfigOption[Any], value: Any) -> ExecutionConfig:
        self._change(option, value)
        return self
