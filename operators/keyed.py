"""Rolling aggregations of a keyed stream: the state update is inlined into the loop of the chain."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

from ..core.types import KeyEncoder, TypeInformation
from ..state.backend import TableDescriptor
from .base import FusibleOperator, Operator, OperatorContext
from .codegen import CodeBuilder, Element
from .runtime_context import StatelessRuntimeContext
from .user_function import UserFunction


@dataclass(frozen=True, slots=True)
class ReduceSpec:
    """Combines each record with the last result of its key, and emits every new result."""

    key_selector: Callable[[Any], Any]
    key_type: TypeInformation[Any]
    function: Any
    value_type: TypeInformation[Any]
    kind: ClassVar[str] = "Reduce"

    def user_functions(self) -> Sequence[Any]:
        return (self.key_selector, self.function)

    def create(self) -> Operator:
        return _ReduceOperator(self)


class _ReduceOperator(FusibleOperator):
    def __init__(self, spec: ReduceSpec) -> None:
        self._spec = spec
        self._function = UserFunction(spec.function, "reduce")

    def open(self, context: OperatorContext) -> None:
        super().open(context)
        self.backend = context.open_backend()
        self._table = self.backend.table(
            TableDescriptor("reduce", key_type=self._spec.key_type, value_type=self._spec.value_type)
        )
        self._function.open(StatelessRuntimeContext(context.info))

    def emit_code(self, code: CodeBuilder, element: Element) -> Element:
        state, key, last, result = code.fresh("state"), code.fresh("k"), code.fresh("last"), code.fresh("v")
        namespace = code.bind(lambda: self._table.namespace(None), "state_map")
        code.before.append(f"{state} = {namespace}()")
        code.line(f"{key} = {code.bind(self._spec.key_selector, 'key_of')}({element.value})")
        check = code.bind(KeyEncoder(self._spec.key_type).encode, "check_key")
        code.line("try:")  # costs nothing unless it catches
        code.line(f"    {last} = {state}[{key}]")
        code.line("except TypeError:")  # unhashable: the encoder says so in our words
        code.line(f"    {check}({key})")
        code.line("    raise")
        code.line(f"if {last} is None:")
        code.line(f"    {check}({key})")
        code.line(f"    {result} = {element.value}")
        code.line("else:")
        code.line(f"    {result} = {code.bind(self._function.call, 'reduce')}({last}, {element.value})")
        code.line(f"if {result} is None:")  # as in Flink, None is the unset value
        code.line(f"    {state}.remove({key})")
        code.line("else:")
        code.line(f"    {state}[{key}] = {result}")
        return Element(result, element.timestamp)

    def close(self) -> None:
        self._function.close()
        super().close()
