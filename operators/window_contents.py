"""What a window keeps of its records: a reduced value, an accumulator, or the list of them."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Final, Protocol, TypeAlias

from ..core.errors import StateError
from ..core.types import GENERIC, TypeInformation, copy_value
from .codegen import CodeBuilder
from .functions import AggregateFunction
from .slices import Slicing
from .user_function import UserFunction

_LOG: Final = logging.getLogger(__name__)

AddBatch = Callable[[list[Any], list[int], int], None]
"""(values, timestamps, slow_below): add a batch; records of slices before `slow_below` are looked at one by one."""


Merge = Callable[[Any, Any], Any]
"""The contents of both; the first argument may be changed and returned."""

Own = Callable[[Any], Any]
"""Contents of a slice in a form that a `Merge` may be given; where there is none, they can be given as they are."""


class SliceOwner(Protocol):
    """Where the generated loop finds slices, and sends the records that need a closer look."""

    def slice_map(self, slice_start: int) -> Any: ...

    def add_slowly(self, value: Any, timestamp: int, slice_start: int) -> None: ...


@dataclass(frozen=True, slots=True)
class ReducedContents:
    """The records of a window reduced to one."""

    function: Any
    value_type: TypeInformation[Any] = GENERIC

    @property
    def state_type(self) -> TypeInformation[Any]:
        return self.value_type

    @property
    def can_merge(self) -> bool:
        return True

    def user_functions(self) -> Sequence[Any]:
        return (self.function,)

    @property
    def merging(self) -> Merge:
        merge: Merge = UserFunction(self.function, "reduce").call
        return merge

    @property
    def owning(self) -> None:
        """A reduce function changes neither of its arguments."""
        return None

    def result(self, contents: Any) -> Any:
        return contents

    def elements(self, contents: Any) -> list[Any]:
        return [contents]

    def emit_add(self, code: CodeBuilder, contents: str, key: str, value: str, kept: str) -> None:
        reduce = code.bind(UserFunction(self.function, "reduce").call, "reduce")
        code.line(f"{kept} = {value} if {kept} is None else {reduce}({kept}, {value})")


@dataclass(frozen=True, slots=True)
class AggregatedContents:
    """The records of a window folded into an accumulator."""

    function: Any
    accumulator_type: TypeInformation[Any] = GENERIC

    @property
    def state_type(self) -> TypeInformation[Any]:
        return self.accumulator_type

    @property
    def can_merge(self) -> bool:
        """Whether `merge` is implemented: in programs for Flink it is often an empty stub, as only session windows need it
        there, so it is tried on two fresh accumulators. Any exception means no, and the windows are kept one by one."""
        if getattr(type(self.function), "merge", AggregateFunction.merge) is AggregateFunction.merge:
            return False
        create = self.function.create_accumulator
        try:
            return self.function.merge(create(), create()) is not None
        except Exception as error:
            name = type(self.function).__name__
            _LOG.info(
                "%s.merge() fails on fresh accumulators (%r): its windows are kept one by one", name, error
            )
            return False

    def user_functions(self) -> Sequence[Any]:
        return (self.function,)

    @property
    def merging(self) -> Merge:
        merge: Merge = self.function.merge
        return merge

    @property
    def owning(self) -> Own | None:
        """A copy that the user's `merge` may change: it gets to see slices that other windows, or a snapshot, still need."""
        return None if self.accumulator_type.immutable else copy_value

    def result(self, contents: Any) -> Any:
        return self.function.get_result(contents)

    def elements(self, contents: Any) -> list[Any]:
        return [self.function.get_result(contents)]

    def emit_add(self, code: CodeBuilder, contents: str, key: str, value: str, kept: str) -> None:
        create, add = (
            code.bind(self.function.create_accumulator, "create"),
            code.bind(self.function.add, "add"),
        )
        code.line(f"if {kept} is None:")
        code.line(f"    {kept} = {create}()")
        code.line(f"{kept} = {add}({value}, {kept})")


