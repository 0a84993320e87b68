"""What `millstream state` prints. Text is never cut, so that it can be searched and piped."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Iterator, Sequence
from datetime import UTC, datetime
from itertools import chain, islice
from typing import TYPE_CHECKING, Any, Final

from .checkpoint_listing import size_text
from .state_reader.keyed import KeyedState
from .state_reader.keys import parse_key
from .state_reader.plain import to_json

if TYPE_CHECKING:
    from .state_reader.differences import Example, StateDifference
    from .state_reader.snapshot import AnyState, OperatorStates, StateSnapshot

_ALIGNED_AT_ONCE: Final = 500
"""Rows of a table whose widths are looked at; later ones follow them, so that a table may be of any length."""

_HEADINGS: Final = ("OPERATOR", "STATE", "KIND", "KEY", "NAMESPACE", "VALUE", "TTL", "ENTRIES", "SIZE")
_MARKS: Final = {"added": "+", "removed": "-", "changed": "~"}


def listing(snapshot: StateSnapshot) -> Iterator[str]:
    """A checkpoint, its operators and their states."""
    taken = datetime.fromtimestamp(snapshot.timestamp_ms / 1000, UTC).strftime("%Y-%m-%d %H:%M:%S")
    yield f"job '{snapshot.job_name}' ({snapshot.job_id}), checkpoint {snapshot.checkpoint_id}, taken {taken} UTC"
    yield ""
    yield from aligned(_HEADINGS, chain.from_iterable(map(_operator_rows, snapshot.operators())))


def _operator_rows(operator: OperatorStates) -> Iterator[tuple[str, ...]]:
    label = operator.uid or f"{operator.name} (no uid, id {operator.operator_id})"
    states = operator.states()
    if not states:
        yield label, "(no state)", *("",) * (len(_HEADINGS) - 2)
    for state in states:
        size = state.size()
        yield label, state.name, state.kind, *_types(state), str(size.entries), size_text(size.size_bytes)


def _types(state: AnyState) -> tuple[str, str, str, str]:
    if not isinstance(state, KeyedState):
        return "", "", state.value_type, ""
    keys = f"{state.key_type}, {state.map_key_type}" if state.map_key_type else state.key_type
    return keys, state.namespace_type, state.value_type, f"{state.ttl_ms} ms" if state.ttl_ms else ""


def rows_of(
    snapshot: StateSnapshot, operator: str, state: str, key: str | None
) -> tuple[list[str], Iterable[dict[str, Any]]]:
    """The columns of a state and its rows, or those of one key as text.

    Raises:
        StateError: there is no such operator or state, the state has no keys, or the text is no key.
    """
    if key is None:
        found = snapshot.operator(operator).state(state)
        return list(found.columns), found.rows()
    keyed = snapshot.operator(operator).keyed(state)
    return list(keyed.columns), map(keyed.row, keyed.get(parse_key(key, keyed.declared_key_type())))


def shown(rows: Iterable[dict[str, Any]], columns: Sequence[str], form: str) -> Iterator[str]:
    """Rows as lines of a `table`, of `json` (an object each) or of `csv`."""
    match form:
        case "json":
            yield from map(to_json, rows)
        case "csv":
            yield from _csv_lines(chain([columns], ([_cell(row[name]) for name in columns] for row in rows)))
        case _:
            headings = tuple(name.upper() for name in columns)
            yield from aligned(headings, (tuple(_cell(row[name]) for name in columns) for row in rows))


def answer(snapshot: StateSnapshot, operator: str, state: str, key: str) -> list[str]:
    """What a key has in a state, as JSON: one line for a value, an object a line for maps and windows. Raises as `rows_of`."""
    keyed = snapshot.operator(operator).keyed(state)
    entries = keyed.get(parse_key(key, keyed.declared_key_type()))
    if keyed.namespace_type or keyed.map_key_type:
        return [to_json(keyed.row(entry)) for entry in entries]
    return [to_json(entry.value) for entry in entries]


def difference_lines(found: StateDifference) -> Iterator[str]:
    """One state that differs: how much, then examples."""
    counts = ", ".join(f"{count} {change}" for change, count in sorted(found.counts.items()))
    yield f"{found.operator} / {found.state}: {'; '.join(filter(None, (found.note, counts)))}"
    for example in found.examples:
        yield f"  {_MARKS[example.change]} {_example(example)}"


def _example(example: Example) -> str:
    match example.change:
        case "added":
            value = _cell(example.after)
        case "removed":
            value = _cell(example.before)
        case "changed":
            value = f"{_cell(example.before)} -> {_cell(example.after)}"
    return ": ".join(filter(None, (" / ".join(map(_cell, example.place)), value)))


def aligned(headings: Sequence[str], rows: Iterable[Sequence[str]]) -> Iterator[str]:
    """Lines with columns below each other; columns that hold nothing, unless there are no rows at all, are left out.

    >>> list(aligned(("A", "B", "C"), [("1", "", "x"), ("22", "", "y")]))
    ['A   C', '1   x', '22  y']
    """
    iterator = iter(rows)
    first = list(islice(iterator, _ALIGNED_AT_ONCE))
    columns = [index for index in range(len(headings)) if not first or any(row[index] for row in first)]
    widths = [max(len(row[index]) for row in (headings, *first)) for index in columns]
    for row in chain([headings], first, iterator):
        cells = (row[index].ljust(width) for index, width in zip(columns, widths, strict=True))
        yield "  ".join(cells).rstrip()


def _cell(value: Any) -> str:
    """A value in a table: text as it is, nothing for None, JSON for the rest."""
    if value is None:
        return ""
    return value if type(value) is str and value.isprintable() else to_json(value)


def _csv_lines(rows: Iterable[Sequence[str]]) -> Iterator[str]:
    buffer = io.StringIO()
    writer = csv.writer(buffer, lineterminator="")
    for row in rows:
        writer.writerow(row)
        yield buffer.getvalue()
        buffer.seek(0)
        buffer.truncate()
