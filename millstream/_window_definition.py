"""What a windowed stream collects until a function says what becomes of its windows; shared by keyed and other streams."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from ._functions import check_function, definition_error, result_type
from .core.time import TimeLike, to_millis
from .core.types import TypeInformation, as_type
from .data_stream import DataStream
from .keyed_stream import KeyedStream
from .operators.evictors import Evictor
from .operators.field_aggregations import Aggregation, FieldAggregation, field_problem
from .operators.functions import AggregateFunction, OutputTag
from .operators.trigger import Trigger
from .operators.windowing import MergingWindowAssigner, WindowAssigner

# Records, keys and windows are of any type in here; the signatures of WindowedStream and AllWindowedStream tie them together.


@dataclass(slots=True)
class WindowDefinition:
    """The settings of a windowed stream, and how they become an operator.

    Attributes:
        stream: the keyed stream whose records are grouped.
        arguments: how many arguments its window functions take.
        adapt: makes what the operator calls of a user's window function.
        default_trigger: of the assigner.
    """

    stream: KeyedStream[Any, Any]
    assigner: WindowAssigner[Any, Any]
    arguments: int
    adapt: Callable[[Any], Any]
    default_trigger: Trigger[Any, Any]
    trigger: Trigger[Any, Any] | None = None
    evictor: Evictor[Any, Any] | None = None
    allowed_lateness_ms: int = 0
    late_tag: str | None = None

    def set_trigger(self, trigger: Any) -> None:
        """Replace the default trigger."""
        if not isinstance(trigger, Trigger):
            raise definition_error(
                f"trigger() was given {trigger!r}, which is not a trigger",
                fix="pass an object such as CountTrigger.of(100), or one of a class derived from Trigger",
            )
        if isinstance(self.assigner, MergingWindowAssigner):
            _refuse_unmergeable(trigger, self.assigner)
        self.trigger = trigger

    def set_evictor(self, evictor: Any) -> None:
        """Have an evictor look at the elements."""
        if not isinstance(evictor, Evictor):
            raise definition_error(
                f"evictor() was given {evictor!r}, which is not an evictor",
                fix="pass an object such as CountEvictor.of(100), or one of a class derived from Evictor",
            )
        self.evictor = evictor

    def set_allowed_lateness(self, time_ms: TimeLike) -> None:
        """Keep windows for longer."""
        lateness_ms = to_millis(time_ms)
        if lateness_ms < 0:
            raise definition_error(
                f"the allowed lateness is negative: {lateness_ms} ms", fix="give 0 ms or more"
            )
        self.allowed_lateness_ms = lateness_ms

    def set_late_tag(self, output_tag: Any) -> None:
        """Keep late records."""
        if not isinstance(output_tag, OutputTag):
            raise definition_error(f"{output_tag!r} is not an OutputTag", fix="pass OutputTag('late-data')")
        self.late_tag = output_tag.tag_id

    # ---- what becomes of the windows

    def reduce(self, reduce_function: Any, window_function: Any, output_type: Any) -> DataStream[Any]:
        """Of each window one record."""
        from .operators.window_contents import ReducedContents

        check_function(reduce_function, "reduce", "reduce()", 2)
        value_type = self.stream.get_type()
        type_info = self._result_type(window_function, output_type, otherwise=value_type)
        return self._build("Reduce", ReducedContents(reduce_function, value_type), window_function, type_info)

    def aggregate(
        self, aggregate_function: Any, window_function: Any, accumulator_type: Any, output_type: Any
    ) -> DataStream[Any]:
        """Of each window the result of an accumulator."""
        from .operators.window_contents import AggregatedContents

        for method, arguments in (("create_accumulator", 0), ("add", 2), ("get_result", 1)):
            if not isinstance(aggregate_function, type) and not hasattr(aggregate_function, method):
                raise definition_error(
                    f"aggregate() was given {aggregate_function!r}, which has no method {method}",
                    fix="pass an object of a class derived from AggregateFunction",
                )
            check_function(aggregate_function, method, "aggregate()", arguments)
        if isinstance(self.assigner, MergingWindowAssigner) and self.evictor is None:
            _refuse_without_merge(aggregate_function, self.assigner)
        result = result_type(
            aggregate_function, "get_result", output_type if window_function is None else None
        )
        type_info = self._result_type(window_function, output_type, otherwise=result)
        kept = result_type(aggregate_function, "create_accumulator", accumulator_type)
        contents = AggregatedContents(aggregate_function, kept)
        return self._build("Aggregate", contents, window_function, type_info)

    def list_elements(self, name: str, function: Any, output_type: Any) -> DataStream[Any]:
        """Whatever a window function makes of all elements of a window."""
        from .operators.window_contents import ListedContents

        value_type = self.stream.get_type()
        if function is None:
            raise definition_error(
                f"{name.lower()}() was given no window function",
                fix="pass an object of a class derived from ProcessWindowFunction or WindowFunction",
            )
        type_info = self._result_type(function, output_type, otherwise=value_type)
        return self._build(name, ListedContents(value_type), function, type_info)

    def aggregate_field(
        self, aggregation: Aggregation, field: int | str, *, first: bool = True
    ) -> DataStream[Any]:
        """Of each window the record with the aggregate of a field."""
        value_type = self.stream.get_type()
        problem = field_problem(value_type, aggregation, field)
        if problem is not None:
            raise definition_error(
                f"{aggregation.value}() cannot work: {problem}",
                fix="give the position or the name of a field that the records have",
            )
        return self.reduce(FieldAggregation(aggregation, field, first=first), None, None)

    def _result_type(
        self, window_function: Any, output_type: Any, *, otherwise: TypeInformation[Any]
    ) -> TypeInformation[Any]:
        if window_function is None:
            return otherwise if output_type is None else as_type(output_type)
        method = next((name for name in ("process", "apply") if hasattr(window_function, name)), None)
        if method is None:
            raise definition_error(
                f"{window_function!r} is not a window function",
                fix="pass an object of a class derived from ProcessWindowFunction or WindowFunction",
            )
        check_function(window_function, method, "the window", self.arguments)
        return result_type(window_function, method, output_type, many=True)

    def _build(
        self, name: str, contents: Any, window_function: Any, type_info: TypeInformation[Any]
    ) -> DataStream[Any]:
        from .operators.window_choice import choose_window_operator
        from .operators.window_general import GeneralWindowSpec

        trigger = self.trigger or self.default_trigger
        spec = GeneralWindowSpec(
            key_selector=self.stream._key_selector,
            key_type=self.stream._key_type,
            value_type=self.stream.get_type(),
            assigner=self.assigner,
            trigger=trigger,
            contents=contents,
            evictor=self.evictor,
            window_function=None if window_function is None else self.adapt(window_function),
            allowed_lateness_ms=self.allowed_lateness_ms,
            late_tag=self.late_tag,
        )
        stream = self.stream._then(type(self.assigner).__name__, choose_window_operator(spec), type_info)
        parts = [str(self.assigner), type(trigger).__name__, name]
        if self.evictor is not None:
            parts.insert(2, type(self.evictor).__name__)
        return stream.set_description(f"Window({', '.join(parts)})")


def define_windows(
    stream: KeyedStream[Any, Any], assigner: Any, caller: str, arguments: int, adapt: Callable[[Any], Any]
) -> WindowDefinition:
    """The definition with the assigner's default trigger.

    Raises:
        JobDefinitionError: `assigner` is none, or its trigger does not fit it.
    """
    if not isinstance(assigner, WindowAssigner):
        raise definition_error(
            f"{caller}() was given {assigner!r}, which is not a window assigner",
            fix=f"write for example {caller}(TumblingEventTimeWindows.of(Duration.of_minutes(1)))",
        )
    trigger: Any = assigner.get_default_trigger(stream.get_execution_environment())
    if not isinstance(trigger, Trigger):
        raise definition_error(
            f"the default trigger of {assigner!r} is {trigger!r}, which is not a trigger",
            fix=f"have {type(assigner).__name__}.get_default_trigger return for example EventTimeTrigger.create()",
        )
    if isinstance(assigner, MergingWindowAssigner):
        _refuse_unmergeable(trigger, assigner)
    return WindowDefinition(stream, assigner, arguments, adapt, trigger)


def _refuse_unmergeable(trigger: Trigger[Any, Any], assigner: WindowAssigner[Any, Any]) -> None:
    if not trigger.can_merge():
        raise definition_error(
            f"{assigner} merges windows, which {trigger!r} does not support",
            fix=f"use a trigger whose can_merge() is true, or define can_merge and on_merge of {type(trigger).__name__}",
        )


def _refuse_without_merge(aggregate_function: Any, assigner: WindowAssigner[Any, Any]) -> None:
    merge = getattr(type(aggregate_function), "merge", AggregateFunction.merge)
    if merge is AggregateFunction.merge:
        raise definition_error(
            f"{assigner} merges windows, so that {type(aggregate_function).__name__} needs a method merge(acc_a, acc_b)",
            fix="define it: it returns the accumulator of the records of both",
        )
