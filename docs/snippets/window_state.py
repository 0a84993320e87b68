from collections.abc import Iterator, Sequence

from millstream import (
    CountTrigger,
    ProcessWindowFunction,
    StreamExecutionEnvironment,
    TumblingEventTimeWindows,
    ValueStateDescriptor,
    WatermarkStrategy,
)

FIRINGS = ValueStateDescriptor("firings", int)
WINDOWS = ValueStateDescriptor("windows", int)


class Numbered(ProcessWindowFunction[tuple[str, int], str, str]):
    """Says which firing of which window of the key this is."""

    def process(
        self,
        key: str,
        context: ProcessWindowFunction.Context,
        elements: Sequence[tuple[str, int]],
    ) -> Iterator[str]:
        firings = context.window_state().get_state(FIRINGS)
        windows = context.global_state().get_state(WINDOWS)
        if firings.value() is None:
            windows.update((windows.value() or 0) + 1)
        firings.update((firings.value() or 0) + 1)
        yield (
            f"{key}: window {windows.value()}, firing {firings.value()}, "
            f"{len(elements)} elements"
        )

    def clear(self, context: ProcessWindowFunction.Context) -> None:
        context.window_state().get_state(FIRINGS).clear()


env = StreamExecutionEnvironment.get_execution_environment()
by_time = WatermarkStrategy.for_monotonous_timestamps().with_timestamp_assigner(
    lambda event, _: event[1]
)
events = env.from_collection([("a", 1), ("a", 2), ("a", 11), ("a", 12), ("a", 13)])
windows = (
    events.assign_timestamps_and_watermarks(by_time)
    .key_by(lambda event: event[0], str)
    .window(TumblingEventTimeWindows.of(10))
)
windows.trigger(CountTrigger.of(1)).process(Numbered()).print()
env.execute()
