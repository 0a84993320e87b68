"""Asynchronous I/O in one subtask: what leaves when, what a checkpoint holds, how calls are repeated and given up."""

from __future__ import annotations

import asyncio
import functools
import queue
import threading
from collections import Counter
from concurrent.futures import Future

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from millstream.core.batch import WatermarkStatus
from millstream.core.errors import JobDefinitionError
from millstream.core.types import GENERIC, Types
from millstream.operators.async_functions import AsyncFunction
from millstream.operators.async_io import AsyncWaitSpec
from millstream.operators.async_retry import (
    NO_RETRY_STRATEGY,
    AsyncRetryPredicates,
    AsyncRetryStrategy,
    ExponentialBackoffDelayRetryStrategy,
    FixedDelayRetryStrategy,
    FixedDelayRetryStrategyBuilder,
)
from millstream.testing import OperatorHarness
from millstream.testing.harness import W


class Desk:
    """Where the user's function asks; the test answers, in any order. One per test, never copied."""

    def __init__(self) -> None:
        self.asked: Counter = Counter()
        self.cancelled: list = []
        self.answers: dict = {}
        self.closed = 0
        self._changed = threading.Condition()

    def __deepcopy__(self, memo):
        return self

    async def ask(self, value):
        future = Future()
        with self._changed:
            self.asked[value] += 1
            self.answers[value] = future
            self._changed.notify_all()
        try:
            return await asyncio.wrap_future(future)
        except asyncio.CancelledError:
            self.cancelled.append(value)
            raise

    def wait_for(self, value, times=1) -> Future:
        with self._changed:
            assert self._changed.wait_for(lambda: self.asked[value] >= times, timeout=10), (value, self.asked)
            return self.answers[value]

    def answer(self, *values) -> None:
        for value in values:
            self.wait_for(value).set_result([value])


class Asking(AsyncFunction):
    def __init__(self, desk) -> None:
        self.desk = desk

    async def async_invoke(self, value):
        return await self.desk.ask(value)

    def close(self) -> None:
        self.desk.closed += 1


class AskingPatiently(Asking):
    def timeout(self, value):
        return [("too late", value)]


@pytest.fixture
def desk():
    return Desk()


@pytest.fixture
def start(request):
    running = []

    def make(
        function, *, ordered=True, timeout_ms=0, capacity=100, strategy=NO_RETRY_STRATEGY, value_type=GENERIC
    ):
        spec = AsyncWaitSpec(function, value_type, ordered, timeout_ms, capacity, strategy)
        running.append(OperatorHarness(spec))
        return running[-1]

    yield make
    for harness in running:
        harness.close()


def results_of(h, count):
    h.run_until(lambda: len(h.results) >= count)
    return h.results


# ---- order


def test_ordered_results_leave_in_the_order_of_their_records_however_they_come(desk, start) -> None:
    h = start(Asking(desk))
    h.batch([1, 2, 3], [10, 20, 30])
    h.watermark(25)
    h.element(4, ts=40)
    desk.answer(4, 3, 2)
    desk.wait_for(1)
    assert h.output == []
    desk.answer(1)
    assert results_of(h, 4) == [1, 2, 3, 4]
    assert h.output == [1, 2, 3, W(25), 4]
    assert h.timestamps == [10, 20, 30, None, 40]


def test_unordered_results_leave_at_once_but_not_across_a_watermark(desk, start) -> None:
    h = start(Asking(desk), ordered=False)
    h.batch([1, 2], [1, 2])
    h.watermark(2)
    h.element(3, ts=3)
    desk.answer(3)
    desk.answer(2)
    assert results_of(h, 1) == [2]
    desk.answer(1)
    results_of(h, 3)
    assert h.output == [2, 1, W(2), 3]
    assert h.timestamps == [2, 1, None, 3]


@pytest.mark.parametrize("ordered", [True, False])
def test_control_elements_pass_when_nothing_is_under_way(desk, start, ordered) -> None:
    h = start(Asking(desk), ordered=ordered)
    h.watermark(1)
    h.status(idle=True)
    assert h.output == [W(1), WatermarkStatus(idle=True)]


