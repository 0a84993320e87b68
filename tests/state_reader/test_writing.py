"""Savepoints made of data, and jobs that start from them."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from millstream import (
    CheckpointedFunction,
    KeyedProcessFunction,
    Row,
    RuntimeContext,
    StateTtlConfig,
    StreamExecutionEnvironment,
    Time,
    Types,
    WatermarkStrategy,
    state_reader,
)
from millstream.checkpoint.streams import StorageStreams
from millstream.core.errors import (
    CheckpointError,
    CheckpointFailureReason,
    RecordSerializationError,
    StateError,
)
from millstream.core.types import InvalidKeyError
from millstream.state.descriptors import (
    ListStateDescriptor,
    MapStateDescriptor,
    ReducingStateDescriptor,
    ValueStateDescriptor,
)
from millstream.state_reader import KeyedStateBootstrapFunction, OperatorState, SavepointWriter, bootstrap
from millstream.testing import ManualSource, MiniCluster
from tests.state_reader.conftest import Totaling

Order = tuple[str, str, int]

ORDERS: list[Order] = [("a", "x", 1), ("b", "y", 2), ("a", "z", 3)]


def fading() -> ValueStateDescriptor[int]:
    descriptor = ValueStateDescriptor("fading", int)
    descriptor.enable_time_to_live(StateTtlConfig.new_builder(Time.hours(10**5)).build())
    return descriptor


class Handles:
    """The states of the job, as the job and the function that makes them ask for them."""

    def open(self, runtime_context: RuntimeContext) -> None:
        self.total = runtime_context.get_reducing_state(ReducingStateDescriptor("total", int.__add__, int))
        self.items = runtime_context.get_map_state(MapStateDescriptor("items", str, int))
        self.all = runtime_context.get_list_state(
            ListStateDescriptor("all", Types.ROW_NAMED(["item"], [Types.STRING()]))
        )
        self.fading = runtime_context.get_state(fading())


class Fill(Handles, KeyedStateBootstrapFunction[Order]):
    def process_element(self, value: Order, ctx: KeyedStateBootstrapFunction.Context) -> None:
        key, item, amount = value
        assert ctx.get_current_key() == key
        self.total.add(amount)
        self.items.put(item, amount)
        self.all.add(Row(item=item))
        self.fading.update(amount)
        ctx.timer_service().register_processing_time_timer(1_000)


class Report(Handles, KeyedProcessFunction, CheckpointedFunction):
    """Says what it has for the key of a record, and when a timer fires."""

    def initialize_state(self, context: Any) -> None:
        store = context.get_operator_state_store()
        self.buffer = store.get_list_state(ListStateDescriptor("buffer", int)).get()
        self.known = store.get_union_list_state(ListStateDescriptor("known", str)).get()

    def snapshot_state(self, context: Any) -> None:
        pass

    def process_element(self, value: str, ctx: Any) -> Iterator[Any]:
        yield (
            value,
            self.total.get(),
            dict(self.items.items()),
            [row.item for row in self.all.get()],
            self.fading.value(),
        )

    def on_timer(self, timestamp: int, ctx: Any) -> Iterator[Any]:
        yield "timer", ctx.get_current_key(), timestamp


def savepoint_of(orders: list[Order], path: Path) -> str:
    return (
        SavepointWriter.new()
        .with_keyed_state("report", orders, lambda order: order[0], Fill(), Types.STRING())
        .with_list_state("report", ListStateDescriptor("buffer", int), [1, 2, 3])
        .with_union_list_state("report", ListStateDescriptor("known", str), ["u"])
        .write(str(path))
    )


@pytest.mark.parametrize("parallelism", [1, 3])
@pytest.mark.parametrize("backend", ["hashmap", "rocksdb"])
def test_a_job_starts_from_a_savepoint_that_was_made_of_data(
    backend: str, parallelism: int, tmp_path: Path
) -> None:
    path = savepoint_of(ORDERS, tmp_path / "sp")
    source: ManualSource[str] = ManualSource()
    env = StreamExecutionEnvironment.get_execution_environment()
    env.configure({"state.backend.type": backend})
    env.set_parallelism(parallelism).enable_checkpointing(60_000)
    stream = env.from_source(source, WatermarkStrategy.no_watermarks(), "keys", Types.STRING())
    with MiniCluster() as cluster:
        keyed = stream.key_by(lambda key: key, Types.STRING())
        output = cluster.collect(keyed.process(Report()).uid("report"))
        job = cluster.start(env, restore_from=path)
        source.batch(["a", "b", "c"])
        checkpoint = job.trigger_checkpoint()
        assert sorted(output.records) == [
            ("a", 4, {"x": 1, "z": 3}, ["x", "z"], 3),
            ("b", 2, {"y": 2}, ["y"], 2),
            ("c", None, {}, [], None),
        ]
        with state_reader.open(checkpoint) as snapshot:
            buffer = snapshot.operator("report").state("buffer")
            known = snapshot.operator("report").state("known")
            assert isinstance(buffer, OperatorState)
            assert isinstance(known, OperatorState)
            assert sorted(item.value for item in buffer.items()) == [1, 2, 3]
            assert [item.value for item in known.items()] == ["u"] * parallelism
        job.advance_time(1_000)
        job.trigger_checkpoint()
        assert sorted(output.records[3:]) == [("timer", "a", 1_000), ("timer", "b", 1_000)]


class Put(KeyedStateBootstrapFunction[tuple[Any, Any]]):
    def open(self, runtime_context: RuntimeContext) -> None:
        self.state = runtime_context.get_state(ValueStateDescriptor("v", Types.LONG()))

    def process_element(self, value: tuple[Any, Any], ctx: KeyedStateBootstrapFunction.Context) -> None:
        self.state.update(value[1])


keys = st.one_of(st.text(max_size=3), st.integers(-5, 5), st.tuples(st.integers(0, 2), st.text(max_size=1)))


@settings(max_examples=25, deadline=None)
@given(st.dictionaries(keys, st.integers(-(2**63), 2**63 - 1), max_size=20), st.integers(1, 300))
def test_what_is_written_is_read_again(values: dict[Any, int], max_parallelism: int) -> None:
    with tempfile.TemporaryDirectory(prefix="millstream-test-writer-") as folder:
        writer = SavepointWriter.new(max_parallelism)
        path = writer.with_keyed_state("op", values.items(), lambda pair: pair[0], Put()).write(
            f"{folder}/sp"
        )
        with state_reader.open(path) as snapshot:
            state = snapshot.operator("op").keyed("v")
            assert {entry.key: entry.value for entry in state.entries()} == values
            assert all(state.value(key) == value for key, value in values.items())


def test_data_need_not_fit_into_memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bootstrap, "_CACHE_ENTRIES", 100)
    monkeypatch.setattr(bootstrap, "_BATCH", 50)
    held = 0

    class Watched(Put):
        def process_element(self, value: tuple[Any, Any], ctx: KeyedStateBootstrapFunction.Context) -> None:
            nonlocal held
            super().process_element(value, ctx)
            held = max(held, self.state._table.namespace(None).__len__())

    data = ((f"key-{number}", number) for number in range(5_000))
    path = (
        SavepointWriter.new()
        .with_keyed_state("op", data, lambda pair: pair[0], Watched())
        .write(str(tmp_path / "sp"))
    )
    assert held <= 150
    with state_reader.open(path) as snapshot:
        assert snapshot.operator("op").keyed("v").size().entries == 5_000


def test_an_existing_savepoint_is_changed_by_writing_another(totals: Totaling, tmp_path: Path) -> None:
    with totals() as job:
        taken = job.take(*ORDERS)
        writer = SavepointWriter.from_existing(taken).change_uid("totals", "sums")
        writer.with_keyed_state("more", [("k", 7)], lambda pair: pair[0], Put(), Types.STRING())
        writer.with_broadcast_state("rules", MapStateDescriptor("rule", str, int), {"limit": 3})
        path = writer.remove_operator("rules").write(str(tmp_path / "changed"))
        before = state_reader.open(taken)
    with before, state_reader.open(path) as after:
        assert (after.job_id, after.checkpoint_id) == (before.job_id, before.checkpoint_id)
        uids = {operator.uid for operator in after.operators()}
        assert uids == {None, "sums", "more"}
        assert after.operator("sums").keyed("total").value("a") == 4
        assert sorted(e.value for e in after.operator("sums").keyed("items").entries()) == [1, 2, 3]
        assert after.operator("more").keyed("v").value("k") == 7
        splits = after.operator("Source: records").state("splits")
        assert isinstance(splits, OperatorState)
        assert [item.value[-1] for item in splits.items()] == [3]


def test_a_renamed_operator_goes_on_with_its_state(totals: Totaling, tmp_path: Path) -> None:
    with totals() as job:
        path = (
            SavepointWriter.from_existing(job.take(*ORDERS))
            .change_uid("totals", "old")
            .write(str(tmp_path / "1"))
        )
    path = SavepointWriter.from_existing(path).change_uid("old", "totals").write(str(tmp_path / "2"))
    moved = tmp_path / "moved"
    Path(path).rename(moved)  # a savepoint is its folder
    with (
        totals(restore_from=str(moved)) as job,
        state_reader.open(job.take(*ORDERS, ("a", "w", 10))) as snapshot,
    ):
        assert snapshot.operator("totals").keyed("total").value("a") == 14


class PutMore(Put):
    def open(self, runtime_context: RuntimeContext) -> None:
        super().open(runtime_context)
        self.total = runtime_context.get_state(ValueStateDescriptor("total", int))

    def process_element(self, value: tuple[Any, Any], ctx: KeyedStateBootstrapFunction.Context) -> None:
        super().process_element(value, ctx)
        self.total.update(value[1])


def test_state_that_the_program_does_not_ask_for_is_carried_on_and_can_be_read(
    totals: Totaling, tmp_path: Path
) -> None:
    data = [(f"key-{number}", number) for number in range(50)]
    writer = SavepointWriter.new().with_keyed_state(
        "totals", data, lambda pair: pair[0], PutMore(), Types.STRING()
    )
    path = writer.write(str(tmp_path / "sp"))
    with totals(restore_from=path) as job, state_reader.open(job.take(("key-1", "x", 1))) as snapshot:
        carried = snapshot.operator("totals").keyed("v")
        assert carried.size().entries == 50
        assert {entry.key: entry.value for entry in carried.entries()} == dict(data)
        assert carried.value("key-7") == 7
        assert snapshot.operator("totals").keyed("total").value("key-1") == 2


def test_broadcast_state_is_written_and_read(tmp_path: Path) -> None:
    rules = MapStateDescriptor("rule", str, int)
    path = (
        SavepointWriter.new().with_broadcast_state("rules", rules, {"limit": 3}).write(str(tmp_path / "sp"))
    )
    with state_reader.open(path) as snapshot:
        state = snapshot.operator("rules").state("rule")
        assert isinstance(state, OperatorState)
        assert [(item.map_key, item.value) for item in state.items()] == [("limit", 3)]
        assert state.value_type == "MAP(STRING, LONG)"


def test_what_does_not_fit_is_refused_and_leaves_nothing(tmp_path: Path) -> None:
    path = tmp_path / "sp"
    writer = SavepointWriter.new()
    writer.with_keyed_state("op", [(1, 1)], lambda pair: pair[0], Put(), Types.STRING())
    with pytest.raises(InvalidKeyError, match="as declared"):
        writer.write(str(path))
    bad = SavepointWriter.new().with_keyed_state("op", [(1, "text")], lambda pair: pair[0], Put())
    with pytest.raises(RecordSerializationError, match="LONG"):
        bad.write(str(path))
    assert not path.exists()


def test_a_failing_storage_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: Any) -> Any:
        raise CheckpointError(CheckpointFailureReason.STORAGE, "full")

    monkeypatch.setattr(StorageStreams, "write_exclusive", full)
    with pytest.raises(CheckpointError, match="full"):
        savepoint_of(ORDERS, tmp_path / "sp")
    assert not (tmp_path / "sp").exists()


def test_nothing_is_written_over_and_no_operator_twice(tmp_path: Path) -> None:
    (tmp_path / "sp").mkdir()
    (tmp_path / "sp" / "letter.txt").write_text("mine")
    with pytest.raises(CheckpointError, match="where there is something already"):
        savepoint_of(ORDERS, tmp_path / "sp")
    assert (tmp_path / "sp" / "letter.txt").read_text() == "mine"
    path = savepoint_of(ORDERS, tmp_path / "other")
    with pytest.raises(StateError, match="'report' has state already"):
        SavepointWriter.from_existing(path).with_list_state("report", ListStateDescriptor("x", int), [1])
    with pytest.raises(StateError, match="no operator of the uid or id 'sums'"):
        SavepointWriter.from_existing(path).remove_operator("sums")
    with pytest.raises(StateError, match="max parallelism of 0"):
        SavepointWriter.new(0)


def test_a_damaged_file_is_not_copied(totals: Totaling, tmp_path: Path) -> None:
    with totals() as job:
        taken = Path(job.take(*ORDERS))
        victim = max((p for p in taken.parent.rglob("a*-*") if p.is_file()), key=lambda p: p.stat().st_size)
        content = bytearray(victim.read_bytes())
        content[len(content) // 2] ^= 1
        victim.write_bytes(content)
        with pytest.raises(CheckpointError, match="checksum"):
            SavepointWriter.from_existing(str(taken)).write(str(tmp_path / "sp"))
    assert not (tmp_path / "sp").exists()
