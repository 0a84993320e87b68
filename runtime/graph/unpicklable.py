"""Finding the one object, deep inside a function or object, that keeps it from being pickled."""

from __future__ import annotations

import functools
import types
from collections.abc import Iterator, Mapping
from typing import Any, Final

import cloudpickle

_MAX_DEPTH: Final = 12


def find_unpicklable(root: Any) -> tuple[str, Any, str] | None:
    """The path to the innermost part that cannot be pickled, that part, and why; None when all can.

    >>> import functools, threading
    >>> path, part, reason = find_unpicklable(functools.partial(print, file=threading.Lock()))
    >>> path, reason
    ("partial object, argument 'file' of the partial", "cannot pickle '_thread.lock' object")
    """
    reason = _failure(root)
    if reason is None:
        return None
    path = [_root_text(root)]
    current = root
    seen = {id(root)}
    for _ in range(_MAX_DEPTH):
        for text, part in _parts(current):
            if id(part) in seen:
                continue
            deeper = _failure(part)
            if deeper is not None:
                seen.add(id(part))
                path.append(text)
                current, reason = part, deeper
                break
        else:
            break
    return ", ".join(path), current, reason


def _failure(part: Any) -> str | None:
    try:
        cloudpickle.dumps(part)
    except Exception as error:  # whatever the user's own __reduce__ raises
        return f"{error}" or type(error).__name__
    return None


def _root_text(root: Any) -> str:
    if isinstance(root, types.FunctionType):
        return f"function '{root.__qualname__}' ({root.__code__.co_filename}:{root.__code__.co_firstlineno})"
    if isinstance(root, types.MethodType):
        return f"method '{root.__qualname__}'"
    return f"{type(root).__qualname__} object"


def _parts(whole: Any) -> Iterator[tuple[str, Any]]:
    """What is pickled along with `whole`, each with how to call it."""
    match whole:
        case types.FunctionType():
            yield from _function_parts(whole)
        case types.MethodType():
            yield f"object of {type(whole.__self__).__qualname__}", whole.__self__
        case functools.partial():
            yield "function of the partial", whole.func
            for index, argument in enumerate(whole.args):
                yield f"argument {index} of the partial", argument
            for name, argument in whole.keywords.items():
                yield f"argument '{name}' of the partial", argument
        case type():
            for name, attribute in vars(whole).items():
                yield f"class attribute '{name}'", attribute
        case Mapping():
            for key, item in whole.items():
                yield f"entry {key!r}", item
        case list() | tuple() | set() | frozenset():
            for index, item in enumerate(whole):
                yield f"element {index}", item
    yield from _attributes(whole)


def _function_parts(function: types.FunctionType) -> Iterator[tuple[str, Any]]:
    for name, cell in zip(function.__code__.co_freevars, function.__closure__ or (), strict=True):
        try:
            yield f"variable '{name}'", cell.cell_contents
        except ValueError:  # not assigned yet
            continue
    for name in _global_names(function.__code__):
        if name in function.__globals__:
            yield f"global variable '{name}'", function.__globals__[name]
    for default in function.__defaults__ or ():
        yield f"default argument {type(default).__name__}", default
    for name, default in (function.__kwdefaults__ or {}).items():
        yield f"default of argument '{name}'", default


def _global_names(code: types.CodeType) -> Iterator[str]:
    yield from code.co_names
    for constant in code.co_consts:
        if isinstance(constant, types.CodeType):
            yield from _global_names(constant)


def _attributes(whole: Any) -> Iterator[tuple[str, Any]]:
    if isinstance(whole, type | types.ModuleType):
        return
    for name, attribute in getattr(whole, "__dict__", {}).items():
        yield f"attribute '{name}'", attribute
    for cls in type(whole).__mro__:
        slots = cls.__dict__.get("__slots__", ())
        for name in (slots,) if isinstance(slots, str) else slots:
            if hasattr(whole, name) and not name.startswith("__"):
                yield f"attribute '{name}'", getattr(whole, name)
