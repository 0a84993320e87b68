"""Rolling aggregations of a keyed stream: the state update is inlined into the loop of the chain."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Final

from ..core.batch import RecordBatch
from ..core.record_files import uniform_batches
from ..core.types import IMMUTABLE, KeyEncoder, TypeInformation
from ..state.backend import TableDescriptor
from .base import FusibleOperator, Operator, OperatorContext, OperatorSpec
from .codegen import CodeBuilder, Element
from .runtime_context import StatelessRuntimeContext
from .user_function import UserFunction

_FULL: Final = 1_024


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

    def in_batch_mode(self) -> OperatorSpec:
        return ReduceByKeySpec(self.key_selector, self.key_type, self.function)


@dataclass(frozen=True, slots=True)
class ReduceByKeySpec:
    """The same in BATCH mode: the last result of each key alone, with the time of the key's last record."""

    key_selector: Callable[[Any], Any]
    key_type: TypeInformation[Any]
    function: Any
    kind: ClassVar[str] = "Reduce"

    def user_functions(self) -> Sequence[Any]:
        return (self.key_selector, self.function)

    def create(self) -> Operator:
        return _ReduceByKeyOperator(UserFunction(self.function, "reduce"))


class _ReduceOperator(FusibleOperator):
    def __init__(self, spec: ReduceSpec) -> None:
        self._spec = spec
        self._function = UserFunction(spec.function, "reduce")
        self._copy: Callable[[Any], Any] | None = None

    def open(self, context: OperatorContext) -> None:
        super().open(context)
        self.backend = context.open_backend()
        self._table = self.backend.table(
            TableDescriptor(
                "reduce",
                key_type=self._spec.key_type,
                value_type=self._spec.value_type,
                kind="reducing",
            )
        )
        self._copy = context.copy_result
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
        if self._copy is None:
            code.line(f"    {result} = {element.value}")
        else:  # a reduce function may change its first argument, which others have been given too
            copy = code.bind(self._copy, "copy")
            code.line(f"    {result} = {copy}({element.value})")
        code.line("else:")
        code.line(f"    {result} = {code.bind(self._function.call, 'reduce')}({last}, {element.value})")
        code.line(f"if {result} is None:")  # as in Flink, None is the unset value
        code.line(f"    {state}.remove({key})")
        code.line("else:")
        code.line(f"    {state}[{key}] = {result}")
        if self._copy is not None:  # the state's own value stays here
            kept, result = result, code.fresh("v")
            # Most values cannot be changed; to see that here saves a call for each.
            immutable = code.bind(IMMUTABLE, "immutable")
            unchangeable = f"{code.bind(IMMUTABLE.issuperset, 'immutable_all')}(map(type, {kept}))"
            code.line(f"if type({kept}) in {immutable} or (type({kept}) is tuple and {unchangeable}):")
            code.line(f"    {result} = {kept}")
            code.line("else:")
            code.line(f"    {result} = {copy}({kept})")
        return Element(result, element.timestamp)

    def close(self) -> None:
        self._function.close()
        super().close()


class _ReduceByKeyOperator(Operator):
    """Its input comes key by key, so it holds one value."""

    def __init__(self, function: UserFunction) -> None:
        self._function = function
        self._last: Any = None  # as in Flink, None is the unset value
        self._timestamp: int | None = None
        self._results: list[Any] = []
        self._timestamps: list[int | None] = []

    def open(self, context: OperatorContext) -> None:
        super().open(context)
        self._function.open(StatelessRuntimeContext(context.info))

    def process_batch(self, batch: RecordBatch) -> None:
        last, reduce = self._last, self._function.call
        for value in batch.values:
            last = value if last is None else reduce(last, value)
        self._last = last
        self._timestamp = None if batch.timestamps is None else batch.timestamps[-1]

    def end_key(self) -> None:
        if self._last is not None:
            self._results.append(self._last)
            self._timestamps.append(self._timestamp)
            self._last = None
            if len(self._results) >= _FULL:
                self.flush()
        super().end_key()

    def flush(self) -> None:
        results, timestamps = self._results, self._timestamps
        if results:
            self._results, self._timestamps = [], []
            for batch in uniform_batches(results, timestamps):
                self.output.emit(batch)

    def process_watermark(self, timestamp: int) -> None:
        self.flush()
        self.output.emit_watermark(timestamp)

    def close(self) -> None:
        self._function.close()
        super().close()
