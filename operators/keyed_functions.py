"""map, filter and flat_map with keyed state: as those of `stateless.py`, one line each in the loop of their chain, behind the
lines that make the record's key the current one."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

from ..core.types import TypeInformation
from ..state.key_context import KeyContext
from .base import FusibleOperator, Operator, OperatorContext
from .codegen import CodeBuilder, Element
from .key_validation import KeyValidator
from .runtime_context import KeyedRuntimeContext
from .user_function import UserFunction


@dataclass(frozen=True, slots=True)
class _KeyedFunctionSpec:
    key_selector: Callable[[Any], Any]
    key_type: TypeInformation[Any]
    function: Any
    kind: ClassVar[str]

    def user_functions(self) -> Sequence[Any]:
        return (self.key_selector, self.function)


class KeyedMapSpec(_KeyedFunctionSpec):
    """One result per record."""

    kind: ClassVar[str] = "KeyedMap"

    def create(self) -> Operator:
        return _KeyedMapOperator(self, "map")


class KeyedFilterSpec(_KeyedFunctionSpec):
    """Keeps the records for which the function is true."""

    kind: ClassVar[str] = "KeyedFilter"

    def create(self) -> Operator:
        return _KeyedFilterOperator(self, "filter")


class KeyedFlatMapSpec(_KeyedFunctionSpec):
    """Any number of results per record: an iterable, a generator, or None for nothing."""

    kind: ClassVar[str] = "KeyedFlatMap"

    def create(self) -> Operator:
        return _KeyedFlatMapOperator(self, "flat_map")


class _KeyedFunctionOperator(FusibleOperator):
    def __init__(self, spec: _KeyedFunctionSpec, method: str) -> None:
        self._spec = spec
        self._function = UserFunction(spec.function, method)
        self._keys = KeyContext()

    def open(self, context: OperatorContext) -> None:
        super().open(context)
        self.backend = context.open_backend()
        self._validator = KeyValidator(self._spec.key_type)
        self._function.open(KeyedRuntimeContext(context.info, self.backend, self._keys, self._spec.key_type))

    def emit_key(self, code: CodeBuilder, element: Element) -> str:
        """Lines that make the record's key the current one; gives the name of the function to call."""
        key, is_new = code.fresh("k"), code.fresh("is_new")
        good = code.bind(self._validator.good, "good_keys")
        code.line(f"{key} = {code.bind(self._spec.key_selector, 'key_of')}({element.value})")
        code.line("try:")  # costs nothing unless it catches
        code.line(f"    {is_new} = {key} not in {good}")
        code.line("except TypeError:")  # unhashable: the validator says so in our words
        code.line(f"    {is_new} = True")
        code.line(f"if {is_new}:")
        code.line(f"    {code.bind(self._validator, 'check_key')}({key})")
        code.line(f"{code.bind(self._keys, 'keys')}.current_key = {key}")
        return code.bind(self._function.call, "function")

    def close(self) -> None:
        self._function.close()
        super().close()


class _KeyedMapOperator(_KeyedFunctionOperator):
    def emit_code(self, code: CodeBuilder, element: Element) -> Element:
        function, result = self.emit_key(code, element), code.fresh("v")
        code.line(f"{result} = {function}({element.value})")
        return Element(result, element.timestamp)


class _KeyedFilterOperator(_KeyedFunctionOperator):
    def emit_code(self, code: CodeBuilder, element: Element) -> Element:
        code.line(f"if {self.emit_key(code, element)}({element.value}):")
        code.indent()
        return element


class _KeyedFlatMapOperator(_KeyedFunctionOperator):
    expands = True

    def emit_code(self, code: CodeBuilder, element: Element) -> Element:
        function, result = self.emit_key(code, element), code.fresh("v")
        code.line(f"for {result} in {function}({element.value}) or ():")
        code.indent()
        return Element(result, element.timestamp)
