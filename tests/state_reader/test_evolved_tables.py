"""A state whose subtasks wrote it with other types: one state to a reader."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from millstream import Row, Types
from millstream.core.types import KeyEncoder
from millstream.state.backend import BackendContext, TableDescriptor
from millstream.state.backends import BackendType, create_backend
from millstream.state.handles import KeyedStateHandle
from millstream.state.key_groups import key_group_of
from millstream.state.type_names import TypeReader
from millstream.state_reader.keyed import KeyedState, LaidOutHandles
from tests.state.local_checkpoints import LocalCheckpoints

MAX_PARALLELISM = 8
KEYS = [f"key-{number}" for number in range(20)]
ONE = Types.ROW_NAMED(["a"], [Types.LONG()])
TWO = Types.ROW_NAMED(["b", "a"], [Types.STRING(), Types.LONG()])


@pytest.mark.parametrize("kind", ["hashmap", "rocksdb"])
def test_parts_that_were_written_with_other_types_are_read_by_their_own(
    kind: BackendType, tmp_path: Path
) -> None:
    checkpoints = LocalCheckpoints(tmp_path / "checkpoints")

    def handle(
        number: int, groups: tuple[int, int], restored: tuple[KeyedStateHandle, ...], written: Any
    ) -> KeyedStateHandle:
        folder = tmp_path / str(number)
        folder.mkdir()
        backend = create_backend(
            kind, BackendContext("op", MAX_PARALLELISM, groups, folder, restored, checkpoints, 100)
        )
        for type_info, value in written:
            put(backend.table(TableDescriptor("v", Types.STRING(), type_info)), groups, value)
        pending = backend.snapshot(number)
        found = pending.write(checkpoints.streams(number))
        pending.release()
        backend.close()
        return found

    def put(table: Any, groups: tuple[int, int], value: Row) -> None:
        for key in KEYS:
            if (
                groups[0]
                <= key_group_of(KeyEncoder(Types.STRING()).encode(key), MAX_PARALLELISM)
                <= groups[1]
            ):
                table.namespace(None)[key] = value

    first = handle(1, (0, 3), (), [(ONE, Row(a=1))])
    second = handle(2, (4, 7), (), [(TWO, Row(b="x", a=2))])
    both = handle(3, (0, 7), (first, second), [])  # a program that does not ask for the state carries it on
    assert [info.value_type for info in both.tables] == [ONE.name, TWO.name]

    handles = LaidOutHandles((both,), checkpoints, tmp_path / "read")
    state = KeyedState(handles.infos()["v"], handles, TypeReader({}, unpickle=False), "op", MAX_PARALLELISM)
    values = {entry.key: entry.value for entry in state.entries()}
    assert sorted(values) == sorted(KEYS)
    assert {repr(value) for value in values.values()} == {"Row(a=1)", "Row(b='x', a=2)"}
    assert [state.value(key) for key in KEYS] == [values[key] for key in KEYS]
    assert state.size().entries == len(KEYS)
    handles.close()
