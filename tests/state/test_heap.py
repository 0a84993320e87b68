from __future__ import annotations

import copy
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from millstream.core.types import Types
from millstream.state.backend import TableDescriptor
from millstream.state.heap_table import HeapTable, visible_maps
from millstream.state.snapshot_format import BLOCK_ENTRIES, BlockCodec, read_blocks, write_blocks
from millstream.state.table_registry import describe
from tests.state.backend_suite import MAPS, WINDOWS, StateBackendSuite


class TestHeap(StateBackendSuite):
    kind = "hashmap"


def test_freezing_moves_a_pointer_and_copies_nothing() -> None:
    table = HeapTable(WINDOWS, describe(WINDOWS))
    found = table.namespace(0)
    found["a"] = [1]
    (layer,) = table.freeze()
    assert layer.maps[0] is found
    assert table.namespace(0) is not found
    assert table.namespace(0)["a"] == [1]
    assert table.namespace(0)["a"] is not found["a"]


def test_values_that_are_never_changed_are_not_copied() -> None:
    descriptor = TableDescriptor("t", Types.STRING(), Types.LIST(Types.LONG()), mutable_values=False)
    table = HeapTable(descriptor, describe(descriptor))
    value = [1]
    table.namespace(None)["a"] = value
    table.freeze()
    assert table.namespace(None)["a"] is value


def test_merging_takes_bounded_steps_and_is_right_at_each() -> None:
    table = HeapTable(WINDOWS, describe(WINDOWS))
    model = {}
    for n in range(100):
        table.namespace(n)["a"] = model[n] = [n]
    table.freeze()
    for n in range(0, 100, 2):
        table.namespace(n)["a"].append(-n)
        model[n] = [n, -n]
    for n in range(1, 100, 4):
        table.drop(n)
        del model[n]
    table.thaw()
    steps = 0
    while not table.merge(10):
        steps += 1
        assert {n: table.namespace(n).peek("a") for n in range(100)} == {n: model.get(n) for n in range(100)}
    assert steps > 5
    assert {n: table.namespace(n)["a"] for n in range(100)} == {n: model.get(n) for n in range(100)}


def test_one_large_map_is_merged_in_steps() -> None:
    table = HeapTable(WINDOWS, describe(WINDOWS))
    table.namespace(0).update((n, [n]) for n in range(50_000))
    table.freeze()
    touched = table.namespace(0)
    for n in range(30_000):
        touched[n].append(0)
    touched.remove(49_999)
    table.thaw()
    assert not table.merge(1000)
    for step in range(20):
        table.namespace(0)[step].append(1)
        table.merge(1000)
    table.merge(100_000)
    entries = dict(table.namespace(0).entries())
    assert entries == {n: [n, *([0] * (n < 30_000)), *([1] * (n < 20))] for n in range(49_999)}


NAMESPACES, KEYS = st.integers(0, 2), st.sampled_from("abc")
STEPS = st.one_of(
    st.tuples(st.just("append"), NAMESPACES, KEYS),
    st.tuples(st.just("set"), NAMESPACES, KEYS),
    st.tuples(st.just("remove"), NAMESPACES, KEYS),
    st.tuples(st.just("drop"), NAMESPACES, st.just("")),
    st.tuples(st.just("freeze"), st.just(0), st.just("")),
    st.tuples(st.just("thaw"), st.just(0), st.just("")),
    st.tuples(st.just("merge"), st.integers(1, 3), st.just("")),
)


def contents(maps: Iterable[tuple[Any, Any]]) -> dict[Any, dict[Any, Any]]:
    found = {namespace: copy.deepcopy(dict(one.entries())) for namespace, one in maps}
    return {namespace: entries for namespace, entries in found.items() if entries}


def changed(table: HeapTable, model: dict[Any, Any], step: tuple[str, int, str], number: int) -> None:
    """Do to the table and to the model what the step says."""
    what, namespace, key = step
    entries = model.setdefault(namespace, {})
    match what:
        case "append":
            if (value := table.namespace(namespace)[key]) is not None:
                value.append(number)
                entries[key].append(number)
        case "set":
            table.namespace(namespace)[key] = [number]
            entries[key] = [number]
        case "remove":
            table.namespace(namespace).remove(key)
            entries.pop(key, None)
        case "drop":
            table.drop(namespace)
            entries.clear()


