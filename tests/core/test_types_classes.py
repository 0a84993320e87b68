# ruff: noqa: PYI024 - both kinds of named tuples are records
"""Users' classes in records: found by name, rebuilt field by field, allowed to evolve."""

from __future__ import annotations

import collections
import dataclasses
import enum
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, NamedTuple

import msgspec
import pytest

from millstream.core.errors import RecordSerializationError
from millstream.core.types import GENERIC, class_name, classes, copy_value, register_classes

SERIALIZER = GENERIC.serializer()


@pytest.fixture(autouse=True)
def _own_registry() -> Iterator[None]:
    before = dict(classes._REGISTERED)
    yield
    classes._REGISTERED.clear()
    classes._REGISTERED.update(before)
    register_classes([])


def named(cls: Any, name: str = "Event") -> Any:
    """Puts a class where the registry finds it under a module and name of its own."""
    cls.__module__, cls.__qualname__ = "job", name
    register_classes([cls])
    return cls


@dataclass
class Noisy:
    value: int
    doubled: int = 0

    def __post_init__(self) -> None:
        self.doubled = self.value * 2


class NoisyStruct(msgspec.Struct, kw_only=True):
    value: int
    doubled: int = 0

    def __post_init__(self) -> None:
        self.doubled = self.value * 2


@dataclass(frozen=True, slots=True, kw_only=True)
class Frozen:
    value: int
    kind: str = dataclasses.field(init=False, default="k")


@dataclass
class Child(Noisy):
    more: str = ""


Plain = collections.namedtuple("Plain", "a b")
register_classes([Noisy, NoisyStruct, Frozen, Child, Plain])


@pytest.mark.parametrize("cls", [Noisy, NoisyStruct])
def test_post_init_does_not_change_what_was_written(cls: type) -> None:
    record = cls(value=1)
    record.doubled = 7
    for back in (
        SERIALIZER.loads(SERIALIZER.dumps(record)),
        *SERIALIZER.loads_batch(SERIALIZER.dumps_batch([record])),
    ):
        assert (type(back), back.value, back.doubled) == (cls, 1, 7)


@pytest.mark.parametrize("record", [Frozen(value=1), Child(1, 2, "x"), Plain(1, [2])])
def test_every_kind_of_record_class_comes_back(record: Any) -> None:
    assert SERIALIZER.loads(SERIALIZER.dumps(record)) == record
    assert SERIALIZER.loads_batch(SERIALIZER.dumps_batch([record, record])) == [record, record]
    assert SERIALIZER.loads_batch(SERIALIZER.dumps_batch([record, 1])) == [record, 1]


def versions(kind: str) -> tuple[type, type, type]:
    """A class, with a field added, and with one added that has no default."""
    if kind == "dataclass":
        return (
            dataclasses.make_dataclass("Event", [("a", int), ("b", str)]),
            dataclasses.make_dataclass(
                "Event", [("new", list, dataclasses.field(default_factory=list)), ("b", str, "x")]
            ),
            dataclasses.make_dataclass("Event", [("a", int), ("b", str), ("c", int)]),
        )
    if kind == "struct":
        return (
            msgspec.defstruct("Event", [("a", int), ("b", str)]),
            msgspec.defstruct("Event", [("new", list, msgspec.field(default_factory=list)), ("b", str, "x")]),
            msgspec.defstruct("Event", ["a", "b", "c"]),
        )
    return (
        NamedTuple("Event", [("a", int), ("b", str)]),
        collections.namedtuple("Event", "new b", defaults=([], "x")),
        collections.namedtuple("Event", "a b c"),
    )


@pytest.mark.parametrize("kind", ["dataclass", "struct", "namedtuple"])
def test_fields_may_be_removed_and_added_with_defaults(kind: str) -> None:
    old, new, broken = versions(kind)
    named(old)
    batch, single = SERIALIZER.dumps_batch([old(1, "b")]), SERIALIZER.dumps(old(1, "b"))
    named(new)
    assert SERIALIZER.loads_batch(batch) == [new([], "b")]
    assert SERIALIZER.loads(single) == new([], "b")
    named(broken)
    with pytest.raises(RecordSerializationError, match=r"'c' of class 'job:Event'.*default"):
        SERIALIZER.loads(single)


