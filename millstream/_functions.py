"""What can be said about a user's function before anything runs: whether it fits, and what its hints promise."""

from __future__ import annotations

import collections.abc
import functools
import inspect
import types
import typing
from collections.abc import Callable, Sequence
from operator import itemgetter
from typing import Any, Final, TypeVar, Union, get_args, get_origin

from .core.arguments import binding_problem, count_of
from .core.errors import JobDefinitionError
from .core.types import GENERIC, RowTypeInfo, TupleTypeInfo, TypeInformation, as_type, infer_type
from .operators.field_aggregations import Aggregation, FieldAggregation, field_problem
from .operators.functions import Function, OutputTag

_ITERABLES: Final = frozenset(
    {
        list,
        tuple,
        set,
        frozenset,
        collections.abc.Iterable,
        collections.abc.Iterator,
        collections.abc.Generator,
        collections.abc.Sequence,
        collections.abc.Collection,
    }
)


def check_function(function: Any, method: str, caller: str, arguments: int) -> None:
    """Refuse what cannot be called as `function(...)` or `function.method(...)` with so many arguments.

    Raises:
        JobDefinitionError: with the user's line and what to pass instead.
    """
    wanted = f"an object with a method {method}, or a callable that takes {count_of(arguments)}"
    if hasattr(function, "get_execution_environment"):
        raise definition_error(f"{caller} was given a stream, not a function", fix=f"pass {wanted}")
    if isinstance(function, type) and (issubclass(function, Function) or hasattr(function, method)):
        raise definition_error(
            f"{caller} was given the class {function.__qualname__}, not an object of it",
            fix=f"write {function.__qualname__}(...)",
        )
    target = function if isinstance(function, type) else getattr(function, method, function)
    if not callable(target):
        raise definition_error(
            f"{caller} was given {function!r}, which cannot be called", fix=f"pass {wanted}"
        )
    code = inspect.unwrap(target) if not isinstance(target, functools.partial) else target.func
    if inspect.iscoroutinefunction(code) or inspect.isasyncgenfunction(code):
        raise definition_error(
            f"{caller} was given the coroutine function {describe_function(function)}",
            fix="operators call plain functions: write it with def instead of async def",
        )
    check_arguments(target, function, caller, arguments)


def check_arguments(target: Any, function: Any, caller: str, arguments: int) -> None:
    """Refuse a `target` that cannot be called with so many arguments; `function` is what the user gave.

    Raises:
        JobDefinitionError: with the user's line and the signature.
    """
    problem = binding_problem(target, arguments)
    if problem is not None:
        raise definition_error(
            f"{caller} calls its function with {count_of(arguments)}, which {describe_function(function)} does not take: {problem}",
            fix=f"its signature is {inspect.signature(target)}; change it",
        )


def describe_function(function: Any) -> str:
    """Name and place of a function, for error messages.

    >>> describe_function(len)
    'len'
    """
    while isinstance(function, functools.partial):
        function = function.func
    name = getattr(function, "__qualname__", None) or type(function).__qualname__
    code = getattr(function, "__code__", None)
    return f"{name} ({code.co_filename}:{code.co_firstlineno})" if code is not None else str(name)


def definition_error(what: str, *, fix: str) -> JobDefinitionError:
    """An error about the line of the user's program that called us."""
    return JobDefinitionError(what, fix=fix)


def result_type(function: Any, method: str, declared: Any, *, many: bool = False) -> TypeInformation[Any]:
    """The declared type of a function's results, or else what its return hint promises, or else the generic one.

    Args:
        many: the function returns an iterable of results.
    """
    if declared is not None:
        return as_type(declared)
    hint = _return_hint(function, method)
    if many and hint is not None:
        hint = _element_hint(hint)
    inferred = None if hint is None or isinstance(hint, TypeVar) else infer_type(hint)
    return GENERIC if inferred is None else inferred


def field_aggregation(
    type_info: TypeInformation[Any], aggregation: Aggregation, field: int | str
) -> FieldAggregation:
    """The reduce function of a rolling or windowed aggregation.

    Raises:
        JobDefinitionError: records of this type have no such field, or none that can be aggregated so.
    """
    problem = field_problem(type_info, aggregation, field)
    if problem is not None:
        raise definition_error(
            f"{aggregation.value}() cannot work: {problem}",
            fix="give the position or the name of a field that the records have",
        )
    return FieldAggregation(aggregation, field)


def projection(
    type_info: TypeInformation[Any], indexes: Sequence[int]
) -> tuple[Callable[[Any], tuple[Any, ...]], TypeInformation[Any]]:
    """What `project` calls per record, and the type of its results.

    Raises:
        JobDefinitionError: no index, or one that the records do not have.
    """
    field_types: list[TypeInformation[Any]] | None = None
    if isinstance(type_info, TupleTypeInfo | RowTypeInfo):
        field_types = type_info.get_field_types()
    bound = None if field_types is None else len(field_types)
    if not indexes or any(type(i) is not int or i < 0 or (bound is not None and i >= bound) for i in indexes):
        raise definition_error(
            f"project() was given {', '.join(map(repr, indexes)) or 'no index'}, which are no fields of {type_info.name}",
            fix="give the positions of the fields to keep, from 0 on",
        )
    if len(indexes) == 1:
        only = indexes[0]
        function: Callable[[Any], tuple[Any, ...]] = lambda record: (record[only],)  # noqa: E731 (as the other one)
    else:
        function = itemgetter(*indexes)
    if isinstance(type_info, TupleTypeInfo) and field_types is not None:
        return function, TupleTypeInfo(tuple(field_types[i] for i in indexes))
    return function, GENERIC


def plain_selector(key_selector: Any) -> Callable[[Any], Any]:
    """What to call per record; of an object, its `get_key`, through which `key_function_owner` finds the object again."""
    selector: Callable[[Any], Any] = getattr(key_selector, "get_key", key_selector)
    return selector


def _return_hint(function: Any, method: str) -> Any:
    if isinstance(function, type):
        return function  # a class called as a function makes its instances
    target = getattr(function, method, function)
    while isinstance(target, functools.partial):
        target = target.func
    if isinstance(target, type):
        return target
    if not isinstance(target, types.FunctionType | types.MethodType):
        target = getattr(type(target), "__call__", None)  # noqa: B004 (its hints are asked for, not whether it can be called)
    try:
        return typing.get_type_hints(target).get("return")
    except (NameError, TypeError, AttributeError):  # hints that cannot be resolved promise nothing
        return None


def _element_hint(hint: Any) -> Any:
    """What an iterable holds, side outputs apart: `Iterable[int | tuple[OutputTag, str]] | None` holds `int`."""
    if _is_union(hint):
        members = [member for member in get_args(hint) if member is not type(None)]
        return _element_hint(members[0]) if len(members) == 1 else None
    arguments = get_args(hint)
    origin = get_origin(hint)
    if origin not in _ITERABLES or not arguments:
        return None
    if origin is tuple and arguments[1:] != (Ellipsis,):
        return None
    element = arguments[0]
    if not _is_union(element):
        return element
    kept = tuple(member for member in get_args(element) if not _is_side_output(member))
    return Union[kept] if kept else None  # noqa: UP007 (made of a tuple)


def _is_union(hint: Any) -> bool:
    return get_origin(hint) in {Union, types.UnionType}


def _is_side_output(hint: Any) -> bool:
    first = next(iter(get_args(hint)), None)
    return get_origin(hint) is tuple and (first is OutputTag or get_origin(first) is OutputTag)
