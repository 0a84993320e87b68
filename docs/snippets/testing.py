from collections.abc import Iterator

from millstream import KeyedProcessFunction, RuntimeContext, Types, ValueStateDescriptor
from millstream.operators.process import KeyedProcessSpec
from millstream.testing import OperatorHarness


class Total(KeyedProcessFunction[str, tuple[str, int], tuple[str, int]]):
    def open(self, runtime_context: RuntimeContext) -> None:
        self.total = runtime_context.get_state(ValueStateDescriptor("total", int))

    def process_element(
        self, value: tuple[str, int], ctx: KeyedProcessFunction.Context
    ) -> Iterator[tuple[str, int]]:
        self.total.update((self.total.value() or 0) + value[1])
        ctx.timer_service().register_event_time_timer(100)
        yield value[0], self.total.value() or 0

    def on_timer(
        self, timestamp: int, ctx: KeyedProcessFunction.OnTimerContext
    ) -> None:
        self.total.clear()


def test_a_total_survives_a_restore_and_is_cleared_by_its_timer() -> None:
    spec = KeyedProcessSpec(lambda value: value[0], Types.STRING(), Total())
    harness = OperatorHarness(spec, backend="rocksdb")
    harness.element(("a", 1), ts=5)
    harness = harness.restored(
        parallelism=2
    )  # snapshot, close, restore into two subtasks
    harness.element(("a", 2), ts=7)
    assert harness.results == [("a", 1), ("a", 3)]
    harness.watermark(100)
    assert harness.state_entries() == 0


if __name__ == "__main__":
    test_a_total_survives_a_restore_and_is_cleared_by_its_timer()
    print("passed")