@given(st.permutations(range(6)), st.sets(st.integers(1, 5)), st.booleans())
@settings(max_examples=15, deadline=None)
def test_whatever_the_order_of_answers_records_stay_between_their_watermarks(order, cuts, ordered) -> None:
    desk = Desk()
    h = OperatorHarness(AsyncWaitSpec(Asking(desk), GENERIC, ordered, 0, 100, NO_RETRY_STRATEGY))
    for value in range(6):
        if value in cuts:
            h.watermark(value)
        h.element(value, ts=value)
    desk.answer(*order)
    results_of(h, 6)
    h.close()
    if ordered:
        assert h.results == list(range(6))
    for cut in cuts:
        position = h.output.index(W(cut))
        assert {entry for entry in h.output[:position] if isinstance(entry, int)} == set(range(cut))


# ---- how functions may be written


def test_a_plain_coroutine_function_gives_any_number_of_results(start) -> None:
    async def repeat(value):
        return (value for _ in range(value)) if value else None

    h = start(repeat)
    h.batch([2, 0, 1])
    assert results_of(h, 3) == [2, 2, 1]
    assert h.operators[0].is_drained


def test_a_result_future_is_completed_from_any_thread_and_once(start) -> None:
    def ask(value, result_future):
        def answer():
            if value == "bad":
                result_future.complete_exceptionally(LookupError(value))
            result_future.complete([value, value])
            result_future.complete(["again"])

        threading.Thread(target=answer).start()

    h = start(ask)
    h.batch(["a", "b"])
    assert results_of(h, 4) == ["a", "a", "b", "b"]
    h.element("bad")
    with pytest.raises(LookupError, match="bad"):
        results_of(h, 5)


def test_an_answer_that_comes_when_the_task_has_ended_is_ignored(start) -> None:
    asked = queue.SimpleQueue()
    h = start(lambda value, result_future: asked.put(result_future))
    h.batch(["a", "b"])
    one, other = (asked.get(timeout=20) for _ in range(2))
    h.close()
    one.complete(["late"])
    other.complete_exceptionally(LookupError("late"))
    assert h.results == []


def test_all_methods_of_a_function_run_in_one_thread_with_a_running_event_loop(start) -> None:
    seen = []

    class Everywhere(AsyncFunction):
        def note(self) -> None:
            seen.append((threading.current_thread(), asyncio.get_running_loop()))

        async def open(self, runtime_context):
            self.index = runtime_context.get_index_of_this_subtask()
            self.note()

        async def async_invoke(self, value):
            self.note()
            return [(value, self.index)]

        async def close(self):
            self.note()

    h = start(Everywhere())
    h.element("x")
    assert results_of(h, 1) == [("x", 0)]
    h.close()
    assert len(seen) == 3
    assert len(set(seen)) == 1
    assert not seen[0][0].is_alive()


@pytest.mark.parametrize("result", ["text", b"bytes", 7])
def test_a_result_that_is_no_collection_is_refused(start, result) -> None:
    async def wrong(value):
        return result

    h = start(wrong)
    h.element(1)
    with pytest.raises(JobDefinitionError, match="which is no list of results"):
        results_of(h, 1)


def test_an_exception_fails_the_task_and_a_call_cancelled_from_inside_is_one(start) -> None:
    async def explode(value):
        if value == 1:
            raise KeyError(value)
        asyncio.current_task().cancel()
        await asyncio.Event().wait()

    for value, error in ((1, KeyError), (2, RuntimeError)):
        h = start(explode)
        h.element(value)
        with pytest.raises(error):
            results_of(h, 1)


def test_an_open_that_raises_leaves_no_thread(start) -> None:
    before = threading.active_count()

    class Broken(AsyncFunction):
        def open(self, runtime_context):
            raise OSError("no route")

        async def async_invoke(self, value):
            return []

    operator = AsyncWaitSpec(Broken(), GENERIC, True, 0, 1, NO_RETRY_STRATEGY).create()
    other = start(Asking(Desk()))
    with pytest.raises(OSError, match="no route"):
        operator.open(other._context(0, *_nothing()))
    operator.close()
    other.close()
    assert threading.active_count() == before


def _nothing():
    from millstream.state.handles import OperatorSnapshot

    return OperatorSnapshot(), {}


# ---- capacity


