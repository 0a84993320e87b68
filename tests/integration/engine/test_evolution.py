"""A job whose records have got other fields goes on from its checkpoint, with values, lists, windows and join buffers of before."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from millstream import (
    JobExecutionError,
    KeyedProcessFunction,
    ListStateDescriptor,
    ProcessJoinFunction,
    ProcessWindowFunction,
    StreamExecutionEnvironment,
    TumblingEventTimeWindows,
    ValueStateDescriptor,
    WatermarkStrategy,
)
from millstream.connectors.datagen import DataGeneratorSource, RateLimiterStrategy
from tests.integration.engine.harness import Workshop, wait_until
from tests.integration.engine.test_two_inputs import completed, to_files

KEYS = 5
END = 10**9
MORE = 600  # events of the second run


def order_class(*fields: Any) -> Any:
    made = dataclasses.make_dataclass("Order", fields)
    made.__module__, made.__qualname__ = "orders", "Order"
    return made


def first_version() -> tuple[Any, Callable[[int], Any]]:
    order = order_class(("key", int), ("at", int), ("gone", str))
    return order, lambda index: order(index % KEYS, index, "gone")


def second_version() -> tuple[Any, Callable[[int], Any]]:
    order = order_class(("note", str, "old"), ("at", int, 0), ("key", int, 0))
    return order, lambda index: order("new", index, index % KEYS)


def wrong_version() -> tuple[Any, Callable[[int], Any]]:
    order = order_class(("key", int), ("at", str))
    return order, lambda index: order(index % KEYS, str(index))


class Keeping(KeyedProcessFunction[int, Any, Any]):
    """At the end each key tells the notes of the first order and of all orders."""

    def __init__(self, order: Any) -> None:
        self.order = order

    def open(self, runtime_context: Any) -> None:
        self.first = runtime_context.get_state(ValueStateDescriptor("first", self.order))
        self.all = runtime_context.get_list_state(ListStateDescriptor("all", self.order))

    def process_element(self, value: Any, ctx: Any) -> Iterator[Any]:
        if self.first.value() is None:
            self.first.update(value)
        self.all.add(value)
        ctx.timer_service().register_event_time_timer(END)
        yield from ()

    def on_timer(self, timestamp: int, ctx: Any) -> Iterator[Any]:
        yield "kept", ctx.get_current_key(), self.first.value().note, notes(self.all)


class Notes(ProcessWindowFunction[Any, Any, int, Any]):
    def process(self, key: int, context: Any, elements: Any) -> Iterator[Any]:
        yield "window", key, notes(elements)


class First(ProcessJoinFunction[Any, Any, Any]):
    """Pairs of the first order of each key with the last ones, which come in the second run."""

    def process_element(self, left: Any, right: Any, ctx: Any) -> Iterator[Any]:
        yield "joined", left.key, left.note, right.note


def notes(orders: Any) -> list[tuple[int, str]]:
    return sorted((order.at, order.note) for order in orders)


def program(
    env: StreamExecutionEnvironment,
    version: tuple[Any, Callable[[int], Any]],
    per_second: int | None,
    events: int,
) -> Any:
    order, make = version
    limit = () if per_second is None else (RateLimiterStrategy.per_second(per_second),)
    by_time = WatermarkStrategy.for_monotonous_timestamps().with_timestamp_assigner(
        lambda value, _: int(value.at)
    )
    source = env.from_source(DataGeneratorSource(make, events, *limit), by_time, "orders", order)
    keyed = source.key_by(lambda value: value.key)
    early, late = (
        source.filter(lambda value: int(value.at) < KEYS).key_by(lambda value: value.key),
        source.filter(lambda value: int(value.at) >= events - KEYS).key_by(lambda value: value.key),
    )
    return keyed.process(Keeping(order)).union(
        keyed.window(TumblingEventTimeWindows.of(END)).process(Notes()),
        early.interval_join(late).between(0, END).process(First()),
    )


def run(workshop: Workshop, parallelism: int, backend: str, **changes: str) -> StreamExecutionEnvironment:
    settings = {
        "state_backend_type": backend,
        "execution_checkpointing_externalized__checkpoint__retention": "RETAIN_ON_CANCELLATION",
        **changes,
    }
    env = StreamExecutionEnvironment.get_execution_environment(workshop.configuration(**settings))
    return env.set_parallelism(parallelism)


@pytest.mark.parametrize(
    ("parallelisms", "backend"),
    [
        pytest.param((2, 1), "rocksdb"),
        pytest.param((1, 2), "hashmap"),
        pytest.param((2, 2), "rocksdb", marks=pytest.mark.slow),
        pytest.param((2, 3), "hashmap", marks=pytest.mark.slow),
    ],
)
def test_a_job_goes_on_with_other_fields_and_refuses_other_types(
    workshop: Workshop, parallelisms: tuple[int, int], backend: str
) -> None:
    before, after = parallelisms
    events = MORE
    env = run(workshop, before, backend)
    to_files(workshop, program(env, first_version(), 300, events))
    client = env.execute_async("first")
    wait_until(lambda: completed(client) >= 3, "three checkpoints")
    client.cancel().result(30)
    checkpoint = str(workshop.complete()[-1])

    env = run(workshop, after, backend, execution_savepoint_path=checkpoint, restart__strategy_type="none")
    to_files(workshop, program(env, wrong_version(), None, events))
    with pytest.raises(JobExecutionError) as caught:
        env.execute("wrong")
    assert "the field 'at' of RECORD(orders:Order) was LONG and is STRING" in str(caught.value.__cause__)

    env = run(workshop, after, backend, execution_savepoint_path=checkpoint)
    to_files(workshop, program(env, second_version(), None, events))
    env.execute("second")
    check([eval(line) for line in workshop.committed().elements()], events)


def check(found: list[Any], events: int) -> None:
    """No order is missing; the first run has read some of them, and everybody agrees on which."""
    kept = {key: (first, all_of) for kind, key, *rest in found if kind == "kept" for first, all_of in [rest]}
    windows = {key: rest[0] for kind, key, *rest in found if kind == "window"}
    assert sorted(kept) == sorted(windows) == list(range(KEYS))
    for key, (first, all_of) in kept.items():
        assert all_of == windows[key]
        assert [at for at, _ in all_of] == list(range(key, events, KEYS))
        assert first == all_of[0][1] == "old"
        assert all_of[-1][1] == "new"
        assert {note for _, note in all_of} == {"old", "new"}
    joined = [rest for kind, *rest in found if kind == "joined"]
    assert sorted(joined) == [[key, "old", "new"] for key in range(KEYS)]
