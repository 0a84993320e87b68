"""Functions that no operator owns: key selectors, partitioners and timestamp assigners run in record writers and in several
operators of a worker, all with the same object. Each is opened once and closed once in an attempt.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from .base import RuntimeInfo
from .functions import Function
from .runtime_context import StatelessRuntimeContext
from .user_function import close_function, open_function


class SharedFunctions:
    """Those of one attempt in one worker."""

    def __init__(self) -> None:
        self._open: dict[int, Any] = {}

    def open(self, functions: Iterable[Any], info: RuntimeInfo) -> None:
        """Open those that have a life cycle and are not open yet, as functions of the operator that `info` tells of."""
        for function in functions:
            owner = _owner(function)
            if owner is not None and id(owner) not in self._open:
                self._open[id(owner)] = owner
                open_function(owner, StatelessRuntimeContext(info))

    def close(self) -> list[Exception]:
        """Close all; the errors of those that failed to. Idempotent."""
        errors: list[Exception] = []
        functions, self._open = self._open, {}
        for function in functions.values():
            try:
                close_function(function)
            except Exception as error:
                errors.append(error)
        return errors


def shared_functions(spec: Any) -> list[Any]:
    """The functions of an operator's description, or of a partitioner, that it does not open itself."""
    strategy = getattr(spec, "strategy", None)
    is_partitioner = not hasattr(spec, "create")
    return [
        getattr(spec, "key_selector", None),
        getattr(strategy, "timestamp_assigner", None),
        getattr(spec, "function", None) if is_partitioner else None,
    ]


def _owner(function: Any) -> Any:
    """The object with the life cycle: of a bound method (`selector.get_key`) that which it is bound to; None without one."""
    owner = getattr(function, "__self__", function)
    named = any(hasattr(owner, method) for method in ("get_key", "partition", "extract_timestamp"))
    if isinstance(owner, type) or not (isinstance(owner, Function) or (named and hasattr(owner, "open"))):
        return None
    return owner
