from collections.abc import Iterator

from millstream import KeyedCoProcessFunction, RuntimeContext, ValueStateDescriptor
from millstream.testing import ProcessFunctionTestHarnesses, W

Order = tuple[str, int]
Paid = tuple[str, str]


class Shipping(KeyedCoProcessFunction[str, Order, Paid, str]):
    """An order is shipped when it is paid, or given up after a second."""

    def open(self, runtime_context: RuntimeContext) -> None:
        self.order = runtime_context.get_state(ValueStateDescriptor("order", int))

    def process_element1(
        self, value: Order, ctx: KeyedCoProcessFunction.Context
    ) -> Iterator[str]:
        self.order.update(value[1])
        ctx.timer_service().register_event_time_timer((ctx.timestamp() or 0) + 1_000)
        yield from ()

    def process_element2(
        self, value: Paid, ctx: KeyedCoProcessFunction.Context
    ) -> Iterator[str]:
        if self.order.value() is not None:
            yield f"{value[0]}: ship {self.order.value()} pieces"
            self.order.clear()

    def on_timer(
        self, timestamp: int, ctx: KeyedCoProcessFunction.OnTimerContext
    ) -> Iterator[str]:
        if self.order.value() is not None:
            yield f"{ctx.get_current_key()}: never paid"
            self.order.clear()


def test_orders_are_shipped_when_they_are_paid_in_time() -> None:
    harness = ProcessFunctionTestHarnesses.for_keyed_co_process_function(
        Shipping(), lambda order: order[0], lambda paid: paid[0], str, parallelism=3
    )
    harness.batch1([("o-1", 3), ("o-2", 5)], [10, 20])
    harness = harness.restored(parallelism=2)
    harness.element2(("o-1", "card"), ts=30)
    assert harness.results == ["o-1: ship 3 pieces"]

    # The lower watermark of the two inputs counts, until the other one is idle.
    harness.watermark1(2_000)
    harness.watermark2(1_019)
    assert harness.output[1:] == [W(1_019)]
    harness.status2(idle=True)
    assert harness.output[2:] == ["o-2: never paid", W(2_000)]
    assert harness.state_entries() == 0
    harness.close()


if __name__ == "__main__":
    test_orders_are_shipped_when_they_are_paid_in_time()
    print("passed")
