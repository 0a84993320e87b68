"""Operator state of user functions: shared out, united or copied when a job is restored at another parallelism."""

from __future__ import annotations

from collections import Counter
from operator import itemgetter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from millstream.core.batch import RecordBatch
from millstream.core.errors import RecordSerializationError, StateError
from millstream.core.types import Row, Types
from millstream.operators.checkpointed import CheckpointedFunction
from millstream.operators.co_functions import CoMapFunction
from millstream.operators.co_process import CoProcessSpec, OnCoMap
from millstream.operators.functions import MapFunction, ProcessFunction, ReduceFunction
from millstream.operators.keyed import ReduceSpec
from millstream.operators.operator_state import OperatorStateStore
from millstream.operators.process import ProcessSpec
from millstream.operators.stateless import FilterSpec, MapSpec
from millstream.state.descriptors import ListStateDescriptor, MapStateDescriptor, ValueStateDescriptor
from millstream.testing import OperatorHarness, TwoInputOperatorHarness

BUFFER = ListStateDescriptor("buffer", int)
OFFSETS = ListStateDescriptor("offsets", Types.TUPLE([Types.STRING(), Types.LONG()]))
CONFIG = MapStateDescriptor("config", str, int)


class Buffering(ProcessFunction):
    """Holds records back in list state until a negative one comes."""

    def initialize_state(self, context):
        self.state = context.get_operator_state_store().get_list_state(BUFFER)
        self.buffer = list(self.state.get())
        self.restored = context.is_restored()
        self.events = ["initialize"]

    def open(self, runtime_context):
        self.events.append("open")

    def process_element(self, value, ctx):
        if value >= 0:
            self.buffer.append(value)
            return
        yield self.restored, self.events, sorted(self.buffer)

    def snapshot_state(self, context):
        assert context.get_checkpoint_id() > 0
        assert context.get_checkpoint_timestamp() >= 0
        self.state.update(self.buffer)


def flush_all(h: OperatorHarness) -> list[int]:
    for subtask in range(len(h.operators)):
        h.process(RecordBatch([-1]), subtask)
    return [value for _, _, values in h.results for value in values]


def test_initialize_state_comes_before_open_and_knows_of_the_restore() -> None:
    with OperatorHarness(ProcessSpec(Buffering())) as h:
        h.batch([3, 1, -1])
        with h.restored() as restored:
            restored.element(-1)
            assert restored.results == [
                (False, ["initialize", "open"], [1, 3]),
                (True, ["initialize", "open"], [1, 3]),
            ]


@settings(max_examples=50)
@given(st.lists(st.integers(0, 100)), st.integers(1, 4), st.integers(1, 4), st.integers(1, 4))
def test_items_of_a_list_each_go_to_one_subtask(values, first, second, third) -> None:
    h = OperatorHarness(ProcessSpec(Buffering()), parallelism=first)
    for index, value in enumerate(values):
        h.process(RecordBatch([value]), index % first)
    with h.restored(parallelism=second).restored(parallelism=third) as restored:
        assert Counter(flush_all(restored)) == Counter(values)


class Positions(ProcessFunction):
    """Every subtask tells what it was first given; all get what all told."""

    def initialize_state(self, context):
        store = context.get_operator_state_store()
        self.mine = store.get_union_list_state(OFFSETS)
        self.config = store.get_broadcast_state(CONFIG)
        self.before = sorted(self.mine.get())

    def process_element(self, value, ctx):
        self.mine.update([value])
        self.config.put("last", 7)
        yield self.before, self.config.get("last")

    def snapshot_state(self, context):
        """Everything is in the states already."""


def test_a_union_list_goes_in_full_and_a_broadcast_state_once_to_every_subtask() -> None:
    h = OperatorHarness(ProcessSpec(Positions()), parallelism=2)
    for subtask in range(2):
        h.process(RecordBatch([("p", subtask)]), subtask)
    with h.restored(parallelism=3) as restored:
        for subtask in range(3):
            restored.process(RecordBatch([("q", subtask)]), subtask)
        assert restored.results[2:] == [([("p", 0), ("p", 1)], 7)] * 3


class Numbering(MapFunction):
    """Fused into its chain, and still with state."""

    def initialize_state(self, context):
        self.state = context.get_operator_state_store().get_list_state(ListStateDescriptor("next", int))
        self.next = sum(self.state)

    def map(self, value):
        self.next += 1
        return self.next, value

    def snapshot_state(self, context):
        self.state.update([self.next])


def test_a_fused_function_keeps_its_state() -> None:
    with OperatorHarness(MapSpec(Numbering())) as h:
        h.batch("ab")
        with h.restored() as restored:
            restored.batch("c")
            assert restored.results == [(1, "a"), (2, "b"), (3, "c")]


class CoNumbering(CoMapFunction):
    def initialize_state(self, context):
        self.state = context.get_operator_state_store().get_list_state(ListStateDescriptor("next", int))
        self.next = sum(self.state)

    def map1(self, value):
        self.next += 1
        return self.next, value

    map2 = map1

    def snapshot_state(self, context):
        self.state.update([self.next])


def test_a_function_inside_one_of_ours_is_found() -> None:
    with TwoInputOperatorHarness(CoProcessSpec(OnCoMap(CoNumbering()))) as h:
        h.element1("a")
        with h.restored() as restored:
            restored.element2("b")
            assert restored.results == [(1, "a"), (2, "b")]