def test_default_factories_make_a_new_value_for_each_record() -> None:
    old, new, _ = versions("dataclass")
    named(old)
    data = SERIALIZER.dumps_batch([old(1, "b"), old(2, "b")])
    named(new)
    first, second = SERIALIZER.loads_batch(data)
    first.new.append(1)
    assert second.new == []


def test_a_class_in_a_function_must_be_registered() -> None:
    @dataclass
    class Local:
        a: int

    with pytest.raises(RecordSerializationError, match=r"Local.*cannot be found") as caught:
        SERIALIZER.dumps(Local(1))
    assert "top level" in (caught.value.fix or "")
    register_classes([Local])
    assert SERIALIZER.loads(SERIALIZER.dumps(Local(1))) == Local(1)


def test_a_name_that_leads_to_another_class_is_refused_when_writing() -> None:
    first = named(dataclasses.make_dataclass("Event", ["a"]))
    named(dataclasses.make_dataclass("Event", ["a"]))
    with pytest.raises(RecordSerializationError, match="another class"):
        SERIALIZER.dumps(first(1))


def test_data_can_name_record_classes_only() -> None:
    for name in (
        "os:system",
        "subprocess:Popen",
        "builtins:int",
        "pathlib:Path",
        "no.such.module:X",
        "job",
        ":",
        "a:",
    ):
        for tree in ([[[name, ["args"]]], [17, 0, ["x"]]], [[[name, []]], [18, 0, "x", None]]):
            with pytest.raises(RecordSerializationError):
                SERIALIZER.loads(b"\x10" + msgspec.msgpack.encode(tree))


def test_only_record_classes_can_be_registered() -> None:
    with pytest.raises(RecordSerializationError, match="neither a dataclass"):
        register_classes([int])


def test_a_subclass_that_is_no_dataclass_itself_is_refused() -> None:
    class Sub(Noisy):
        pass

    with pytest.raises(RecordSerializationError):
        SERIALIZER.dumps(Sub(1))


def test_an_unset_field_is_an_error_that_names_it() -> None:
    record = object.__new__(Frozen)
    for write in (SERIALIZER.dumps, lambda r: SERIALIZER.dumps_batch([r]), lambda r: SERIALIZER.dumps([r])):
        with pytest.raises(RecordSerializationError, match="value"):
            write(record)


def test_a_missing_enum_member_is_an_error_that_names_it() -> None:
    named(enum.Enum("Colour", "RED"), "Colour")
    data = SERIALIZER.dumps(classes._REGISTERED["job:Colour"].RED)
    named(enum.Enum("Colour", "BLUE"), "Colour")
    with pytest.raises(RecordSerializationError, match="RED"):
        SERIALIZER.loads(data)


def test_class_names_are_module_and_qualified_name() -> None:
    assert class_name(Noisy) == f"{__name__}:Noisy"


@pytest.mark.parametrize("record", [Noisy(1), NoisyStruct(value=1), Frozen(value=1), Plain(1, [2]), Child(1)])
def test_copies_are_equal_and_share_nothing_mutable(record: Any) -> None:
    copied = copy_value({"a": [record]})
    assert copied == {"a": [record]}
    assert len(copied["a"]) == 1
    if isinstance(record, Noisy):
        assert copied["a"][0] is not record
    if isinstance(record, Plain):
        assert copied["a"][0].b is not record.b


def test_what_cannot_change_is_not_copied() -> None:
    for value in (1, "a", ("a", (1, None)), frozenset({1}), ((),)):
        assert copy_value(value) is value
    nested = ("a", [1])
    assert copy_value(nested) == nested
    assert copy_value(nested)[1] is not nested[1]
