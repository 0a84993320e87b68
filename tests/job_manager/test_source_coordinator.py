import threading
from dataclasses import dataclass

import pytest

from millstream.connectors.base import Boundedness
from millstream.core.clock import ManualClock
from millstream.core.errors import ConnectorError, StateError
from millstream.runtime.graph.job_graph import ChainedOperator, JobVertex
from millstream.runtime.job_manager.source_coordinator import SourceCoordinator, SourceCoordinators


@dataclass(frozen=True)
class Split:
    split_id: str


class Enumerator:
    """Does what the test put into `script`, by method name; remembers its calls."""

    def __init__(self, source, context, restored):
        self.source, self.context, self.calls = source, context, [("restored", restored)]

    def __getattr__(self, name):
        def call(*arguments):
            self.calls.append((name, *arguments))
            action = self.source.script.get(name)
            return action(self.context, *arguments) if action else b"state"

        return call


class ScriptedSource:
    boundedness = Boundedness.CONTINUOUS_UNBOUNDED

    def __init__(self, **script):
        self.script = script
        self.enumerator = None

    def create_enumerator(self, context, restored):
        self.enumerator = Enumerator(self, context, restored)
        return self.enumerator

    def encode_split(self, split):
        return split.split_id.encode()

    def decode_split(self, data):
        return Split(data.decode())


class Bench:
    def __init__(self, **script):
        self.source = ScriptedSource(**script)
        self.sent, self.failures = [], []
        self.woken, self.clock = threading.Event(), ManualClock()
        operator = ChainedOperator("op", "Numbers", None, None, None, source=self.source)
        self.vertex = JobVertex("v", 3, "Source: Numbers", (operator,), 2, 128, "default")
        self.coordinator = SourceCoordinator(
            self.vertex,
            send=lambda subtask, splits, *, no_more: self.sent.append((subtask, splits, no_more)),
            send_event=lambda subtask, event: self.sent.append((subtask, event)),
            fail=self.failures.append,
            wake=self.woken.set,
            clock=self.clock,
        )

    def outcome(self):
        assert self.woken.wait(20)
        self.woken.clear()
        assert self.coordinator.step(self.clock.monotonic_ms())


def test_splits_travel_encoded_to_the_reader_they_were_given_to():
    def assign(context, subtask):
        context.assign_splits({subtask: [Split("a"), Split("b")], 0: []})
        context.signal_no_more_splits(subtask)

    bench = Bench(add_reader=assign)
    bench.coordinator.start(None, None)
    bench.coordinator.add_reader(1)
    assert bench.sent == [("3/1", [b"a", b"b"], False), ("3/1", [], True)]
    assert bench.coordinator.parallelism == 2


def test_a_restored_enumerator_gets_its_state_and_all_splits_back_after_its_start():
    bench = Bench()
    bench.coordinator.start(b"old", [b"x", b"y"])
    assert bench.source.enumerator.calls == [
        ("restored", b"old"),
        ("start",),
        ("add_splits_back", [Split("x"), Split("y")]),
    ]
    assert bench.coordinator.snapshot(4) == b"state"


@pytest.mark.parametrize(
    ("error", "recoverable"),
    [
        (ConnectorError("no such topic"), False),
        (ConnectorError("broker away", retryable=True), True),
        (ValueError("a bug"), True),
    ],
)
def test_trouble_of_an_enumerator_fails_the_job_naming_the_source(error, recoverable):
    def raising(*_):
        raise error

    bench = Bench(start=raising)
    bench.coordinator.start(None, None)
    (failure,) = bench.failures
    assert failure.error is error
    assert failure.recoverable is recoverable
    assert "Numbers" in error.__notes__[0]
    bench.coordinator.add_reader(0)  # nothing is asked of it any more
    assert bench.coordinator.snapshot(1) is None
    bench.coordinator.close()
    assert [name for name, *_ in bench.source.enumerator.calls] == ["restored", "start", "close"]


def test_state_of_another_source_is_an_error_with_the_way_out_that_no_restart_cures():
    bench = Bench()
    bench.coordinator.start(b"old", [b"\xff"])
    [failure] = bench.failures
    assert isinstance(failure.error, StateError)
    assert "cannot begin with its restored state: UnicodeDecodeError" in str(failure.error)
    assert "another uid" in failure.error.fix
    assert not failure.recoverable


def test_blocking_work_runs_elsewhere_and_its_result_comes_back_to_the_loop():
    threads = []

    def discover(context):
        context.call_async(
            lambda: threads.append(threading.current_thread()) or ["p0"],
            lambda found: context.assign_splits({0: [Split(name) for name in found]}),
        )

    bench = Bench(start=discover)
    bench.coordinator.start(None, None)
    bench.outcome()
    assert threads[0] is not threading.current_thread()
    assert bench.sent == [("3/0", [b"p0"], False)]
    bench.coordinator.close()


def test_periodic_work_is_repeated_after_its_period():
    results = []

    def discover(context):
        context.call_async(lambda: len(results), results.append, period_ms=100)

    bench = Bench(start=discover)
    bench.coordinator.start(None, None)
    bench.outcome()
    assert bench.coordinator.next_deadline_ms() == 100
    assert not bench.coordinator.step(99)
    bench.clock.advance(100)
    assert bench.coordinator.step(100)
    bench.outcome()
    assert results == [0, 1]
    bench.coordinator.close()
    assert bench.coordinator.next_deadline_ms() is None


def test_an_exception_in_blocking_work_fails_the_job():
    def discover(context):
        context.call_async(lambda: 1 // 0, lambda _: None)

    bench = Bench(start=discover)
    bench.coordinator.start(None, None)
    bench.outcome()
    assert isinstance(bench.failures[0].error, ZeroDivisionError)
    bench.coordinator.close()


def test_what_comes_back_after_the_end_of_the_attempt_is_not_heard():
    release, results = threading.Event(), []

    def discover(context):
        context.call_async(lambda: release.wait(20), results.append)

    bench = Bench(start=discover)
    bench.coordinator.start(None, None)
    bench.coordinator.close()
    release.set()
    assert bench.woken.wait(20)
    assert not bench.coordinator.step(0)
    assert results == []


def test_one_that_does_not_close_cleanly_is_logged_and_no_failure(caplog):
    def raising(*_):
        raise OSError("still busy")

    bench = Bench(close=raising)
    bench.coordinator.start(None, None)
    bench.coordinator.close()
    bench.coordinator.close()
    assert "still busy" in caplog.text
    assert bench.failures == []


def test_a_snapshot_of_all_sources_is_missing_when_one_has_failed():
    def raising(*_):
        raise ValueError

    good, bad, announcements = Bench(), Bench(snapshot_state=raising), []
    benches = {3: good, 4: bad}
    bad.vertex = JobVertex("w", 4, "x", bad.vertex.operators, 1, 128, "default")
    coordinators = SourceCoordinators(lambda vertex: benches[vertex.index].coordinator, announcements.append)
    coordinators.start([good.vertex, bad.vertex], {}, {}, now_ms=0)
    assert coordinators.snapshot(1) is None
    assert len(bad.failures) == 1
    coordinators.close()
    assert coordinators.snapshot(2) == {}
