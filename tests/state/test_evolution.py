"""State whose types change from run to run: random histories of a record type, on both backends, against plain dicts."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from millstream.core.errors import StateError
from millstream.core.savepoints import SavepointFormatType
from millstream.core.types import (
    KeyEncoder,
    Row,
    TypeInformation,
    Types,
    classes,
    infer_type,
    register_classes,
)
from millstream.dev.server import Server
from millstream.state.backend import StateOwner, StateStore, TableDescriptor
from millstream.state.backends import BackendType, create_backend
from millstream.state.handles import KeyedStateHandle
from millstream.state.key_groups import key_group_of, key_group_range
from tests.core.test_types_evolution import version
from tests.services.availability import unique_name
from tests.state.backend_suite import MAX_PARALLELISM, context_in
from tests.state.local_checkpoints import LocalCheckpoints

BACKENDS: list[BackendType] = ["hashmap", "rocksdb"]
VALUES: dict[Any, Any] = {int: 7, str: "s", float: 0.5, tuple[int, ...]: (1, 2), int | None: None}
"""Hints of fields, and what is written into a field of such a hint."""


@pytest.fixture(autouse=True)
def _own_registry() -> Iterator[None]:
    before = dict(classes._REGISTERED)
    yield
    classes._REGISTERED.clear()
    classes._REGISTERED.update(before)
    register_classes([])


class Field(NamedTuple):
    hint: Any
    default: Any


Fields = dict[str, Field]


class Shape(NamedTuple):
    """How records are held: the type of what holds them, and how a value is put in and taken out."""

    hint: Callable[[Any], Any]
    put: Callable[[Any], Any]
    get: Callable[[Any], Any]


@dataclasses.dataclass
class Holder:
    items: list[Any]


def _holder(hint: Any) -> Any:
    made = dataclasses.make_dataclass("Holder", [("items", list[hint])])
    made.__module__ = "job"
    register_classes([made])
    return made


SHAPES = {
    "itself": Shape(lambda hint: hint, lambda value: value, lambda held: held),
    "list": Shape(lambda hint: list[hint], lambda value: [value, value], lambda held: held[1]),
    "map": Shape(lambda hint: dict[str, hint], lambda value: {"k": value}, lambda held: held["k"]),
    "tuple": Shape(lambda hint: tuple[int, hint], lambda value: (1, value), lambda held: held[1]),
    "optional": Shape(lambda hint: hint | None, lambda value: value, lambda held: held),
    "held": Shape(
        _holder, lambda value: classes.find_class("job:Holder")([value]), lambda held: held.items[0]
    ),
}
KINDS = ["dataclass", "struct", "namedtuple", "row"]


class Era:
    """A type of records as one run of the job knows it."""

    def __init__(self, kind: str, shape: str, fields: Fields) -> None:
        self._shape = SHAPES[shape]
        self._is_row = kind == "row"
        self.fields = fields
        hint: Any
        if self._is_row:
            hint = Types.ROW_NAMED(list(fields), [infer_type(field.hint) for field in fields.values()])  # type: ignore[misc]
        else:
            hint = version(kind, *((name, field.hint, field.default) for name, field in fields.items())).cls  # type: ignore[attr-defined]
        self._record = hint
        # A type is no class, so `|` does not take it.
        self._type = (
            Types.LIST(hint) if self._is_row and shape == "optional" else infer_type(self._shape.hint(hint))
        )
        self._in_list = self._is_row and shape == "optional"

    @property
    def type_info(self) -> TypeInformation[Any]:
        assert self._type is not None
        return self._type

    def value(self, fields: dict[str, Any]) -> Any:
        made = Row(**fields) if self._is_row else self._record(**fields)
        return [made] if self._in_list else self._shape.put(made)

    def fields_of(self, held: Any) -> dict[str, Any]:
        record = held[0] if self._in_list else self._shape.get(held)
        assert type(record) is (Row if self._is_row else self._record)
        return {name: getattr(record, name) for name in self.fields}

    def written(self) -> dict[str, Any]:
        return {name: VALUES[field.hint] for name, field in self.fields.items()}

    def evolved(self, fields: dict[str, Any]) -> dict[str, Any]:
        """What a record of an earlier era is in this one."""
        missing = {name: None if self._is_row else field.default for name, field in self.fields.items()}
        return {name: fields.get(name, default) for name, default in missing.items()}


@st.composite
def histories(draw: Any, *, stable_types: bool) -> list[Fields]:
    """Sets of fields, one for each run; a name that comes again after it was gone may have another type, unless they are stable."""
    hints = st.sampled_from(list(VALUES))
    known = {name: draw(hints) for name in "abcd"}
    eras: list[Fields] = []
    for _ in range(draw(st.integers(2, 5))):
        before = eras[-1] if eras else {}
        fields: Fields = {}
        for name in draw(st.permutations("abcd")):
            if not draw(st.booleans()):
                continue
            hint = known[name] if stable_types else draw(hints)
            hint = before[name].hint if name in before else hint
            fields[name] = Field(
                hint, draw(st.sampled_from([VALUES[hint], None])) if hint == int | None else VALUES[hint]
            )
        eras.append(fields or {"a": before.get("a", Field(known["a"], VALUES[known["a"]]))})
    return eras


TABLES = {
    "key": TableDescriptor("t", Types.LONG(), Types.LONG()),
    "window": TableDescriptor("t", Types.LONG(), Types.LONG(), namespace_type=Types.LONG()),
    "map": TableDescriptor(
        "t",
        Types.STRING(),
        Types.LONG(),
        namespace_type=Types.LONG(),
        routed_by="namespace",
        few_namespaces=False,
    ),
}


def place(table: str, key: int) -> tuple[Any, Any]:
    match table:
        case "key":
            return None, key
        case "window":
            return key % 3, key
        case _:
            return key, "m"


class Run:
    """One backend's history: attempts with a descriptor each, restored from the handles of the one before."""

    def __init__(self, kind: BackendType, folder: Path, table: str, store: StateStore | None = None) -> None:
        self.store, self.job = store, unique_name("job")
        self.kind, self.folder, self.table = kind, folder / str(kind), table
        self.checkpoints = LocalCheckpoints(self.folder / "checkpoints")
        self.handles: list[KeyedStateHandle] = []
        self.attempt = 0

    def step(
        self, era: Era, parallelism: int, opened: list[bool], added: list[int], *, canonical: bool = False
    ) -> dict[int, dict[str, Any]]:
        """What the subtasks that open the table see, after which each adds its keys; then a snapshot."""
        self.attempt += 1
        if self.handles and self.handles[0].external is None and self.store is not None:
            self.job = unique_name("job")  # a start from a savepoint is another job
        descriptor = dataclasses.replace(TABLES[self.table], value_type=era.type_info)
        seen: dict[int, dict[str, Any]] = {}
        handles = []
        for subtask in range(parallelism):
            groups = first, last = key_group_range(subtask, MAX_PARALLELISM, parallelism)
            mine = tuple(h for h in self.handles if h.key_groups[0] <= last and first <= h.key_groups[1])
            backend = create_backend(
                self.kind,
                context_in(
                    self.folder / f"{self.attempt}-{subtask}",
                    restored=mine,
                    reader=self.checkpoints,
                    key_groups=groups,
                    cache_entries=3,
                    owner=StateOwner(self.job, "sum", self.attempt),
                    store=self.store,
                ),
            )
            if opened[subtask]:
                found = backend.table(descriptor)
                for namespace, key, value in found.walk():
                    seen[namespace if self.table == "map" else key] = era.fields_of(value)
                for number in added:
                    if first <= _group(number) <= last:
                        namespace, key = place(self.table, number)
                        found.namespace(namespace)[key] = era.value(era.written())
                        backend.end_of_batch()
            pending, streams = backend.snapshot(self.attempt), self.checkpoints.streams(self.attempt)
            handles.append(
                pending.write_savepoint(streams, SavepointFormatType.CANONICAL)
                if canonical
                else pending.write(streams)
            )
            pending.release()
            backend.close()
        self.handles = handles
        return seen


