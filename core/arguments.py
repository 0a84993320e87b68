"""Checks of what a program passes, for the parts below the API. The annotations are not checked at run time; these are.

Each raises a JobDefinitionError that says what the argument is for, what is expected, and the user's line.
"""

from __future__ import annotations

import functools
import inspect
import math
from collections.abc import Callable, Iterable
from typing import Any

from .errors import JobDefinitionError


def check_int(what: str, value: Any, *, least: int, fix: str, most: int | None = None) -> None:
    """Refuse what is no int of at least `least` and at most `most`; a bool is none.

    Raises:
        JobDefinitionError: it is not.

    >>> check_int("number of attempts", 3, least=1, fix="give for example 3")
    """
    is_int = isinstance(value, int) and not isinstance(value, bool)
    if is_int and value >= least and (most is None or value <= most):
        return
    bounds = f"of at least {least}" if most is None else f"from {least} to {most}"
    raise JobDefinitionError(f"the {what} must be an int {bounds}, not {value!r}", fix=fix)


def check_number(what: str, value: Any, *, fix: str, positive: bool = True) -> None:
    """Refuse what is no finite number, or is not above 0 though it has to be.

    Raises:
        JobDefinitionError: it is not.
    """
    is_number = isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
    if is_number and (value > 0 or not positive):
        return
    expected = "a positive number" if positive else "a number"
    raise JobDefinitionError(f"the {what} must be {expected}, not {value!r}", fix=fix)


def check_text(what: str, value: Any, *, fix: str, empty: bool = False) -> None:
    """Refuse what is no string, or an empty one unless `empty`.

    Raises:
        JobDefinitionError: it is not.
    """
    if not isinstance(value, str) or not (value or empty):
        expected = "a string" if empty else "a string that is not empty"
        raise JobDefinitionError(f"the {what} must be {expected}, not {value!r}", fix=fix)


def check_instance(what: str, value: Any, kinds: type | tuple[type, ...], *, fix: str) -> None:
    """Refuse what is no object of these classes.

    Raises:
        JobDefinitionError: it is not.
    """
    if not isinstance(value, kinds):
        names = " or ".join(kind.__name__ for kind in (kinds if isinstance(kinds, tuple) else (kinds,)))
        raise JobDefinitionError(f"the {what} must be a {names}, not {value!r}", fix=fix)


def check_call(what: str, function: Any, arguments: int, *, fix: str) -> None:
    """Refuse what cannot be called with so many arguments, and coroutine functions, whose results would never come.

    Raises:
        JobDefinitionError: it cannot.
    """
    if not callable(function):
        raise JobDefinitionError(f"the {what} is {function!r}, which cannot be called", fix=fix)
    code = function.func if isinstance(function, functools.partial) else inspect.unwrap(function)
    if inspect.iscoroutinefunction(code) or inspect.isasyncgenfunction(code):
        raise JobDefinitionError(
            f"the {what} is a coroutine function", fix="write it with def instead of async def"
        )
    problem = binding_problem(function, arguments)
    if problem is not None:
        raise JobDefinitionError(f"the {what} is called with {count_of(arguments)}: {problem}", fix=fix)


def binding_problem(function: Callable[..., Any], arguments: int) -> str | None:
    """Why `function` cannot be called with so many arguments; None if it can, or does not tell.

    >>> binding_problem(lambda a: a, 2)
    'too many positional arguments'
    """
    try:
        signature = inspect.signature(function)
    except (ValueError, TypeError):  # some built-ins do not tell
        return None
    try:
        signature.bind(*(None for _ in range(arguments)))
    except TypeError as error:
        return str(error)
    return None


def count_of(arguments: int) -> str:
    """In words.

    >>> count_of(1), count_of(2)
    ('1 argument', '2 arguments')
    """
    return "1 argument" if arguments == 1 else f"{arguments} arguments"


def checked_list(what: str, values: Any, *, fix: str) -> list[Any]:
    """The items of a list or of another iterable that is no string.

    Raises:
        JobDefinitionError: it is none.
    """
    if isinstance(values, str) or not isinstance(values, Iterable):
        raise JobDefinitionError(f"the {what} must be a list, not {values!r}", fix=fix)
    return list(values)
