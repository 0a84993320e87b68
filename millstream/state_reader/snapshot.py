"""An opened checkpoint or savepoint: its operators and their states."""

from __future__ import annotations

import tempfile
from collections.abc import Iterable
from difflib import get_close_matches
from pathlib import Path
from types import TracebackType
from typing import Final, Self, TypeAlias

from ..checkpoint.catalog import StoredCheckpoint, load
from ..checkpoint.metadata import OperatorDescription
from ..core.errors import StateError
from ..core.time import Instant
from ..core.types import class_name
from ..state.backend import CheckpointReader
from ..state.type_names import TypeReader
from .in_flight import InFlightState, in_flight_states
from .keyed import KeyedState, LaidOutHandles
from .operator_lists import OperatorState, operator_states

AnyState: TypeAlias = KeyedState | OperatorState | InFlightState

_OWN_CLASSES: Final = (Instant,)
"""Classes of ours that values may be instances of."""


def open(  # noqa: A001 - `state_reader.open(path)`, as `wave.open` and `tarfile.open`
    path: str, *, classes: Iterable[type] = (), allow_pickle: bool = False
) -> StateSnapshot:
    """Open a checkpoint or savepoint for reading, without the program that wrote it. Nothing is changed.

    with state_reader.open("checkpoints/3f2a/chk-7") as snapshot:
        for entry in snapshot.operator("totals").keyed("total").entries():
            print(entry.key, entry.value)

    Args:
        path: of the folder or of its `_metadata`: a path or an fsspec URL.
        classes: dataclasses, NamedTuples, Structs and Enums that values may be instances of. Records of other classes come as
            named `Row`s, members of other Enums as their names: no module is imported because data names it.
        allow_pickle: read values of pickled types. A pickle can run any code: only for checkpoints from trusted places.
            Otherwise they come as `Pickled`.

    Raises:
        CheckpointError: NOT_FOUND, CORRUPT or INCOMPATIBLE.
    """
    return StateSnapshot(load(path), type_reader(classes, allow_pickle=allow_pickle))


def type_reader(classes: Iterable[type], *, allow_pickle: bool) -> TypeReader:
    """What reads types, with these classes and those of ours that values may be instances of."""
    return TypeReader({class_name(cls): cls for cls in (*_OWN_CLASSES, *classes)}, allow_pickle)


class StateSnapshot:
    """A checkpoint's content; a context manager. Made by `open`.

    Files that are read are copied to a temporary folder first, their checksums verified; `close` deletes it.

    Attributes:
        path: full path or URL of the checkpoint.
        job_id: of the job that took it.
        job_name: of the job that took it.
        checkpoint_id: its number.
        timestamp_ms: when it was triggered.
        size_bytes: all state it refers to.
    """

    def __init__(
        self, checkpoint: StoredCheckpoint, types: TypeReader, reader: CheckpointReader | None = None
    ) -> None:
        metadata = checkpoint.metadata
        self.path: Final = checkpoint.path
        self.job_id: Final = metadata.job_id
        self.job_name: Final = metadata.job_name
        self.checkpoint_id: Final = metadata.checkpoint_id
        self.timestamp_ms: Final = metadata.timestamp_ms
        self.size_bytes: Final = metadata.size_bytes()
        self._folder = tempfile.TemporaryDirectory(prefix="millstream-state-reader-")
        reader = checkpoint.storage().reader() if reader is None else reader
        self._operators = _operators(checkpoint, types, reader, Path(self._folder.name))

    def operators(self) -> tuple[OperatorStates, ...]:
        """All operators, those without state too, in the order of the program."""
        return self._operators

    def operator(self, which: str) -> OperatorStates:
        """The operator of this uid; or of this id, or the only one of this name.

        Raises:
            StateError: there is none, or more than one; names those there are.
        """
        for attribute in ("uid", "operator_id", "name"):
            found = [op for op in self._operators if getattr(op, attribute) == which]
            if len(found) == 1:
                return found[0]
            if found:
                ids = ", ".join(op.operator_id for op in found)
                raise StateError(
                    f"{len(found)} operators are called '{which}'",
                    where=self.path,
                    fix=f"name one by its id: {ids}",
                )
        raise _unknown("operator", which, [op.uid or op.name for op in self._operators], self.path)

    def close(self) -> None:
        """Let go of files, and delete the local copies. Idempotent."""
        for operator in self._operators:
            operator.close()
        self._folder.cleanup()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


class OperatorStates:
    """The states of one operator.

    Attributes:
        uid: as set by the program, or None.
        name: as shown in logs.
        operator_id: by which checkpoints know it.
        parallelism: subtasks when the checkpoint was taken.
        max_parallelism: number of key groups.
    """

    def __init__(
        self,
        description: OperatorDescription,
        handles: LaidOutHandles,
        others: tuple[OperatorState | InFlightState, ...],
        types: TypeReader,
        path: str,
    ) -> None:
        self.uid: Final = description.uid
        self.name: Final = description.name
        self.operator_id: Final = description.operator_id
        self.parallelism: Final = description.parallelism
        self.max_parallelism: Final = description.max_parallelism
        self._where = f"operator {description} in {path}"
        self._handles = handles
        self._keyed = {
            info.name: KeyedState(info, handles, types, self._where, self.max_parallelism)
            for info in handles.infos().values()
        }
        self._others = others

    def states(self) -> tuple[AnyState, ...]:
        """All of them: keyed state, each in the order it was declared in, operator state, records under way."""
        return (*self._keyed.values(), *self._others)

    def state(self, name: str) -> AnyState:
        """The state of this name.

        Raises:
            StateError: there is none; names those there are.
        """
        for found in self.states():
            if name == found.name or name == getattr(found, "full_name", None):
                return found
        raise _unknown("state", name, [state.name for state in self.states()], self._where)

    def keyed(self, name: str) -> KeyedState:
        """The keyed state of this name. Raises as `state`, also where it is no keyed state."""
        found = self.state(name)
        if not isinstance(found, KeyedState):
            raise StateError(
                f"state '{name}' is of the kind {found.kind}, which has no keys",
                where=self._where,
                fix="read its items()",
            )
        return found

    def close(self) -> None:
        """Let go of open files."""
        self._handles.close()


def _operators(
    checkpoint: StoredCheckpoint, types: TypeReader, reader: CheckpointReader, folder: Path
) -> tuple[OperatorStates, ...]:
    metadata = checkpoint.metadata
    names = {operator.operator_id: operator.uid or operator.name for operator in metadata.operators}
    found = []
    for index, description in enumerate(metadata.operators):
        snapshots = metadata.states.get(description.operator_id, ())
        keyed = tuple(handle for snapshot in snapshots for handle in snapshot.keyed)
        others: tuple[OperatorState | InFlightState, ...] = (
            *operator_states(snapshots, metadata.enumerators.get(description.operator_id), types),
            *in_flight_states(snapshots, names, types, reader),
        )
        handles = LaidOutHandles(keyed, reader, folder / str(index))
        found.append(OperatorStates(description, handles, others, types, checkpoint.path))
    return tuple(found)


def _unknown(noun: str, asked: str, known: list[str], where: str) -> StateError:
    close = get_close_matches(asked, known, n=1)
    guess = f"did you mean '{close[0]}'? " if close else ""
    listed = ", ".join(f"'{name}'" for name in known) or "none"
    return StateError(f"there is no {noun} '{asked}'", where=where, fix=f"{guess}there are: {listed}")
