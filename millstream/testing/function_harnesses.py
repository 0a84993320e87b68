"""Harnesses for functions and for operators of a program, without knowing how the engine describes operators."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TypedDict, TypeVar, Unpack

from .._functions import definition_error
from ..core.types import TypeInformation
from ..data_stream import DataStream
from ..environment import StreamExecutionEnvironment
from ..operators.base import OperatorSpec, TwoInputOperator
from ..operators.broadcast_functions import BroadcastProcessFunction, KeyedBroadcastProcessFunction
from ..operators.co_functions import CoProcessFunction, KeyedCoProcessFunction
from ..operators.functions import KeyedProcessFunction, ProcessFunction
from ..operators.source import SourceSpec
from ..state.backends import BackendType
from ..state.descriptors import MapStateDescriptor
from .harness import OperatorHarness
from .two_input_harness import TwoInputOperatorHarness

K = TypeVar("K")
IN = TypeVar("IN")
IN1 = TypeVar("IN1")
IN2 = TypeVar("IN2")
OUT = TypeVar("OUT")


class HarnessOptions(TypedDict, total=False):
    """Keyword arguments of `OperatorHarness`, which explains them."""

    backend: BackendType
    parallelism: int
    max_parallelism: int
    directory: Path
    checkpointing: bool
    job_parameters: Mapping[str, str]


def harness_of(stream: DataStream[Any], **options: Unpack[HarnessOptions]) -> OperatorHarness:
    """A harness of the operator that `stream` comes from: a map, a window with its trigger and function, a process function.

    The program is built as always, and never run; other operators of it are not part of the harness.

    Raises:
        JobDefinitionError: the stream comes from a source, from an operator with two inputs, or says only where records go.

    >>> env = StreamExecutionEnvironment.get_execution_environment()
    >>> harness = harness_of(env.from_collection([0]).map(lambda number: number * 2))
    >>> harness.element(4)
    >>> harness.output
    [8]
    """
    spec = _spec_of(stream, "harness_of")
    if _has_two_inputs(spec):
        raise definition_error(
            f"the operator '{spec.kind}' has two inputs", fix="call two_input_harness_of() instead"
        )
    return OperatorHarness(spec, **options)


def two_input_harness_of(
    stream: DataStream[Any], **options: Unpack[HarnessOptions]
) -> TwoInputOperatorHarness:
    """The same of connected and broadcast streams.

    Raises:
        JobDefinitionError: the stream comes from a source, from an operator with one input, or says only where records go.
    """
    spec = _spec_of(stream, "two_input_harness_of")
    if not _has_two_inputs(spec):
        raise definition_error(f"the operator '{spec.kind}' has one input", fix="call harness_of() instead")
    return TwoInputOperatorHarness(spec, **options)


class ProcessFunctionTestHarnesses:
    """Harnesses of single functions, as in Flink. Keyword arguments are those of `OperatorHarness`.

    Raises (all of them):
        JobDefinitionError: as the `process` of the stream does for such a function.
    """

    @staticmethod
    def for_process_function(
        function: ProcessFunction[Any, Any], **options: Unpack[HarnessOptions]
    ) -> OperatorHarness:
        """Of a `ProcessFunction`."""
        return harness_of(_any_stream().process(function), **options)

    @staticmethod
    def for_keyed_process_function(
        function: KeyedProcessFunction[K, IN, OUT],
        key_selector: Callable[[IN], K],
        key_type: TypeInformation[K] | type[K] | None = None,
        **options: Unpack[HarnessOptions],
    ) -> OperatorHarness:
        """Of a `KeyedProcessFunction`; `key_type` as in `key_by`."""
        return harness_of(_any_stream().key_by(key_selector, key_type).process(function), **options)

    @staticmethod
    def for_co_process_function(
        function: CoProcessFunction[Any, Any, Any], **options: Unpack[HarnessOptions]
    ) -> TwoInputOperatorHarness:
        """Of a `CoProcessFunction`."""
        first, second = _two_streams()
        return two_input_harness_of(first.connect(second).process(function), **options)

    @staticmethod
    def for_keyed_co_process_function(
        function: KeyedCoProcessFunction[K, IN1, IN2, OUT],
        key_selector1: Callable[[IN1], K],
        key_selector2: Callable[[IN2], K],
        key_type: TypeInformation[K] | type[K] | None = None,
        **options: Unpack[HarnessOptions],
    ) -> TwoInputOperatorHarness:
        """Of a `KeyedCoProcessFunction`."""
        first, second = _two_streams()
        keyed = first.key_by(key_selector1, key_type).connect(second.key_by(key_selector2, key_type))
        return two_input_harness_of(keyed.process(function), **options)

    @staticmethod
    def for_broadcast_process_function(
        function: BroadcastProcessFunction[Any, Any, Any],
        *descriptors: MapStateDescriptor[Any, Any],
        **options: Unpack[HarnessOptions],
    ) -> TwoInputOperatorHarness:
        """Of a `BroadcastProcessFunction`, with the descriptors of its broadcast states."""
        first, second = _two_streams()
        return two_input_harness_of(
            first.connect(second.broadcast(*descriptors)).process(function), **options
        )

    @staticmethod
    def for_keyed_broadcast_process_function(
        function: KeyedBroadcastProcessFunction[K, IN1, Any, Any],
        key_selector: Callable[[IN1], K],
        key_type: TypeInformation[K] | type[K] | None,
        *descriptors: MapStateDescriptor[Any, Any],
        **options: Unpack[HarnessOptions],
    ) -> TwoInputOperatorHarness:
        """Of a `KeyedBroadcastProcessFunction`, with the descriptors of its broadcast states."""
        first, second = _two_streams()
        keyed = first.key_by(key_selector, key_type).connect(second.broadcast(*descriptors))
        return two_input_harness_of(keyed.process(function), **options)


def _any_stream() -> DataStream[Any]:
    return _two_streams()[0]


def _two_streams() -> tuple[DataStream[Any], DataStream[Any]]:
    """Of a program that is never run; the functions say what is in them."""
    env = StreamExecutionEnvironment.get_execution_environment()
    return env.from_collection([]), env.from_collection([])


def _spec_of(stream: DataStream[Any], caller: str) -> OperatorSpec:
    spec = stream._own_node(caller).operator
    if isinstance(spec, SourceSpec):
        raise definition_error(
            "a source has no input that could be fed by hand", fix="use SourceHarness(source, strategy)"
        )
    return spec


def _has_two_inputs(spec: OperatorSpec) -> bool:
    return isinstance(spec.create(), TwoInputOperator)