@settings(max_examples=20, deadline=None)
@given(data=st.data())
def test_both_backends_evolve_state_as_dicts_would(tmp_path_factory: Any, data: st.DataObject) -> None:
    check_evolution(tmp_path_factory.mktemp("evolution"), data, dict.fromkeys(BACKENDS))


@settings(max_examples=10, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_databases_evolve_state_as_dicts_would(
    tmp_path_factory: Any, postgresql: Server, redis_server: Server, data: st.DataObject
) -> None:
    stores: dict[BackendType, StateStore | None] = {
        "postgresql": StateStore(postgresql.url, "millstream_tests"),
        "redis": StateStore(redis_server.url, "millstream_tests"),
    }
    check_evolution(tmp_path_factory.mktemp("evolution"), data, stores)


def check_evolution(
    folder: Path, data: st.DataObject, backends: Mapping[BackendType, StateStore | None]
) -> None:
    every_subtask_opens = data.draw(st.booleans(), label="every subtask opens the table")
    kind, shape = data.draw(st.sampled_from(KINDS)), data.draw(st.sampled_from(list(SHAPES)))
    table = data.draw(st.sampled_from(list(TABLES)))
    runs = [Run(backend, folder, table, store) for backend, store in backends.items()]
    model: dict[int, dict[str, Any]] = {}
    for number, fields in enumerate(data.draw(histories(stable_types=not every_subtask_opens))):
        era = Era(kind, shape, fields)
        parallelism = data.draw(st.integers(1, 3))
        opened = [every_subtask_opens or data.draw(st.booleans()) for _ in range(parallelism)]
        added = list(range(number * 4, number * 4 + 6))
        # A canonical savepoint holds opened tables only.
        canonical = every_subtask_opens and data.draw(st.booleans(), label="ends with a canonical savepoint")
        mine = [key for key in [*model, *added] if opened[_subtask(key, parallelism)]]
        evolved = {key: era.evolved(model[key]) for key in mine if key in model}
        for run in runs:
            assert run.step(era, parallelism, opened, added, canonical=canonical) == evolved, run.kind
        model |= evolved | {key: era.written() for key in added if key in mine}


def _group(key: int) -> int:
    return key_group_of(KeyEncoder(Types.LONG()).encode(key), MAX_PARALLELISM)


def _subtask(key: int, parallelism: int) -> int:
    group = _group(key)
    ranges = [key_group_range(subtask, MAX_PARALLELISM, parallelism) for subtask in range(parallelism)]
    return next(subtask for subtask, (first, last) in enumerate(ranges) if first <= group <= last)


@pytest.mark.parametrize("kind", BACKENDS)
class TestRefusals:
    def opened(self, kind: BackendType, folder: Path, then: Any, now: Callable[[], Any], field: str) -> None:
        checkpoints = LocalCheckpoints(folder / "checkpoints")
        descriptor = dataclasses.replace(TABLES["key"], **{field: then})
        backend = create_backend(kind, context_in(folder / "a"))
        backend.table(descriptor)
        pending = backend.snapshot(1)
        handle = pending.write(checkpoints.streams(1))
        pending.release()
        backend.close()
        backend = create_backend(kind, context_in(folder / "b", restored=(handle,), reader=checkpoints))
        backend.table(dataclasses.replace(descriptor, **{field: now()}))

    def test_a_field_of_another_type(self, kind: BackendType, tmp_path: Path) -> None:
        with pytest.raises(StateError) as caught:
            self.opened(
                kind,
                tmp_path,
                version("dataclass", ("n", int)),
                lambda: version("dataclass", ("n", str, "")),
                "value_type",
            )
        assert caught.value.where == "operator 'sum'"
        assert caught.value.what == (
            "state 't': the restored state has the value type RECORD(job:Event), the job RECORD(job:Event):"
            " the field 'n' of RECORD(job:Event) was LONG and is STRING"
        )

    def test_a_key_with_one_more_field(self, kind: BackendType, tmp_path: Path) -> None:
        with pytest.raises(StateError, match="keys cannot evolve"):
            self.opened(
                kind,
                tmp_path,
                version("namedtuple", ("n", int)),
                lambda: version("namedtuple", ("n", int), ("m", int, 0)),
                "key_type",
            )


@pytest.mark.parametrize("kind", BACKENDS)
def test_what_a_release_without_schemas_wrote_is_read_by_name(kind: BackendType, tmp_path: Path) -> None:
    run = Run(kind, tmp_path, "key")
    era = Era("dataclass", "itself", {"a": Field(int, 0)})
    run.step(era, 1, [True], [1, 2])
    (handle,) = run.handles
    bare = [_without_schemas(info) for info in handle.tables]
    run.handles = [KeyedStateHandle(handle.format, handle.key_groups, tuple(bare), handle.files)]
    era = Era("dataclass", "itself", {"b": Field(str, "x"), "a": Field(int, 0)})
    assert run.step(era, 1, [True], []) == {1: {"a": 7, "b": "x"}, 2: {"a": 7, "b": "x"}}


def _without_schemas(info: Any) -> Any:
    return type(info)(
        info.name, info.table_id, info.routed_by, info.key_type, info.namespace_type, info.value_type
    )
