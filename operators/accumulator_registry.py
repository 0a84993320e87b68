"""The accumulators of one operator in one subtask: named, checkpointed, reported; and how the reports of all become results.

A checkpoint holds names, classes by name, and plain data. A report for the client carries the class of a user's own
accumulator too (by cloudpickle): it may be one that the client has never imported.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from typing import Any, Final, TypeVar

import cloudpickle
import msgspec

from ..core.errors import JobDefinitionError, MillstreamError, RecordSerializationError, StateError
from ..core.types import GENERIC
from . import accumulators as builtin
from .accumulators import Accumulator

A = TypeVar("A", bound=Accumulator[Any, Any])

_BUILT_IN: Final[dict[str, type[Accumulator[Any, Any]]]] = {
    name: found
    for name, found in vars(builtin).items()
    if isinstance(found, type) and issubclass(found, Accumulator) and not name.startswith("_")
}


class AccumulatorReport(msgspec.Struct, frozen=True):
    """An accumulator at one moment.

    Attributes:
        kind: name of the class, for the built-in ones; "module:qualname" for a user's.
        state: what `Accumulator.snapshot_state` gave, in the encoding of the generic type.
        pickled_class: of a user's own; read only by the client that submitted the code; not in checkpoints.
    """

    name: str
    kind: str
    state: bytes
    pickled_class: bytes | None = None


class AccumulatorRegistry:
    """What the functions of an operator add up.

    Args:
        operator: name, for messages.
        restored: this subtask's items of the list state ACCUMULATORS_STATE.
        is_restored: whether the attempt began from a checkpoint: then initial values have been counted already.
    """

    def __init__(
        self, operator: str = "", restored: Sequence[bytes] = (), *, is_restored: bool = False
    ) -> None:
        self._operator = operator
        self._is_restored = is_restored
        self._live: dict[str, Accumulator[Any, Any]] = {}
        self._classes: dict[str, bytes | None] = {}
        self._unclaimed: defaultdict[str, list[AccumulatorReport]] = defaultdict(list)
        for item in restored:
            for report in msgspec.msgpack.decode(item, type=list[AccumulatorReport]):
                self._unclaimed[report.name].append(report)

    def add(self, name: str, accumulator: Accumulator[Any, Any]) -> None:
        """Register it, restored.

        Raises:
            StateError: the name is taken, or the checkpoint holds another kind of accumulator under it.
        """
        given: Any = accumulator  # the annotation is not checked at run time
        if not isinstance(given, Accumulator):
            raise self._error(
                f"accumulator '{name}' is {given!r}", "pass an object of a class of accumulators"
            )
        if name in self._live:
            raise self._error(
                f"accumulator '{name}' is added twice", "give it another name, or add it once and keep it"
            )
        if self._is_restored:
            accumulator.reset_local()
        kind = _kind(type(accumulator))
        for report in self._unclaimed.pop(name, ()):
            if report.kind != kind:
                raise self._error(
                    f"accumulator '{name}' is a {kind}, the checkpoint holds a {report.kind}",
                    "give the new accumulator another name",
                )
            accumulator.merge(_restored(accumulator.clone(), report))
        self._live[name] = accumulator
        self._classes[name] = None if kind in _BUILT_IN else cloudpickle.dumps(type(accumulator))

    def get(self, name: str) -> Accumulator[Any, Any] | None:
        """The one of this name, None if there is none."""
        return self._live.get(name)

    def get_or_add(self, name: str, kind: type[A]) -> A:
        """The one of this name, made if there is none.

        Raises:
            StateError: it is of another kind.
        """
        found = self._live.get(name)
        if found is None:
            made = kind()
            self.add(name, made)
            return made
        if not isinstance(found, kind):
            raise self._error(
                f"accumulator '{name}' is a {type(found).__name__}, not a {kind.__name__}",
                "ask for it by get_accumulator, or give the new one another name",
            )
        return found

    def snapshot(self) -> list[bytes]:
        """Items of list state: one, or none where there is nothing to keep."""
        reports = self._states()
        return [msgspec.msgpack.encode(reports)] if reports else []

    def reports(self) -> list[AccumulatorReport]:
        """For the client; with the classes."""
        return [
            msgspec.structs.replace(report, pickled_class=self._classes.get(report.name))
            for report in self._states()
        ]

    def _states(self) -> list[AccumulatorReport]:
        live = [self._state(name, accumulator) for name, accumulator in self._live.items()]
        return [*live, *(report for reports in self._unclaimed.values() for report in reports)]

    def _state(self, name: str, accumulator: Accumulator[Any, Any]) -> AccumulatorReport:
        try:
            state = GENERIC.serializer().dumps(accumulator.snapshot_state())
        except RecordSerializationError as error:
            raise self._error(
                f"accumulator '{name}' holds what cannot be stored: {error.what}",
                "keep plain data in its attributes, or define snapshot_state and restore_state",
            ) from error
        return AccumulatorReport(name, _kind(type(accumulator)), state)

    def _error(self, what: str, fix: str) -> MillstreamError:
        return StateError(what, where=f"operator '{self._operator}'", fix=fix)


def accumulator_results(reports: Iterable[AccumulatorReport]) -> dict[str, Any]:
    """Merged over all operators and subtasks, by name.

    Raises:
        JobDefinitionError: accumulators of one name are of different kinds.
    """
    by_name: defaultdict[str, list[AccumulatorReport]] = defaultdict(list)
    for report in reports:
        by_name[report.name].append(report)
    merged = ((name, _merged(name, found)) for name, found in by_name.items())
    return {name: accumulator.get_local_value() for name, accumulator in merged if accumulator is not None}


def _merged(name: str, reports: Sequence[AccumulatorReport]) -> Accumulator[Any, Any] | None:
    kinds = {report.kind for report in reports}
    if len(kinds) > 1:
        raise JobDefinitionError(
            f"accumulator '{name}' is of different kinds in different functions: {', '.join(sorted(kinds))}",
            fix="give each kind a name of its own",
        )
    kind = reports[0].kind
    pickled = next((report.pickled_class for report in reports if report.pickled_class is not None), None)
    cls: type[Accumulator[Any, Any]] | None = _BUILT_IN.get(kind)
    if cls is None and pickled is not None:
        cls = cloudpickle.loads(pickled)
    if cls is None:  # restored, but no function of the program claims it any more
        return None
    blank = cls.__new__(cls)  # as the state says, not as a constructor with arguments we do not know
    first, *others = (_restored(blank.clone(), report) for report in reports)
    for other in others:
        first.merge(other)
    return first


def _restored(accumulator: A, report: AccumulatorReport) -> A:
    accumulator.restore_state(GENERIC.serializer().loads(report.state))
    return accumulator


def _kind(cls: type[Accumulator[Any, Any]]) -> str:
    return cls.__name__ if _BUILT_IN.get(cls.__name__) is cls else f"{cls.__module__}:{cls.__qualname__}"
