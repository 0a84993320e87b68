"""Broadcast state: filled in every subtask, read by the other stream, carried over restores at any parallelism."""

from __future__ import annotations

from operator import itemgetter

import pytest

from millstream.core.batch import RecordBatch
from millstream.core.errors import StateError
from millstream.core.types import Types
from millstream.operators.broadcast import BroadcastProcessSpec, KeyedBroadcastProcessSpec
from millstream.operators.broadcast_functions import BroadcastProcessFunction, KeyedBroadcastProcessFunction
from millstream.operators.functions import OutputTag
from millstream.state.descriptors import (
    ListStateDescriptor,
    MapStateDescriptor,
    ReducingStateDescriptor,
    ValueStateDescriptor,
)
from millstream.testing import TwoInputOperatorHarness

RULES = MapStateDescriptor("rules", Types.STRING(), Types.LONG())
OTHER = MapStateDescriptor("other", Types.STRING(), Types.LONG())
TOTAL = ValueStateDescriptor("total", int)
SEEN = MapStateDescriptor("seen", int, int)
LOG = ListStateDescriptor("log", int)
SUM = ReducingStateDescriptor("sum", lambda a, b: a + b, int)
TOLD = OutputTag("told")


class Rules(BroadcastProcessFunction):
    def process_element(self, value, ctx):
        rules = ctx.get_broadcast_state(RULES)
        yield value, rules.get(value), rules.contains(value), sorted(rules.items()), rules.is_empty()

    def process_broadcast_element(self, value, ctx):
        rules = ctx.get_broadcast_state(RULES)
        match value:
            case "put", key, number:
                rules.put(key, number)
            case "put_all", entries:
                rules.put_all(entries)
            case "remove", key:
                rules.remove(key)
            case "clear":
                rules.clear()
        yield TOLD, value


def test_what_is_broadcast_is_seen_by_every_subtask_after_every_restore(start) -> None:
    h = start(BroadcastProcessSpec(Rules(), (RULES,)))
    h.element1("a")
    h.element2(("put", "a", 1))
    h.element2(("put_all", {"b": 2, "c": 3}))
    h.pause()
    h.element2(("remove", "b"))
    h.element2(("remove", "b"))
    h.pause()
    for subtask in range(len(h.operators)):
        h.process(_batch("a"), subtask)
    wanted = ("a", 1, True, [("a", 1), ("c", 3)], False)
    assert h.results == [("a", None, False, [], True), *[wanted] * len(h.operators)]
    h.element2("clear")
    h.pause()
    h.element1("a")
    assert h.results[-1] == ("a", None, False, [], True)


def _batch(*values):
    return RecordBatch(list(values), [0] * len(values))


@pytest.mark.parametrize("parallelisms", [(1, 3), (3, 1), (2, 5), (4, 4)])
def test_each_subtask_takes_one_copy_at_another_parallelism(parallelisms) -> None:
    before, after = parallelisms
    with TwoInputOperatorHarness(BroadcastProcessSpec(Rules(), (RULES,)), parallelism=before) as first:
        first.element2(("put", "a", 1))
        first.element2(("put", "b", 2))
        with first.restored(parallelism=after) as h:
            for subtask in range(after):
                h.process(_batch("a"), subtask)
            assert h.results == [("a", 1, True, [("a", 1), ("b", 2)], False)] * after
            assert sum(len(s.lists["broadcast:function-map:rules"]) for s in h.snapshot()) == after


class Wrong(BroadcastProcessFunction):
    def process_element(self, value, ctx):
        if value == "undeclared":
            ctx.get_broadcast_state(OTHER)
        state = ctx.get_broadcast_state(RULES)
        match value:
            case "put":
                state.put("a", 1)
            case "put_all":
                state.put_all({"a": 1})
            case "remove":
                state.remove("a")
            case "clear":
                state.clear()

    def process_broadcast_element(self, value, ctx):
        if value == "undeclared":
            ctx.get_broadcast_state(OTHER)
        ctx.get_broadcast_state(RULES).put(value, 1)


@pytest.mark.parametrize("action", ["put", "put_all", "remove", "clear"])
def test_writing_on_the_other_side_is_an_error(start, action) -> None:
    h = start(BroadcastProcessSpec(Wrong(), (RULES,)))
    with pytest.raises(StateError, match="read-only"):
        h.element1(action)


def test_an_undeclared_state_is_an_error_that_names_the_declared_ones(start) -> None:
    h = start(BroadcastProcessSpec(Wrong(), (RULES,)))
    for element in (h.element1, h.element2):
        with pytest.raises(StateError, match="'other' was not declared; declared are 'rules'"):
            element("undeclared")