class CountingReduce(ReduceFunction):
    def initialize_state(self, context):
        self.state = context.get_operator_state_store().get_list_state(ListStateDescriptor("calls", int))
        self.calls = sum(self.state)

    def reduce(self, value1, value2):
        self.calls += 1
        return value1[0], self.calls

    def snapshot_state(self, context):
        self.state.update([self.calls])


def test_operator_state_lives_beside_keyed_state() -> None:
    spec = ReduceSpec(
        itemgetter(0), Types.STRING(), CountingReduce(), Types.TUPLE([Types.STRING(), Types.LONG()])
    )
    with OperatorHarness(spec, backend="rocksdb") as h:
        h.batch([("a", 0), ("a", 0), ("b", 0)])
        with h.restored() as restored:
            restored.batch([("b", 0), ("a", 0)])
            assert restored.results[3:] == [("b", 2), ("a", 3)]


def test_state_that_the_program_no_longer_asks_for_is_carried_on() -> None:
    with OperatorHarness(ProcessSpec(Buffering())) as h:
        h.batch([1, 2])
        h.spec = FilterSpec(bool)
        without = h.restored()
        without.spec = ProcessSpec(Buffering())
        with without.restored() as again:
            again.element(-1)
            assert again.results[-1][2] == [1, 2]


def test_a_plain_function_is_no_checkpointed_function() -> None:
    assert not isinstance(FilterSpec, CheckpointedFunction)
    assert not isinstance(len, CheckpointedFunction)
    with OperatorHarness(MapSpec(len)) as h:
        assert h.snapshot()[0].lists == {}


def test_a_class_given_as_a_function_is_not_taken_for_an_object_of_it() -> None:
    with OperatorHarness(MapSpec(CoNumbering)) as h:
        assert h.snapshot()[0].lists == {}


def test_the_names_in_a_checkpoint_are_stable() -> None:
    # Part of the format of checkpoints: never change them.
    store = OperatorStateStore({})
    store.get_list_state(ListStateDescriptor("a", int)).add(1)
    store.get_union_list_state(ListStateDescriptor("b", str)).add("x")
    store.get_broadcast_state(MapStateDescriptor("c", str, int)).put("k", 1)
    written = store.snapshot()
    assert set(written) == {
        "function-list:a",
        "union:schema:function-list:a",
        "union:function-list:b",
        "union:schema:union:function-list:b",
        "broadcast:function-map:c",
        "union:schema:broadcast:function-map:c",
        "union:schema:broadcast:function-map:c/keys",
    }
    again = OperatorStateStore({**written, "committables": [b"not ours"]})
    assert again.snapshot() == written
    assert again.get_list_state(ListStateDescriptor("a", int)).get() == [1]
    assert dict(again.get_broadcast_state(MapStateDescriptor("c", str, int)).items()) == {"k": 1}
    assert again.snapshot() == written


def test_asking_twice_gives_the_same_state() -> None:
    store = OperatorStateStore({})
    assert store.get_list_state(BUFFER) is store.get_list_state(ListStateDescriptor("buffer", int))
    with pytest.raises(StateError, match="declared twice"):
        store.get_list_state(ListStateDescriptor("buffer", str))
    with pytest.raises(StateError, match="declared twice"):
        store.get_union_list_state(BUFFER)
    with pytest.raises(StateError, match="declared twice"):
        store.get_broadcast_state(MapStateDescriptor("buffer", str, int))


@pytest.mark.parametrize(
    "ask",
    [
        lambda store: store.get_list_state(ValueStateDescriptor("x", int)),
        lambda store: store.get_union_list_state(MapStateDescriptor("x", int, int)),
        lambda store: store.get_broadcast_state(ListStateDescriptor("x", int)),
    ],
)
def test_a_descriptor_of_another_kind_is_refused(ask) -> None:
    with pytest.raises(StateError, match=r"declare it with a (List|Map)StateDescriptor"):
        ask(OperatorStateStore({}))


def test_lists_hold_no_none_and_values_of_their_type_alone() -> None:
    store = OperatorStateStore({})
    state = store.get_list_state(BUFFER)
    with pytest.raises(StateError, match="None"):
        state.add(None)
    state.add_all([1, 2])
    state.clear()
    assert state.get() == []
    state.add("three")
    with pytest.raises(RecordSerializationError):
        store.snapshot()


def test_a_list_restored_under_another_type_is_refused() -> None:
    store = OperatorStateStore({})
    store.get_list_state(BUFFER).add(1)
    with pytest.raises(
        StateError, match="the restored state has the type LONG, the job STRING: it was LONG and is STRING"
    ):
        OperatorStateStore(store.snapshot()).get_list_state(ListStateDescriptor("buffer", str))


def test_what_is_declared_as_rows_is_rows_before_a_restore_too() -> None:
    row_type = Types.ROW_NAMED(["n", "s"], [Types.LONG(), Types.STRING()])
    store = OperatorStateStore({})
    elements = store.get_list_state(ListStateDescriptor("list", row_type))
    elements.add((1, "x"))
    rules = store.get_broadcast_state(MapStateDescriptor("rules", Types.LONG(), row_type))
    rules.put(1, {"s": "x", "n": 1})
    row = Row.of_fields(("n", "s"), [1, "x"])
    assert elements.get() == [row]
    assert rules.get(1) == row
    restored = OperatorStateStore(store.snapshot())
    assert restored.get_list_state(ListStateDescriptor("list", row_type)).get() == [row]
