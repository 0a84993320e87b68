from collections.abc import Iterator, Sequence

from millstream import (
    Duration,
    EventTimeSessionWindows,
    ProcessWindowFunction,
    StreamExecutionEnvironment,
    TimeWindow,
    WatermarkStrategy,
)


class Session(ProcessWindowFunction[tuple[str, int], str, str, TimeWindow]):
    def process(
        self,
        key: str,
        context: ProcessWindowFunction.Context,
        elements: Sequence[tuple[str, int]],
    ) -> Iterator[str]:
        window = context.window()
        yield f"{key}: {len(elements)} clicks in [{window.start}, {window.end})"


env = StreamExecutionEnvironment.get_execution_environment()
clicks = env.from_collection(
    [("ann", 0), ("ann", 4_000), ("bob", 5_000), ("ann", 30_000)]
)
(
    clicks.assign_timestamps_and_watermarks(
        WatermarkStrategy.for_monotonous_timestamps().with_timestamp_assigner(
            lambda click, _: click[1]
        )
    )
    .key_by(lambda click: click[0], str)
    .window(EventTimeSessionWindows.with_gap(Duration.of_seconds(10)))
    .process(Session())
    .print()
)
env.execute()
