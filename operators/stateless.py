"""map, filter, flat_map: one line each in the loop of their chain."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

from .base import FusibleOperator, Operator, OperatorContext
from .codegen import CodeBuilder, Element
from .runtime_context import StatelessRuntimeContext
from .user_function import UserFunction


@dataclass(frozen=True, slots=True)
class _FunctionSpec:
    """A spec that is nothing but a user's function."""

    function: Any
    kind: ClassVar[str]

    def user_functions(self) -> Sequence[Any]:
        return (self.function,)


class MapSpec(_FunctionSpec):
    """One result per record."""

    kind: ClassVar[str] = "Map"

    def create(self) -> Operator:
        return _MapOperator(UserFunction(self.function, "map"))


class FilterSpec(_FunctionSpec):
    """Keeps the records for which the function is true."""

    kind: ClassVar[str] = "Filter"

    def create(self) -> Operator:
        return _FilterOperator(UserFunction(self.function, "filter"))


class FlatMapSpec(_FunctionSpec):
    """Any number of results per record: an iterable, a generator, or None for nothing."""

    kind: ClassVar[str] = "FlatMap"

    def create(self) -> Operator:
        return _FlatMapOperator(UserFunction(self.function, "flat_map"))


class _FunctionOperator(FusibleOperator):
    def __init__(self, function: UserFunction) -> None:
        self._function = function

    def open(self, context: OperatorContext) -> None:
        super().open(context)
        self._function.open(StatelessRuntimeContext(context.info))

    def close(self) -> None:
        self._function.close()
        super().close()


class _MapOperator(_FunctionOperator):
    def emit_code(self, code: CodeBuilder, element: Element) -> Element:
        result = code.fresh("v")
        code.line(f"{result} = {code.bind(self._function.call, 'map')}({element.value})")
        return Element(result, element.timestamp)


class _FilterOperator(_FunctionOperator):
    def emit_code(self, code: CodeBuilder, element: Element) -> Element:
        code.line(f"if {code.bind(self._function.call, 'filter')}({element.value}):")
        code.indent()
        return element


class _FlatMapOperator(_FunctionOperator):
    expands = True

    def emit_code(self, code: CodeBuilder, element: Element) -> Element:
        result = code.fresh("v")
        function = code.bind(self._function.call, "flat_map")
        code.line(f"for {result} in {function}({element.value}) or ():")
        code.indent()
        return Element(result, element.timestamp)
