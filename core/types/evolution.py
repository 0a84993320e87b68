"""Schema evolution: whether a type may read what was written when it looked different, and how.

    a field of a record class or of a named row is added    its default (None in a row); a record field without default: refused
    a field is removed                                      its values are dropped
    fields change places                                    by name
    BYTE < SHORT < INT < LONG < BIG_INT, FLOAT < DOUBLE     from left to right; else refused, LONG to DOUBLE as well
    T to OPTIONAL(T), anything to GENERIC                   as it is; not the other way, and not from pickled values
    an Enum gains members                                   as it is; members that are gone: refused
    keys of maps, elements of sets                          must look the same as before
    anything else, another class among it                   refused

Source: Flink's rules for POJO and Avro types; of Avro's promotions those that leave a value as it is.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, Final, TypeAlias

from .classes import class_name, field_defaults, find_class, record_builder, record_shape
from .row import Row
from .schema import OPTIONAL, Basic, Composite, Named, NamedRow, Node, TypeSchema, Unknown

Conversion: TypeAlias = Callable[[Any], Any]

_INTEGERS: Final = ("BYTE", "SHORT", "INT", "LONG", "BIG_INT")
_FLOATS: Final = ("FLOAT", "DOUBLE")
_PICKLED: Final = "PICKLED_BYTE_ARRAY"
_HASHED: Final = frozenset({"SET", "FROZENSET"})


def difference(was: TypeSchema, now: TypeSchema) -> str | None:
    """Why values written as `was` cannot be read as `now` ("the field 'n' of ... was LONG and is STRING"), None when they can."""
    return next(_Comparison(was, now, exactly=False).differences(was.root, now.root, "it"), None)


def key_difference(was: TypeSchema, now: TypeSchema) -> str | None:
    """As `difference` for keys, which must look the same: they are found by their bytes."""
    return next(_Comparison(was, now, exactly=True).differences(was.root, now.root, "it"), None)


def conversion(was: TypeSchema, now: TypeSchema) -> Conversion | None:
    """What makes a value that was read by `reading_type(was.root)` one of `now`; None where that is nothing.

    Records are mapped field by field when they are read, so only rows are left to do, wherever they are.
    """
    if was == now or not _holds_rows(was):
        return None
    return _Conversions(was, now).of(was.root, now.root)


class _Comparison:
    """One walk through two schemas side by side.

    Args:
        was, now: the schemas.
        exactly: no evolution at all.
    """

    def __init__(self, was: TypeSchema, now: TypeSchema, *, exactly: bool) -> None:
        self._was = was
        self._now = now
        self._exactly = exactly
        self._seen: set[str] = set()

    def differences(self, was: Node, now: Node, place: str) -> Iterator[str]:
        """What stands in the way at a place and below it."""
        match was, now:
            case (Unknown(), _) | (_, Unknown()):
                pass
            case _ if not self._exactly and _widens(was, now):
                if isinstance(now, Composite):
                    yield from self.differences(was, now.parts[0], place)
            case Basic(), Basic() if was == now:
                pass
            case NamedRow(), NamedRow():
                yield from self._fields(was.fields, now.fields, "the row", None)
            case Composite(), Composite() if was.label == now.label and len(was.parts) == len(now.parts):
                yield from self._parts(was, now)
            case Named(), Named() if was == now:
                yield from self._named(was)
            case _:
                yield f"{place} was {was} and is {now}"

    def _parts(self, was: Composite, now: Composite) -> Iterator[str]:
        hashed = was.label in _HASHED or was.label == "MAP"
        for index, (one, other) in enumerate(zip(was.parts, now.parts, strict=True)):
            exactly = self._exactly or (hashed and index == 0)
            walk = self if exactly is self._exactly else _Comparison(self._was, self._now, exactly=exactly)
            yield from walk.differences(one, other, f"{_part(was, index)} of {was}")

    def _named(self, node: Named) -> Iterator[str]:
        if node.cls in self._seen:
            return
        self._seen.add(node.cls)
        if node.kind == "ENUM":
            gone = set(self._was.enums[node.cls]) - set(self._now.enums[node.cls])
            if gone:
                yield f"the members {', '.join(sorted(gone))} of {node} are gone"
            return
        was, now = self._was.records[node.cls], self._now.records[node.cls]
        yield from self._fields(was, now, str(node), node.cls)

    def _fields(
        self,
        was: tuple[tuple[str, Node], ...],
        now: tuple[tuple[str, Node], ...],
        label: str,
        cls: str | None,
    ) -> Iterator[str]:
        names, before, after = [name for name, _ in now], dict(was), dict(now)
        if self._exactly and list(before) != names:
            yield f"the fields of {label} were {', '.join(before)} and are {', '.join(names)}"
            return
        for name in names:
            if name in before:
                yield from self.differences(before[name], after[name], f"the field '{name}' of {label}")
            elif cls is not None and name not in field_defaults(find_class(cls)):
                yield f"the field '{name}' of {label} was added without a default"


def _part(node: Composite, index: int) -> str:
    if node.label == "MAP":
        return ("the key", "the value")[index]
    return "the element" if len(node.parts) == 1 else f"field {index}"


def _widens(was: Node, now: Node) -> bool:
    """Whether every value that was of the one type is of the other as it is (an optional type: if it fits what is inside)."""
    match was, now:
        case Composite(label="OPTIONAL"), Composite(label="OPTIONAL"):
            return False
        case _, Composite(label="OPTIONAL"):
            return True
        case _, Basic(name="GENERIC"):
            return not _holds_pickled(was)
        case Basic(name=one), Basic(name=other):
            return any(
                one in order and other in order and order.index(one) < order.index(other)
                for order in (_INTEGERS, _FLOATS)
            )
        case _:
            return False


def _children(node: Node) -> Iterator[Node]:
    match node:
        case Composite(parts=parts):
            yield from parts
        case NamedRow(fields=fields):
            yield from (part for _, part in fields)


def _holds_pickled(node: Node) -> bool:
    return node == Basic(_PICKLED) or any(map(_holds_pickled, _children(node)))


def _holds_rows(schema: TypeSchema) -> bool:
    def holds(node: Node) -> bool:
        return isinstance(node, NamedRow) or any(map(holds, _children(node)))

    return holds(schema.root) or any(holds(node) for fields in schema.records.values() for _, node in fields)


class _Conversions:
    """Makes conversions; one for each class, so that classes may contain themselves."""

    def __init__(self, was: TypeSchema, now: TypeSchema) -> None:
        self._was = was
        self._now = now
        self._of_class: dict[str, dict[str, Conversion]] = {}

    def of(self, was: Node, now: Node) -> Conversion:
        match was, now:
            case NamedRow(), NamedRow():
                return self._row(was, now)
            case Composite(label="OPTIONAL", parts=(inner,)), _:
                target = now.parts[0] if isinstance(now, Composite) and now.label == OPTIONAL else now
                return _unless_none(self.of(inner, target))
            case _, Composite(label="OPTIONAL", parts=(inner,)):
                return self.of(was, inner)
            case Composite(), Composite():
                return self._composite(was, now)
            case Named(kind="RECORD"), Named():
                return self._record(was.cls)
            case _:
                return _same

    def _row(self, was: NamedRow, now: NamedRow) -> Conversion:
        before = dict(was.fields)
        names = tuple(name for name, _ in now.fields)
        known = tuple(before)
        steps = [
            (known.index(name), _unless_none(self.of(before[name], node))) if name in before else (-1, _same)
            for name, node in now.fields
        ]

        def convert(row: Row) -> Row:
            own = row._fields
            if own is not None and own != known:  # a row inside of a record keeps the order it was made with
                row = Row.of_fields(known, [row[name] for name in known], row.get_row_kind())
            values = row._values
            evolved = [None if index < 0 else step(values[index]) for index, step in steps]
            return Row.of_fields(names, evolved, row.get_row_kind())

        return convert

    def _composite(self, was: Composite, now: Composite) -> Conversion:
        steps = [self.of(one, other) for one, other in zip(was.parts, now.parts, strict=True)]
        if was.label == "MAP":
            return lambda value: {key: steps[1](item) for key, item in value.items()}
        if was.label == "TAGGED_UNION":
            return lambda value: (value[0], steps[value[0] - 1](value[1]))
        if was.label == "ROW":
            return lambda row: Row.of_fields(
                row._fields,
                [_unless_none(step)(item) for step, item in zip(steps, row, strict=True)],
                row.get_row_kind(),
            )
        if len(steps) == 1 and was.label not in {"TUPLE", "TTL"}:
            step = _unless_none(steps[0])
            return lambda value: type(value)(map(step, value))
        return lambda value: tuple(step(item) for step, item in zip(steps, value, strict=True))

    def _record(self, cls: str) -> Conversion:
        steps = self._of_class.get(cls)
        if steps is None:
            steps = self._of_class[cls] = {}
            now = dict(self._now.records[cls])
            steps |= {name: self.of(node, now[name]) for name, node in self._was.records[cls] if name in now}
        return lambda record: _convert_record(record, steps)


def _convert_record(record: Any, steps: dict[str, Conversion]) -> Any:
    shape = record_shape(type(record))
    assert shape is not None, "what was written as a record is one"
    fields = zip(shape.fields, shape.to_row(record), strict=True)
    row = tuple(steps.get(name, _same)(value) for name, value in fields)
    (converted,) = record_builder(class_name(type(record)), shape.fields)([row])
    return converted


def _unless_none(step: Conversion) -> Conversion:
    return lambda value: None if value is None else step(value)


def _same(value: Any) -> Any:
    return value