def test_no_more_records_are_asked_for_than_the_capacity_allows(desk, start) -> None:
    h = start(Asking(desk), capacity=2)
    (operator,) = h.operators
    assert operator.has_room
    h.element(1)
    assert operator.has_room
    h.batch([2, 3, 4])  # a batch is taken whole
    assert not operator.has_room
    desk.answer(2)
    h.run_until(lambda: operator._queue._entries[1].results is not None)
    assert desk.asked[3] == 0  # the result of 2 waits for 1 and takes its place meanwhile
    desk.answer(1)
    assert results_of(h, 2) == [1, 2]
    assert not operator.has_room
    desk.answer(4, 3)
    assert results_of(h, 4) == [1, 2, 3, 4]
    assert operator.has_room
    assert operator.is_drained


# ---- checkpoints


@pytest.mark.parametrize("ordered", [True, False])
@pytest.mark.parametrize("parallelism", [1, 3])
def test_what_is_under_way_is_asked_for_again_after_a_restore(desk, start, ordered, parallelism) -> None:
    h = start(Asking(desk), ordered=ordered, capacity=2, value_type=Types.STRING())
    values = ["a", "b", "c", "d", "e"]
    h.batch(values, range(5))
    desk.answer("a")
    results_of(h, 1)
    h = h.restored(parallelism=parallelism)
    assert desk.cancelled  # with the old attempt
    h.end_input()
    for count, value in enumerate(values[1:], 2):
        times = 2 if value in {"b", "c"} else 1
        desk.wait_for(value, times).set_result([value])
        results_of(h, count)
    assert sorted(h.results) == values
    assert sorted(time for time in h.timestamps if time is not None) == [0, 1, 2, 3, 4]
    assert all(operator.is_drained for operator in h.operators)
    assert all(snapshot.lists["async-requests"] == [] for snapshot in h.snapshot())
    if ordered and parallelism == 1:
        assert h.results == values
    h.close()


def test_a_result_that_came_before_the_barrier_is_not_asked_for_again(desk, start) -> None:
    h = start(Asking(desk), ordered=False)
    h.batch([1, 2])
    desk.answer(2)
    h.run_until(lambda: h.results == [2])
    h = h.restored()
    desk.wait_for(1, 2).set_result([1])
    assert results_of(h, 2) == [2, 1]
    assert desk.asked == {1: 2, 2: 1}
    h.close()


def test_closing_cancels_what_is_under_way_and_closes_the_function(desk, start) -> None:
    h = start(Asking(desk))
    h.batch([1, 2])
    desk.wait_for(2)
    h.close()
    assert sorted(desk.cancelled) == [1, 2]
    assert desk.closed == 1


# ---- timeouts


def test_a_record_whose_time_is_up_fails_the_task_by_default(desk, start) -> None:
    h = start(Asking(desk), timeout_ms=100)
    h.element("slow")
    desk.wait_for("slow")
    h.set_processing_time(99)
    assert desk.cancelled == []
    h.set_processing_time(100)
    with pytest.raises(TimeoutError, match="slow"):
        results_of(h, 1)
    assert desk.cancelled == ["slow"]


def test_a_timeout_may_give_results_instead_and_each_record_has_its_own_time(desk, start) -> None:
    h = start(AskingPatiently(desk), ordered=False, timeout_ms=100)
    h.element(1, ts=5)
    h.set_processing_time(60)
    h.element(2, ts=6)
    desk.wait_for(2)
    h.set_processing_time(110)
    assert results_of(h, 1) == [("too late", 1)]
    desk.answer(2)
    assert results_of(h, 2) == [("too late", 1), 2]
    h.set_processing_time(500)
    assert h.operators[0].is_drained
    assert h.timestamps == [5, 6]


def test_a_timeout_that_raises_fails_the_task(desk, start) -> None:
    class Strict(Asking):
        async def timeout(self, value):
            raise LookupError(value)

    h = start(Strict(desk), timeout_ms=10)
    h.element("x")
    desk.wait_for("x")
    h.set_processing_time(10)
    with pytest.raises(LookupError, match="x"):
        results_of(h, 1)


def test_a_result_future_s_timeout_completes_it(start) -> None:
    class Never:
        def async_invoke(self, value, result_future):
            pass

        def timeout(self, value, result_future):
            result_future.complete([("gave up", value)])

    h = start(Never(), timeout_ms=10)
    h.element(1)
    h.set_processing_time(10)
    assert results_of(h, 1) == [("gave up", 1)]


# ---- retries


