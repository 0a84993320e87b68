"""Generating the loop of a chain as Python source: readable, dumpable, and able to say whose line raised.

A run of record-at-a-time operators becomes one function over a batch. Nothing of ours is called per record; when a line
raises, the traceback's line number tells the operator and the frame's locals still hold the record.
"""

from __future__ import annotations

import itertools
import linecache
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from types import CodeType
from typing import Any, Final

FILENAME_PREFIX: Final = "<millstream chain "
_counter = itertools.count(1)


@dataclass(frozen=True, slots=True)
class Element:
    """Names of the variables that hold a record and its timestamp at some point of the loop; no timestamp: None."""

    value: str
    timestamp: str | None


@dataclass(frozen=True, slots=True)
class LineOwner:
    """Which operator a generated line belongs to, and the variable that holds the record it works on."""

    operator: Any
    record_variable: str


@dataclass(slots=True)
class CodeBuilder:
    """Collects lines, names for bound objects, and who owns which line.

    Attributes:
        lines: the statements of the loop.
        before: statements ahead of the loop, once per batch.
        after: statements behind the loop, once per batch.
    """

    lines: list[str] = field(default_factory=list)
    bindings: dict[str, Any] = field(default_factory=dict)
    owners: dict[int, LineOwner] = field(default_factory=dict)
    before: list[str] = field(default_factory=list)
    after: list[str] = field(default_factory=list)
    _depth: int = 0
    _owner: LineOwner | None = None
    _names: itertools.count[int] = field(default_factory=itertools.count)

    def line(self, text: str) -> None:
        """Append a statement at the current depth."""
        self.lines.append("    " * self._depth + text)
        if self._owner is not None:
            self.owners[len(self.lines)] = self._owner

    def fresh(self, prefix: str) -> str:
        """A variable name not used before."""
        return f"{prefix}{next(self._names)}"

    def bind(self, value: Any, hint: str) -> str:
        """A name under which the generated function reaches `value` as a local variable."""
        name = self.fresh(f"{hint}_")
        self.bindings[name] = value
        return name

    def indent(self) -> None:
        """Everything that follows is inside the block just opened."""
        self._depth += 1

    @contextmanager
    def block(self, header: str) -> Iterator[None]:
        """Lines inside the `with` are the block's body."""
        self.line(header)
        self._depth += 1
        yield
        self._depth -= 1

    @contextmanager
    def owned_by(self, operator: Any, record_variable: str) -> Iterator[None]:
        """Lines added inside belong to `operator`."""
        before, self._owner = self._owner, LineOwner(operator, record_variable)
        yield
        self._owner = before

    def dedent(self, depth: int) -> None:
        """What follows is `depth` blocks deep again."""
        self._depth = depth

    def source(self, parameters: str) -> str:
        """The whole source: a factory that takes the bound objects and returns the function."""
        bound = ", ".join(self.bindings)
        body = "\n".join(f"        {line}" for line in (*self.before, *self.lines, *self.after))
        return f"def make({bound}):\n    def chain({parameters}):\n{body}\n    return chain\n"

    def build(self, parameters: str) -> Callable[..., Any]:
        """Compile. Tracebacks show the generated lines, and `owner_of` finds their operators."""
        source = self.source(parameters)
        filename = f"{FILENAME_PREFIX}{next(_counter)}>"
        namespace: dict[str, Any] = {}
        code: CodeType = compile(source, filename, "exec")
        exec(code, namespace)
        linecache.cache[filename] = (len(source), None, source.splitlines(keepends=True), filename)
        _OWNERS[filename] = {2 + len(self.before) + n: owner for n, owner in self.owners.items()}
        function: Callable[..., Any] = namespace["make"](**self.bindings)
        return function


_OWNERS: dict[str, dict[int, LineOwner]] = {}


def owner_of(filename: str, line_number: int) -> LineOwner | None:
    """Who owns a line of generated code, from a traceback's file name and line."""
    return _OWNERS.get(filename, {}).get(line_number)


def forget(filename: str) -> None:
    """Drop a generated function's source and line table once its task is closed."""
    _OWNERS.pop(filename, None)
    linecache.cache.pop(filename, None)
