# ruff: noqa: PYI024 - both kinds of named tuples are records
"""What may be read as what: the table of rules, and schemas that say what a class looked like."""

from __future__ import annotations

import collections
import dataclasses
import enum
import subprocess
import sys
from collections.abc import Iterator
from typing import Any, NamedTuple

import cloudpickle
import msgspec
import pytest

from millstream.core.types import (
    GENERIC,
    Row,
    TypeInformation,
    Types,
    TypeSchema,
    classes,
    conversion,
    difference,
    infer_type,
    key_difference,
    reading_type,
    register_classes,
    schema_of,
)


@pytest.fixture(autouse=True)
def _own_registry() -> Iterator[None]:
    before = dict(classes._REGISTERED)
    yield
    classes._REGISTERED.clear()
    classes._REGISTERED.update(before)
    register_classes([])


def version(kind: str, *fields: Any, name: str = "Event") -> TypeInformation[Any]:
    """The type of records of a class of that kind, which takes the place of the one made before."""
    made: Any
    match kind:
        case "dataclass":
            made = dataclasses.make_dataclass(name, fields, kw_only=True)
        case "struct":
            made = msgspec.defstruct(name, list(fields), kw_only=True)
        case _:
            made = NamedTuple(name, [(field, hint) for field, hint, *_ in fields])  # type: ignore[misc]
            made.__new__.__defaults__ = tuple(default for _, _, *defaults in fields for default in defaults)
            made._field_defaults = {field: defaults[0] for field, _, *defaults in fields if defaults}
    made.__module__, made.__qualname__ = "job", name
    register_classes([made])
    found = infer_type(made)
    assert found is not None
    return found


class Suit(enum.Enum):
    HEARTS = 1
    SPADES = 2


class FewerSuits(enum.Enum):
    HEARTS = 1


for suit in (Suit, FewerSuits):
    suit.__module__, suit.__qualname__ = "job", "Suit"

LONG, INT, DOUBLE, FLOAT = Types.LONG(), Types.INT(), Types.DOUBLE(), Types.FLOAT()
STRING, PICKLED = Types.STRING(), Types.PICKLED_BYTE_ARRAY()


def optional(info: TypeInformation[Any]) -> TypeInformation[Any]:
    return infer_type(int | None) if info == LONG else infer_type(str | None)  # type: ignore[return-value]


@pytest.mark.parametrize(
    ("was", "now", "fits"),
    [
        (INT, LONG, True),
        (Types.BYTE(), Types.BIG_INT(), True),
        (LONG, INT, False),
        (FLOAT, DOUBLE, True),
        (DOUBLE, FLOAT, False),
        (LONG, DOUBLE, False),
        (LONG, STRING, False),
        (LONG, optional(LONG), True),
        (optional(LONG), LONG, False),
        (LONG, optional(STRING), False),
        (Types.LIST(LONG), GENERIC, True),
        (GENERIC, LONG, False),
        (PICKLED, GENERIC, False),
        (Types.LIST(PICKLED), GENERIC, False),
        (GENERIC, PICKLED, False),
        (Types.LIST(INT), Types.LIST(LONG), True),
        (Types.LIST(INT), Types.OBJECT_ARRAY(INT), False),
        (Types.MAP(STRING, INT), Types.MAP(STRING, LONG), True),
        (Types.MAP(INT, STRING), Types.MAP(LONG, STRING), False),
        (infer_type(set[int]), infer_type(set[float]), False),
        (Types.TUPLE([INT, STRING]), Types.TUPLE([LONG, STRING]), True),
        (Types.TUPLE([INT]), Types.TUPLE([INT, STRING]), False),
        (Types.ROW([INT]), Types.ROW([LONG]), True),
        (Types.ROW([INT]), Types.ROW([INT, INT]), False),
        (Types.ROW([INT]), Types.ROW_NAMED(["a"], [INT]), False),
        (Types.ROW_NAMED(["a"], [INT]), Types.ROW_NAMED(["b", "a"], [STRING, LONG]), True),
        (Types.ROW_NAMED(["a", "b"], [INT, INT]), Types.ROW_NAMED(["b"], [INT]), True),
        (Types.ROW_NAMED(["a"], [INT]), Types.ROW_NAMED(["a"], [STRING]), False),
        (infer_type(FewerSuits), infer_type(Suit), True),
        (infer_type(Suit), infer_type(FewerSuits), False),
    ],
)
def test_the_table_of_what_fits(was: Any, now: Any, fits: bool) -> None:
    reason = difference(schema_of(was), schema_of(now))
    assert (reason is None) is fits, reason