@dataclass(frozen=True, slots=True)
class ListedContents:
    """The records of a window themselves, for a function that wants to see all of them."""

    value_type: TypeInformation[Any] = GENERIC

    @property
    def state_type(self) -> TypeInformation[Any]:
        from ..core.types import Types

        return Types.LIST(self.value_type)

    @property
    def can_merge(self) -> bool:
        return True

    def user_functions(self) -> Sequence[Any]:
        return ()

    @property
    def merging(self) -> Merge:
        return _extend

    @property
    def owning(self) -> Own | None:
        """A list of the same records that may grow."""
        return list[Any].copy

    def result(self, contents: list[Any]) -> list[Any]:
        return contents

    def elements(self, contents: list[Any]) -> list[Any]:
        return list(contents)

    def emit_add(self, code: CodeBuilder, contents: str, key: str, value: str, kept: str) -> None:
        code.line(f"if {kept} is None:")
        code.line(f"    {kept} = []")
        code.line(f"{kept}.append({value})")


def _extend(left: list[Any], right: list[Any]) -> list[Any]:
    left.extend(right)
    return left


Contents: TypeAlias = ReducedContents | AggregatedContents | ListedContents


def compile_add(
    contents: Contents,
    key_selector: Callable[[Any], Any],
    check_key: Callable[[Any], Any],
    slicing: Slicing,
    owner: Any,
) -> AddBatch:
    """The loop that adds a batch: one slice look-up when the slice changes, one dict read and write per record.

    HOT: benchmarks W3, W4.
    """
    code = CodeBuilder()
    slice_map, slowly = code.bind(owner.slice_map, "slice_map"), code.bind(owner.add_slowly, "add_slowly")
    key_of, check = code.bind(key_selector, "key_of"), code.bind(check_key, "check_key")
    code.before.append("current = None")
    with code.owned_by(owner, "value"), code.block("for value, timestamp in zip(values, timestamps):"):
        shifted = f"timestamp - {slicing.offset_ms}" if slicing.offset_ms else "timestamp"
        code.line(f"start = timestamp - ({shifted}) % {slicing.slice_ms}")
        with code.block("if start != current:"):
            with code.block("if start < slow_below:"):
                code.line(f"{slowly}(value, timestamp, start)")
                code.line("continue")
            code.line(f"contents = {slice_map}(start)")
            code.line("current = start")
        code.line(f"key = {key_of}(value)")
        _emit_update(code, contents, check)
    return code.build("values, timestamps, slow_below")


def compile_add_one(
    contents: Contents, check_key: Callable[[Any], Any], owner: Any
) -> Callable[[Any, Any, Any], None]:
    """`(slice map, key, value)`: the same for a single record."""
    code = CodeBuilder()
    check = code.bind(check_key, "check_key")
    with code.owned_by(owner, "value"):
        _emit_update(code, contents, check)
    return code.build("contents, key, value")


def _emit_update(code: CodeBuilder, contents: Contents, check: str) -> None:
    """Statements that add `value` to what `contents` keeps of `key`. A `try` costs nothing unless it catches."""
    with code.block("try:"):
        code.line("kept = contents[key]")
    with code.block("except TypeError:"):  # unhashable: the encoder says so in our words
        code.line(f"{check}(key)")
        code.line("raise")
    with code.block("if kept is None:"):
        code.line(f"{check}(key)")
    contents.emit_add(code, "contents", "key", "value", "kept")
    with code.block("if kept is None:"):
        code.line(f"{code.bind(nothing_to_keep, 'nothing_to_keep')}()")
    code.line("contents[key] = kept")


def nothing_to_keep() -> None:
    """A user's function gave None, which stands for no contents at all.

    Raises:
        StateError: always.
    """
    raise StateError(
        "a window's reduce or aggregate function returned None",
        fix="return the reduced value, or from add(value, accumulator) and merge(a, b) the accumulator",
    )
