"""What differs between two checkpoints: operators, states, and entries one by one."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, TypeAlias

from .frames import Columnar
from .keyed import KeyedState
from .plain import to_json
from .snapshot import AnyState, OperatorStates, StateSnapshot

Change: TypeAlias = Literal["added", "removed", "changed"]


@dataclass(frozen=True, slots=True)
class Example:
    """An entry that differs: its place (key, window, map key), and its values; None where it is not there.

    Items of operator state have no place; their values are shown as JSON.
    """

    change: Change
    place: tuple[Any, ...]
    before: Any
    after: Any


@dataclass(slots=True)
class StateDifference:
    """How one state differs.

    Attributes:
        operator: uid, or name where there is none.
        state: name of the state.
        note: what is there to say beside entries: that the state or operator is new or gone, or its types changed.
        counts: entries by change.
        examples: some of them.
    """

    operator: str
    state: str
    note: str = ""
    counts: Counter[Change] = field(default_factory=Counter)
    examples: list[Example] = field(default_factory=list)

    @property
    def is_none(self) -> bool:
        """Whether nothing differs."""
        return not self.note and not self.counts

    def add(self, example: Example, limit: int) -> None:
        """One more entry differs."""
        self.counts[example.change] += 1
        if len(self.examples) < limit:
            self.examples.append(example)


def differences(before: StateSnapshot, after: StateSnapshot, examples: int = 3) -> Iterator[StateDifference]:
    """Each state that differs, operators matched by their ids.

    Keyed state is compared key group by key group: so much of it is in memory. Operator state and records under way are
    compared without regard to order and subtask; times of last access count for nothing.

    Raises:
        CheckpointError, StateError: as where entries are read.
    """
    then, now = ({op.operator_id: op for op in snapshot.operators()} for snapshot in (before, after))
    for operator_id in {**then, **now}:
        yield from _of_operator(then.get(operator_id), now.get(operator_id), examples)


def _of_operator(
    before: OperatorStates | None, after: OperatorStates | None, examples: int
) -> Iterator[StateDifference]:
    known = after or before
    assert known is not None, "it is in one of the two"
    label = known.uid or known.name
    then, now = ({} if op is None else {state.name: state for state in op.states()} for op in (before, after))
    for name in {**then, **now}:
        found = _of_state(StateDifference(label, name), then.get(name), now.get(name), examples)
        if not found.is_none:
            yield found


def _of_state(
    found: StateDifference,
    before: AnyState | None,
    after: AnyState | None,
    examples: int,
) -> StateDifference:
    if before is None or after is None:
        there = before or after
        assert there is not None, "it is in one of the two"
        entries = there.size().entries
        change: Change = "added" if before is None else "removed"
        found.note = f"state {'added' if before is None else 'removed'}"
        found.counts.update({change: entries} if entries else {})
        return found
    if type(before) is not type(after) or before.value_type != after.value_type:
        found.note = f"was {before.kind} of {before.value_type}, is {after.kind} of {after.value_type}"
    if isinstance(before, KeyedState) and isinstance(after, KeyedState):
        _compare_keyed(found, before, after, examples)
    else:
        _compare_rows(found, before, after, examples)
    return found


def _compare_keyed(found: StateDifference, before: KeyedState, after: KeyedState, examples: int) -> None:
    for first, last in _ranges(before, after):
        then, now = _entries(before, first, last), _entries(after, first, last)
        for place, value in now.items():
            if place not in then:
                found.add(Example("added", place, None, value), examples)
            elif then[place] != value:
                found.add(Example("changed", place, then[place], value), examples)
        for place, value in then.items():
            if place not in now:
                found.add(Example("removed", place, value, None), examples)


def _ranges(before: KeyedState, after: KeyedState) -> Iterator[tuple[int, int]]:
    """Key groups to compare at once: one, unless keys are in other groups in the one than in the other."""
    if before.max_parallelism == after.max_parallelism:
        return ((group, group) for group in range(before.max_parallelism))
    return iter(((0, max(before.max_parallelism, after.max_parallelism) - 1),))


def _entries(state: KeyedState, first: int, last: int) -> dict[tuple[Any, ...], Any]:
    return {
        tuple(part for part in (entry.key, entry.namespace, entry.map_key) if part is not None): entry.value
        for entry in state.entries(first, last)
    }


def _compare_rows(found: StateDifference, before: Columnar, after: Columnar, examples: int) -> None:
    then, now = (Counter(map(_item, state.rows())) for state in (before, after))
    for text in (now - then).elements():
        found.add(Example("added", (), None, text), examples)
    for text in (then - now).elements():
        found.add(Example("removed", (), text, None), examples)


def _item(row: Mapping[str, Any]) -> str:
    """An item as JSON, without the subtasks that held it."""
    parts = [row[name] for name in ("map_key", "timestamp_ms", "value") if row.get(name) is not None]
    return to_json(parts[0] if len(parts) == 1 else parts)
