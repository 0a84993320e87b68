from collections.abc import Iterator

from millstream import KeyedProcessFunction, RuntimeContext, ValueStateDescriptor
from millstream.testing import ProcessFunctionTestHarnesses, W

Payment = tuple[str, int]


class Total(KeyedProcessFunction[str, Payment, Payment]):
    """The total of each account so far; forgotten at time 100."""

    def open(self, runtime_context: RuntimeContext) -> None:
        self.total = runtime_context.get_state(ValueStateDescriptor("total", int))

    def process_element(
        self, value: Payment, ctx: KeyedProcessFunction.Context
    ) -> Iterator[Payment]:
        self.total.update((self.total.value() or 0) + value[1])
        ctx.timer_service().register_event_time_timer(100)
        yield value[0], self.total.value() or 0

    def on_timer(
        self, timestamp: int, ctx: KeyedProcessFunction.OnTimerContext
    ) -> None:
        self.total.clear()


def test_a_total_survives_a_restore_and_is_cleared_by_its_timer() -> None:
    harness = ProcessFunctionTestHarnesses.for_keyed_process_function(
        Total(), lambda payment: payment[0], str, backend="rocksdb"
    )
    harness.element(("a", 1), ts=5)
    # Take a snapshot, close, and go on from it with two subtasks.
    harness = harness.restored(parallelism=2)
    harness.element(("a", 2), ts=7)
    assert harness.results == [("a", 1), ("a", 3)]
    assert harness.event_time_timers() == 1

    harness.watermark(100)
    assert harness.output[2:] == [W(100)]
    assert harness.state_entries() == 0
    harness.close()


if __name__ == "__main__":
    test_a_total_survives_a_restore_and_is_cleared_by_its_timer()
    print("passed")
