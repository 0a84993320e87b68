"""Window operators for tests: records are `(key, value)`."""

from __future__ import annotations

from operator import itemgetter
from typing import Any

from millstream.core.types import GENERIC, Types
from millstream.operators.functions import AggregateFunction, ProcessWindowFunction
from millstream.operators.window import AggregatedContents, ListedContents, ReducedContents, WindowSpec
from millstream.operators.window_general import GeneralWindowSpec
from millstream.operators.windowing import SlidingEventTimeWindows, TumblingEventTimeWindows


def add_values(left: tuple[str, int], right: tuple[str, int]) -> tuple[str, int]:
    return (left[0], left[1] + right[1])


class Collected(AggregateFunction):
    """Gathers values in a list that is changed in place, and gives that very list away."""

    def create_accumulator(self) -> list[Any]:
        return []

    def add(self, value: tuple[str, Any], accumulator: list[Any]) -> list[Any]:
        accumulator.append(value[1])
        return accumulator

    def get_result(self, accumulator: list[Any]) -> list[Any]:
        return accumulator

    def merge(self, acc_a: list[Any], acc_b: list[Any]) -> list[Any]:
        acc_b[:0] = acc_a  # the contract allows changing and returning either one
        acc_a.clear()
        return acc_b


class CollectedWithoutMerge(AggregateFunction):
    def create_accumulator(self) -> list[Any]:
        return []

    def add(self, value: tuple[str, Any], accumulator: list[Any]) -> list[Any]:
        accumulator.append(value[1])
        return accumulator

    def get_result(self, accumulator: list[Any]) -> list[Any]:
        return accumulator


class Describe(ProcessWindowFunction):
    """(key, start, end, watermark, sorted elements)."""

    def process(self, key: Any, context: Any, elements: Any) -> Any:
        window = context.window()
        yield key, window.start, window.end, context.current_watermark(), sorted(elements)


def apply_all(key: Any, window: Any, inputs: Any) -> Any:
    return [(key, window.start, len(inputs))]


SUM = ReducedContents(add_values, Types.TUPLE([Types.STRING(), Types.LONG()]))
COLLECT = AggregatedContents(Collected(), Types.LIST(Types.LONG()))
COLLECT_UNMERGED = AggregatedContents(CollectedWithoutMerge(), Types.LIST(Types.LONG()))
LIST = ListedContents(Types.TUPLE([Types.STRING(), Types.LONG()]))


def window(size: int, slide: int | None = None, offset: int = 0, **changes: Any) -> WindowSpec:
    """Summing windows of `(key, value)`; `changes` are fields of the spec."""
    assigner = (
        TumblingEventTimeWindows.of(size, offset)
        if slide is None
        else SlidingEventTimeWindows.of(size, slide, offset)
    )
    fields = {
        "key_selector": itemgetter(0),
        "key_type": Types.STRING(),
        "assigner": assigner,
        "contents": SUM,
        **changes,
    }
    return WindowSpec(**fields)


def generic(**changes: Any) -> WindowSpec:
    """Windows of 10 ms whose key type nobody declared."""
    return window(10, key_type=GENERIC, **changes)


def general(assigner: Any, trigger: Any = None, **changes: Any) -> GeneralWindowSpec:
    """Windows of any kind over `(key, value)`, kept one by one; `changes` are fields of the spec."""
    fields = {
        "key_selector": itemgetter(0),
        "key_type": Types.STRING(),
        "value_type": Types.TUPLE([Types.STRING(), Types.LONG()]),
        "assigner": assigner,
        "trigger": trigger or assigner.get_default_trigger(None),
        "contents": SUM,
        **changes,
    }
    return GeneralWindowSpec(**fields)


def one_by_one(spec: WindowSpec) -> GeneralWindowSpec:
    """The same windows, run by the other operator."""
    return general(
        spec.assigner,
        contents=spec.contents,
        window_function=spec.window_function,
        allowed_lateness_ms=spec.allowed_lateness_ms,
        late_tag=spec.late_tag,
    )
