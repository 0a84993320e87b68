"""A subtask behind the barrier of a savepoint that stops the job stands still, until the savepoint fails."""

from __future__ import annotations

from millstream.checkpoint.messages import NotifyCheckpointAborted, NotifyCheckpointComplete
from millstream.core.batch import CheckpointBarrier
from millstream.core.clock import ManualClock
from millstream.core.savepoints import SavepointTarget
from millstream.runtime.worker.processing_time import ProcessingTimeService
from millstream.runtime.worker.suspension import SuspendableTime, Suspension
from tests.worker.test_input_task import Bench, batch

STOP = SavepointTarget("/savepoints/one", stops=True)


def stopped() -> Bench:
    bench = Bench(1, 2)
    for channel in bench.channels:
        channel.put(CheckpointBarrier(3, 0, savepoint=STOP))
    assert bench.run() == [CheckpointBarrier(3, 0, savepoint=STOP)]
    bench.channels[0].put(batch("after"))
    return bench


def test_nothing_is_processed_behind_the_barrier_of_a_savepoint_that_stops_the_job() -> None:
    bench = stopped()
    assert bench.values() == []
    bench.task.notify(NotifyCheckpointComplete(3))
    assert bench.values() == []


def test_everything_goes_on_when_the_savepoint_fails() -> None:
    bench = stopped()
    bench.task.notify(NotifyCheckpointAborted(2))
    assert bench.values() == []
    bench.task.notify(NotifyCheckpointAborted(3))
    assert bench.values() == [(1, "after")]


def test_that_a_later_checkpoint_fails_says_the_same() -> None:
    bench = stopped()
    bench.task.notify(NotifyCheckpointAborted(4))
    assert bench.values() == [(1, "after")]


def test_a_plain_savepoint_holds_up_nothing() -> None:
    bench = Bench(1)
    bench.channels[0].put(CheckpointBarrier(3, 0, savepoint=SavepointTarget("/savepoints/one")))
    bench.channels[0].put(batch("after"))
    assert bench.values() == [(1, "after")]


def test_timers_that_come_due_meanwhile_wait_in_their_order() -> None:
    clock, suspension = ManualClock(), Suspension()
    service = ProcessingTimeService(clock)
    time = SuspendableTime(service, suspension)
    fired: list[tuple[str, int]] = []
    time.schedule(20, lambda now_ms: fired.append(("second", now_ms)))
    time.schedule(10, lambda now_ms: fired.append(("first", now_ms)))
    suspension.begin(3)
    clock.advance(30)
    service.run_due()
    assert fired == []
    suspension.abort(3)
    assert fired == [("first", 30), ("second", 30)]
    time.schedule(30, lambda now_ms: fired.append(("third", now_ms)))
    service.run_due()
    assert fired[2:] == [("third", 30)]
