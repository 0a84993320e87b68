from __future__ import annotations

from millstream.core.clock import ManualClock
from millstream.runtime.worker.processing_time import ProcessingTimeService


def test_callbacks_run_in_order_of_time_when_the_clock_has_reached_it() -> None:
    clock, calls = ManualClock(now_ms=100), []
    service = ProcessingTimeService(clock)
    service.schedule(120, lambda now: calls.append(("second", now)))
    service.schedule(110, lambda now: calls.append(("first", now)))
    service.schedule(120, lambda now: calls.append(("third", now)))
    assert service.next_due_ms() == 110
    assert not service.run_due()
    clock.advance(20)
    assert service.run_due()
    assert calls == [("first", 120), ("second", 120), ("third", 120)]
    assert service.next_due_ms() is None
    assert not service.run_due()


def test_a_callback_may_schedule_the_next_one() -> None:
    clock, calls = ManualClock(), []
    service = ProcessingTimeService(clock)

    def tick(now: int) -> None:
        calls.append(now)
        service.schedule(now + 10, tick)

    service.schedule(10, tick)
    clock.advance(25)
    service.run_due()
    assert calls == [25]
    assert service.next_due_ms() == 35


def test_forgotten_callbacks_do_not_run() -> None:
    clock, calls = ManualClock(), []
    service = ProcessingTimeService(clock)
    service.schedule(10, calls.append)
    service.clear()
    clock.advance(100)
    assert not service.run_due()
    assert calls == []
