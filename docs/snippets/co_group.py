from collections.abc import Iterator, Sequence

from millstream import (
    CoGroupFunction,
    Duration,
    StreamExecutionEnvironment,
    TumblingEventTimeWindows,
    WatermarkStrategy,
)

Event = tuple[str, int]


class Unsold(CoGroupFunction[Event, Event, str]):
    def co_group(
        self, first: Sequence[Event], second: Sequence[Event]
    ) -> Iterator[str]:
        if not second:
            yield f"{first[0][0]} was viewed {len(first)} times and not sold"


env = StreamExecutionEnvironment.get_execution_environment()
at = WatermarkStrategy.for_monotonous_timestamps().with_timestamp_assigner(
    lambda event, _: event[1]
)
views = env.from_collection([("tea", 1_000), ("cup", 2_000), ("cup", 4_000)])
sales = env.from_collection([("tea", 3_000)])
(
    views.assign_timestamps_and_watermarks(at)
    .co_group(sales.assign_timestamps_and_watermarks(at))
    .where(lambda view: view[0], str)
    .equal_to(lambda sale: sale[0], str)
    .window(TumblingEventTimeWindows.of(Duration.of_seconds(10)))
    .apply(Unsold())
    .print()
)
env.execute()