class Flaky(AsyncFunction):
    """Answers with the number of the call once it has been asked often enough."""

    def __init__(self, desk, good) -> None:
        self.desk = desk
        self.good = good

    async def async_invoke(self, value):
        self.desk.asked[value] += 1
        if self.desk.asked[value] >= self.good:
            return [self.desk.asked[value]]
        if value == "empty":
            return []
        raise OSError(value)

    def timeout(self, value):
        return ["time is up"]


@pytest.mark.parametrize("value", ["empty", "error"])
def test_a_call_is_repeated_after_the_delay_as_often_as_the_strategy_says(desk, start, value) -> None:
    strategy = (
        FixedDelayRetryStrategyBuilder(3, 100)
        .if_result(AsyncRetryPredicates.empty_result_predicate)
        .if_exception(AsyncRetryPredicates.has_exception_predicate)
        .build()
    )
    h = start(Flaky(desk, good=3), strategy=strategy, timeout_ms=10_000)
    h.element(value)
    for retry in (1, 2):
        h.run_until(lambda retry=retry: retry * 100 in [at for at, _, _ in h._time._heap])
        assert desk.asked[value] == retry
        h.set_processing_time(retry * 100)
    assert results_of(h, 1) == [3]


def test_strategies_are_made_by_pyflink_s_functions_too() -> None:
    fixed = AsyncRetryStrategy.fixed_delay(2, 100, None, AsyncRetryPredicates.has_exception_predicate)
    assert [fixed.can_retry(attempts) for attempts in (1, 2, 3)] == [True, True, False]
    assert fixed.get_retry_predicate().exception_predicate()(OSError())
    growing = AsyncRetryStrategy.exponential_backoff(
        max_attempts=3,
        initial_delay=10,
        max_retry_delay=25,
        multiplier=2.0,
        result_predicate=None,
        exception_predicate=None,
    )
    assert [growing.get_backoff_time_millis(attempts) for attempts in (1, 2, 3)] == [10, 20, 25]
    assert not AsyncRetryStrategy.no_restart().can_retry(1)


def test_when_no_retry_is_left_the_last_outcome_counts(desk, start) -> None:
    strategy = FixedDelayRetryStrategy(
        1, 100, AsyncRetryPredicates.empty_result_predicate, lambda error: True
    )
    h = start(Flaky(desk, good=9), strategy=strategy, timeout_ms=10_000)
    h.batch(["empty", "error"])
    h.run_until(lambda: [at for at, _, _ in h._time._heap].count(100) == 2)
    h.set_processing_time(100)
    with pytest.raises(OSError, match="error"):
        h.run_until(lambda: False)
    assert desk.asked == {"empty": 2, "error": 2}


def test_an_exception_that_the_predicate_does_not_name_is_not_retried(desk, start) -> None:
    only_keys = functools.partial(AsyncRetryPredicates.exception_type_predicate, expected_error_type=KeyError)
    h = start(Flaky(desk, good=2), strategy=FixedDelayRetryStrategy(5, 1, None, only_keys), timeout_ms=100)
    h.element("error")
    with pytest.raises(OSError, match="error"):
        results_of(h, 1)
    assert desk.asked["error"] == 1


def test_the_time_of_a_record_runs_on_over_its_retries(desk, start) -> None:
    strategy = FixedDelayRetryStrategy(50, 100, None, AsyncRetryPredicates.has_exception_predicate)
    h = start(Flaky(desk, good=99), strategy=strategy, timeout_ms=250)
    h.element("error")
    for now_ms in (100, 200):
        h.run_until(lambda now_ms=now_ms: now_ms in [at for at, _, _ in h._time._heap])
        h.set_processing_time(now_ms)
    h.run_until(lambda: 300 in [at for at, _, _ in h._time._heap])
    h.set_processing_time(250)
    assert results_of(h, 1) == ["time is up"]
    h.set_processing_time(1_000)
    h.close()
    assert desk.asked["error"] == 3


def test_exponential_delays_grow_up_to_their_bound() -> None:
    strategy = ExponentialBackoffDelayRetryStrategy(4, 10, 45, 2.0)
    assert [strategy.get_backoff_time_millis(n) for n in (1, 2, 3, 4)] == [10, 20, 40, 45]
    assert [strategy.can_retry(n) for n in (4, 5)] == [True, False]