@pytest.mark.parametrize("key", [None, []])
def test_what_cannot_be_a_key_is_refused(start, key) -> None:
    h = start(BroadcastProcessSpec(Wrong(), (RULES,)))
    with pytest.raises(StateError, match="rules"):
        h.element2(key)


def test_a_state_restored_under_another_type_is_refused() -> None:
    with TwoInputOperatorHarness(BroadcastProcessSpec(Rules(), (RULES,))) as h:
        h.element2(("put", "a", 1))
        changed = MapStateDescriptor("rules", Types.STRING(), Types.STRING())
        h.spec = BroadcastProcessSpec(Rules(), (changed,))
        with pytest.raises(
            StateError, match=r"'rules': the restored state has the type LONG, the job STRING"
        ):
            h.restored()


class KeyedRules(KeyedBroadcastProcessFunction):
    """Adds numbers per key; a broadcast record changes or reads what all keys have."""

    def open(self, runtime_context):
        self.total = runtime_context.get_state(TOTAL)
        self.seen = runtime_context.get_map_state(SEEN)
        self.log = runtime_context.get_list_state(LOG)
        self.sum = runtime_context.get_reducing_state(SUM)

    def process_element(self, value, ctx):
        factor = ctx.get_broadcast_state(RULES).get("factor") or 1
        self.total.update((self.total.value() or 0) + value[1] * factor)
        self.seen.put(value[1], 1)
        self.log.add(value[1])
        self.sum.add(value[1])
        ctx.timer_service().register_event_time_timer(ctx.timestamp() + 100)
        yield ctx.get_current_key(), self.total.value(), ctx.current_watermark() < 0

    def process_broadcast_element(self, value, ctx):
        match value:
            case "factor", number:
                ctx.get_broadcast_state(RULES).put("factor", number)
            case "add", number:
                ctx.apply_to_keyed_state(TOTAL, lambda _, state: state.update(state.value() + number))
            case "tell":
                found = []
                ctx.apply_to_keyed_state(TOTAL, lambda key, state: found.append((key, state.value())))
                ctx.apply_to_keyed_state(SEEN, lambda key, state: found.append((key, sorted(state.items()))))
                ctx.apply_to_keyed_state(LOG, lambda key, state: found.append((key, state.get())))
                ctx.apply_to_keyed_state(SUM, _Teller(found))
                yield from found
            case "forget":
                for descriptor in (TOTAL, SEEN, LOG, SUM):
                    ctx.apply_to_keyed_state(descriptor, lambda _, state: state.clear())
            case "state":
                self.total.value()
            case "map":
                self.seen.get(1)

    def on_timer(self, timestamp, ctx):
        yield "timer", ctx.get_current_key(), timestamp, ctx.get_broadcast_state(RULES).get("factor")


class _Teller:
    def __init__(self, found):
        self.found = found

    def process(self, key, state):
        self.found.append((key, state.get()))


def keyed():
    return KeyedBroadcastProcessSpec(itemgetter(0), Types.STRING(), KeyedRules(), (RULES,))


def test_a_broadcast_record_reaches_the_state_of_all_keys(start) -> None:
    h = start(keyed())
    h.element2(("factor", 10))
    h.batch1([("a", 1), ("b", 2), ("a", 3)], [0, 0, 0])
    assert sorted(h.results) == [("a", 10, True), ("a", 40, True), ("b", 20, True)]
    h.pause()
    h.element2(("add", 5))
    h.pause()
    h.element2("tell")
    told = sorted(map(repr, h.results[3:]))
    assert told == sorted(
        map(
            repr,
            [
                ("a", 45),
                ("b", 25),
                ("a", [(1, 1), (3, 1)]),
                ("b", [(2, 1)]),
                ("a", [1, 3]),
                ("b", [2]),
                ("a", 4),
                ("b", 2),
            ],
        )
    )
    h.element2("forget")
    h.watermark(1000)
    assert sorted(h.results[11:]) == [("timer", "a", 100, 10), ("timer", "b", 100, 10)]
    assert h.state_entries() == 0


@pytest.mark.parametrize("kind", ["state", "map"])
def test_keyed_state_cannot_be_used_for_a_broadcast_record(start, kind) -> None:
    h = start(keyed())
    h.element1(("a", 1), ts=0)
    with pytest.raises(StateError, match="apply_to_keyed_state"):
        h.element2(kind)