@settings(max_examples=400, deadline=None)
@given(steps=st.lists(STEPS, max_size=60))
def test_snapshots_that_come_before_the_merging_has_ended_find_everything(steps: list[Any]) -> None:
    table = HeapTable(WINDOWS, describe(WINDOWS))
    model: dict[Any, dict[Any, Any]] = {}
    frozen: tuple[Any, Any] | None = None
    for number, step in enumerate(steps):
        match step[0]:
            case "freeze" if frozen is None:
                frozen = table.freeze(), copy.deepcopy(model)
            case "thaw" if frozen is not None:
                table.thaw()
                frozen = None
            case "merge":
                table.merge(step[1])
                table.forget_empty()
            case _:
                changed(table, model, step, number)
        wanted = {namespace: entries for namespace, entries in model.items() if entries}
        assert contents((n, table._find(n)) for n in table.namespaces()) == wanted
        assert all(table.namespace(n).is_empty() is (n not in wanted) for n in model)
        if frozen is not None:
            layers, then = frozen
            assert contents(visible_maps(layers)) == {n: entries for n, entries in then.items() if entries}
    table.thaw()
    while not table.merge(2):
        pass
    table.forget_empty()
    assert contents((n, table._find(n)) for n in table.namespaces()) == {n: e for n, e in model.items() if e}
    assert table.entries_in_memory() == sum(map(len, model.values()))


def test_a_snapshot_waits_for_no_merging() -> None:
    table = HeapTable(WINDOWS, describe(WINDOWS))
    entries = table.namespace(0)
    for n in range(4):
        entries.update((key, [n]) for key in range(n, 10_000))
        layers = table.freeze()
        assert len(layers) == n + 1
        assert dict(visible_maps(layers))[0].flat()[9_999] == [n]
        entries = table.namespace(0)
        entries.update((key, [-n]) for key in range(10_000))
        table.thaw()
        assert not table.merge(10)


def test_maps_that_became_empty_are_forgotten() -> None:
    table = HeapTable(MAPS, describe(MAPS))
    for n in range(10):
        table.namespace(f"key-{n}")[1] = (n,)
    table.namespace("only looked at").peek(1)
    table.namespace("key-0").remove(1)
    table.freeze()
    table.namespace("key-1").remove(1)
    table.thaw()
    table.merge(1000)
    table.forget_empty()
    assert sorted(table.namespaces()) == [f"key-{n}" for n in range(2, 10)]


def test_a_restore_reads_only_its_key_groups(tmp_path: Path) -> None:
    codec = BlockCodec(WINDOWS, "sum")
    path = tmp_path / "state"
    runs = {
        group: [(group * 10, [f"{group}-{n}" for n in range(3)], [[n] for n in range(3)])]
        for group in range(8)
    }
    chunks = write_blocks((1, block) for group in range(8) for block in codec.encode(group, runs[group]))
    path.write_bytes(b"".join(chunks))
    found = {block.group: list(codec.decode(block)) for _, block in read_blocks(path, 2, 3)}
    assert found == {2: runs[2], 3: runs[3]}


def test_a_large_run_is_cut_into_blocks() -> None:
    codec = BlockCodec(WINDOWS, "sum")
    keys = [str(n) for n in range(2 * BLOCK_ENTRIES + 1)]
    blocks = list(codec.encode(0, [(-1, ["first"], [[0]]), (5, keys, [[1]] * len(keys))]))
    assert [block.entries for block in blocks] == [BLOCK_ENTRIES, BLOCK_ENTRIES, 2]
    assert [key for block in blocks for _, found, _ in codec.decode(block) for key in found] == [
        "first",
        *keys,
    ]


def test_the_heap_backend_does_not_load_rocksdb() -> None:
    program = (
        "import sys, millstream.state.backends, millstream.state.keyed; sys.exit('rocksdict' in sys.modules)"
    )
    subprocess.run([sys.executable, "-c", program], check=True, cwd=Path(__file__).parents[2])
