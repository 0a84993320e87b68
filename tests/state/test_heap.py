from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from millstream.core.types import Types
from millstream.state.backend import TableDescriptor
from millstream.state.heap_table import HeapTable
from millstream.state.snapshot_format import BLOCK_ENTRIES, BlockCodec, read_blocks, write_blocks
from millstream.state.table_registry import describe
from tests.state.backend_suite import MAPS, WINDOWS, StateBackendSuite


class TestHeap(StateBackendSuite):
    kind = "hashmap"


def test_freezing_moves_a_pointer_and_copies_nothing() -> None:
    table = HeapTable(WINDOWS, describe(WINDOWS))
    found = table.namespace(0)
    found["a"] = [1]
    frozen = table.freeze()
    assert frozen[0] is found
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