@pytest.mark.parametrize("kind", ["dataclass", "struct", "namedtuple"])
class TestRecords:
    def test_a_field_with_a_default_may_come_and_any_may_go(self, kind: str) -> None:
        was = schema_of(version(kind, ("a", int), ("gone", str)))
        now = schema_of(version(kind, ("new", str, "?"), ("a", int, 0)))
        assert difference(was, now) is None

    def test_a_field_without_a_default_is_refused(self, kind: str) -> None:
        was = schema_of(version(kind, ("a", int)))
        now = schema_of(version(kind, ("a", int), ("b", int)))
        assert difference(was, now) == "the field 'b' of RECORD(job:Event) was added without a default"

    def test_a_changed_field_is_named_with_both_types_however_deep(self, kind: str) -> None:
        inner = version(kind, ("n", int), name="Inner")
        was = schema_of(version(kind, ("items", list[inner.cls])))  # type: ignore[attr-defined,name-defined]
        inner = version(kind, ("n", str), name="Inner")
        now = schema_of(version(kind, ("items", list[inner.cls])))  # type: ignore[attr-defined,name-defined]
        assert difference(was, now) == "the field 'n' of RECORD(job:Inner) was LONG and is STRING"

    def test_as_a_key_it_must_look_the_same(self, kind: str) -> None:
        was = schema_of(version(kind, ("a", int), ("b", int)))
        assert key_difference(was, schema_of(version(kind, ("a", int), ("b", int)))) is None
        for fields in ([("b", int), ("a", int)], [("a", int)], [("a", int), ("b", str)]):
            assert key_difference(was, schema_of(version(kind, *fields))) is not None


@pytest.mark.parametrize("kind", ["dataclass", "namedtuple"])
def test_a_class_that_travelled_by_value_has_the_defaults_it_had(kind: str) -> None:
    made: Any = version(kind, ("a", int), ("b", int, 5), ("c", str, "")).cls  # type: ignore[attr-defined]
    reads = (
        "import sys, cloudpickle; from millstream.core.types import classes;"
        "made = cloudpickle.load(sys.stdin.buffer);"
        "print({name: default() for name, default in classes.field_defaults(made).items()})"
    )
    done = subprocess.run(
        [sys.executable, "-c", reads], input=cloudpickle.dumps(made), capture_output=True, check=True
    )
    assert done.stdout.decode().strip() == "{'b': 5, 'c': ''}"


def test_another_class_is_refused_with_both_names() -> None:
    was, now = schema_of(version("dataclass", name="A")), schema_of(version("dataclass", name="B"))
    assert difference(was, now) == "it was RECORD(job:A) and is RECORD(job:B)"


@dataclasses.dataclass
class Tree:
    value: int
    children: list[Tree] = dataclasses.field(default_factory=list)


def test_a_class_may_contain_itself() -> None:
    schema = schema_of(infer_type(Tree))  # type: ignore[arg-type]
    assert [name for name, _ in schema.records["tests.core.test_types_evolution:Tree"]] == [
        "value",
        "children",
    ]
    assert difference(schema, schema) is None


@dataclasses.dataclass
class Dangling:
    known: int
    lost: NotThere  # type: ignore[name-defined]  # noqa: F821


def test_one_hint_that_cannot_be_resolved_hides_no_other() -> None:
    schema = schema_of(infer_type(Dangling))  # type: ignore[arg-type]
    (fields,) = schema.records.values()
    assert [str(node) for _, node in fields] == ["LONG", "of an unknown type (NotThere)"]
    assert difference(schema, schema) is None


def test_fields_without_hints_fit_everything() -> None:
    made: Any = collections.namedtuple("Point", "x y")
    made.__module__, made.__qualname__ = "job", "Point"
    register_classes([made])
    was = schema_of(infer_type(made))  # type: ignore[arg-type]
    now = schema_of(version("namedtuple", ("y", int), ("x", str), name="Point"))
    assert difference(was, now) is None


def test_a_schema_survives_its_encoding() -> None:
    info = infer_type(dict[str, tuple[Tree, Suit | None]])
    assert info is not None
    schema = schema_of(info)
    assert msgspec.msgpack.decode(msgspec.msgpack.encode(schema), type=TypeSchema) == schema


def test_rows_are_mapped_by_name_wherever_they_are() -> None:
    was = Types.LIST(Types.TUPLE([Types.ROW_NAMED(["a", "b"], [INT, STRING]), LONG]))
    now = Types.LIST(Types.TUPLE([Types.ROW_NAMED(["c", "b"], [LONG, STRING]), LONG]))
    written = was.serializer().dumps([(Row(a=1, b="x"), 7)])
    convert = conversion(schema_of(was), schema_of(now))
    assert convert is not None
    evolved = convert(reading_type(schema_of(was).root).serializer().loads(written))
    assert evolved == [(Row(c=None, b="x"), 7)]
    assert now.mismatch([evolved]) is None


def test_rows_inside_of_records_are_mapped_too() -> None:
    rows = Types.ROW_NAMED(["a"], [INT])
    was = version("dataclass", ("row", rows), ("rows", dict[str, rows]))  # type: ignore[valid-type]
    written = was.serializer().dumps(was.cls(row=Row(a=1), rows={"x": Row(a=2)}))  # type: ignore[attr-defined]
    old = schema_of(was)
    wider = Types.ROW_NAMED(["b", "a"], [STRING, INT])
    now = version("dataclass", ("rows", dict[str, wider]), ("row", wider))  # type: ignore[valid-type]
    convert = conversion(old, schema_of(now))
    assert convert is not None
    evolved = convert(reading_type(old.root).serializer().loads(written))
    assert evolved == now.cls(row=Row(b=None, a=1), rows={"x": Row(b=None, a=2)})  # type: ignore[attr-defined]
