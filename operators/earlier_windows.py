"""Windows that a job was restored with and that its program does not define any more: of another size, slide or offset.

As in Flink, where the bounds of a window are part of its state, they take no more records and fire at their own ends, with
what they held.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import msgspec

from ..core.errors import StateError
from ..core.types import TypeInformation
from ..state.backend import KeyedStateBackend, StateTable, TableDescriptor
from .slices import Slicing
from .window_codec import TIME_WINDOWS
from .window_contents import Contents

Bounds = tuple[int, int]
"""Start (inclusive) and end (exclusive) of a window, ms."""


class WindowLayout(msgspec.Struct, frozen=True, array_like=True):
    """What the namespaces of a table of window contents stand for; written to checkpoints.

    Attributes:
        panes: a namespace is the start of a window, not of a slice that several windows share.
    """

    size_ms: int
    slide_ms: int
    offset_ms: int
    panes: bool

    @classmethod
    def of(cls, slicing: Slicing, *, panes: bool) -> WindowLayout:
        """
        >>> WindowLayout.of(Slicing(10, 10, 23), panes=False)
        WindowLayout(size_ms=10, slide_ms=10, offset_ms=3, panes=False)
        """
        return cls(slicing.size_ms, slicing.slide_ms, slicing.offset_ms % slicing.slide_ms, panes)

    @property
    def shares(self) -> bool:
        """Whether a window may consist of several namespaces."""
        return not self.panes and self.size_ms != self.slide_ms

    def defines(self, start: int, end: int) -> bool:
        """Whether it is one of its windows."""
        return end - start == self.size_ms and (start - self.offset_ms) % self.slide_ms == 0

    def windows_of(self, namespace: int) -> Iterator[Bounds]:
        """The windows that the contents of a namespace belong to, by their ends.

        >>> list(WindowLayout(20, 10, 0, panes=False).windows_of(30))
        [(20, 40), (30, 50)]
        """
        if self.panes:
            yield namespace, namespace + self.size_ms
            return
        for end in Slicing(self.size_ms, self.slide_ms, self.offset_ms).window_ends(namespace):
            yield end - self.size_ms, end

    def __str__(self) -> str:
        slide = f" every {self.slide_ms} ms" if self.slide_ms != self.size_ms else ""
        return f"windows of {self.size_ms} ms{slide}"


@dataclass(frozen=True, slots=True)
class EarlierWindows:
    """Contents by bounds and key.

    Attributes:
        contents: how two pieces of a window become one.
        table: where they are.
    """

    contents: Contents
    table: StateTable

    @classmethod
    def open(
        cls, backend: KeyedStateBackend, key_type: TypeInformation[Any], contents: Contents
    ) -> EarlierWindows:
        """With what was restored."""
        descriptor = TableDescriptor(
            "earlier-windows",
            key_type=key_type,
            value_type=contents.state_type,
            namespace_type=TIME_WINDOWS.type_info,
            kind="window",
        )
        return cls(contents, backend.table(descriptor))

    def take_over(
        self, contents: StateTable, before: WindowLayout, is_live: Callable[[Any, int], bool], *, where: str
    ) -> None:
        """Move everything that is in `contents` here, except windows that are over.

        Args:
            contents: by the namespaces of `before`.
            is_live: whether the window of a key that ends there (ms) is still needed.
            where: the operator, for the error.

        Raises:
            StateError: windows shared their slices and the program has no `merge` to combine them.
        """
        own, merge = self.contents.owning, self.contents.merging
        # In order of time, as lists of records are.
        for namespace in sorted(contents.namespaces()):
            pieces = [*contents.namespace(namespace).entries()]
            if pieces and before.shares and not self.contents.can_merge:
                raise _cannot_combine(before, where)
            for window in before.windows_of(namespace):
                kept = self.table.namespace(window)
                for key, piece in pieces:
                    if is_live(key, window[1]):
                        more, existing = piece if own is None else own(piece), kept[key]
                        kept[key] = more if existing is None else merge(existing, more)
            contents.drop(namespace)

    def give_back(self, contents: StateTable, now: WindowLayout) -> None:
        """Move windows that the program does define to `contents`, if each of its namespaces is one of `now`."""
        if now.shares:
            return
        for start, end in [*self.table.namespaces()]:
            if now.defines(start, end):
                kept = contents.namespace(start)
                for key, piece in self.entries(start, end):
                    kept[key] = piece
                self.table.drop((start, end))

    def ends(self) -> set[int]:
        """When they fire."""
        return {end for _, end in self.table.namespaces()}

    def starts(self, end: int) -> list[int]:
        """Of the windows that end there, ascending."""
        return sorted(start for start, other_end in self.table.namespaces() if other_end == end)

    def entries(self, start: int, end: int) -> list[tuple[Any, Any]]:
        """(key, contents) of a window. Contents may be changed, but then must not be read again."""
        return [*self.table.namespace((start, end)).entries()]

    def drop(self, is_over: Callable[[int], bool]) -> None:
        """Forget windows, by their ends."""
        for window in [*self.table.namespaces()]:
            if is_over(window[1]):
                self.table.drop(window)


def _cannot_combine(before: WindowLayout, where: str) -> StateError:
    return StateError(
        f"the restored state is that of {before} which share their contents, and the aggregate function has no merge() to put them"
        " together for the windows of now",
        where=where,
        fix="define merge(), or let the program of before end its windows: stop it with a savepoint and drain",
    )


def under_way(before: WindowLayout, now: WindowLayout, where: str) -> StateError:
    """The error of records that barriers overtook: they may be partial results for the slices of before."""
    return StateError(
        f"the checkpoint holds records under way to {before}, and the program has {now}",
        where=where,
        fix="start from a savepoint or an aligned checkpoint, which hold no records under way",
    )
