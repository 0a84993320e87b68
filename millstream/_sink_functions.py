"""What `DataStream.add_sink` takes, as an operator."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

from ._functions import check_function, definition_error
from .operators.function_sink import FunctionSinkSpec
from .operators.sink_functions import SinkContext, SinkFunction, TwoPhaseCommitSinkFunction


class _CallableSink(SinkFunction[Any]):
    """A plain callable of the record alone."""

    def __init__(self, function: Callable[[Any], object]) -> None:
        self._function = function

    def invoke(self, value: Any, context: SinkContext) -> None:
        self._function(value)


def function_sink(sink_func: Any) -> FunctionSinkSpec:
    """The operator that runs the function.

    Raises:
        JobDefinitionError: it is no sink function, or a sink, which `sink_to` takes.
    """
    if isinstance(sink_func, SinkFunction | TwoPhaseCommitSinkFunction):
        _check_initialised(sink_func)
        return FunctionSinkSpec(sink_func)
    if not isinstance(sink_func, type) and hasattr(sink_func, "create_writer"):
        raise definition_error(
            f"add_sink() was given the sink {sink_func!r}",
            fix="pass it to sink_to(); add_sink() takes functions",
        )
    if isinstance(sink_func, type) and issubclass(sink_func, SinkFunction | TwoPhaseCommitSinkFunction):
        raise definition_error(
            f"add_sink() was given the class {sink_func.__qualname__}, not an object of it",
            fix=f"write {sink_func.__qualname__}(...)",
        )
    check_function(sink_func, "invoke", "add_sink()", 1)
    return FunctionSinkSpec(_CallableSink(sink_func))


def _check_initialised(sink_func: SinkFunction[Any] | TwoPhaseCommitSinkFunction[Any, Any]) -> None:
    if isinstance(sink_func, TwoPhaseCommitSinkFunction) and not hasattr(sink_func, "transaction_type"):
        raise definition_error(
            f"{type(sink_func).__qualname__} does not say what its transactions are",
            fix="call super().__init__(transaction_type) in its __init__, e.g. super().__init__(str)",
        )


def name_of(sink_func: object) -> str:
    """For the graph.

    >>> name_of(print)
    'print'
    """
    if inspect.isroutine(sink_func):
        return sink_func.__name__
    return type(sink_func).__name__
