from millstream import (
    Duration,
    StreamExecutionEnvironment,
    TumblingEventTimeWindows,
    WatermarkStrategy,
)

env = StreamExecutionEnvironment.get_execution_environment()
at = WatermarkStrategy.for_monotonous_timestamps().with_timestamp_assigner(
    lambda event, _: event[1]
)
views = env.from_collection([("tea", 1_000), ("tea", 14_000)])
sales = env.from_collection([("tea", 3_000), ("tea", 9_000)])

joined = (
    views.assign_timestamps_and_watermarks(at)
    .join(sales.assign_timestamps_and_watermarks(at))
    .where(lambda view: view[0], str)
    .equal_to(lambda sale: sale[0], str)
    .window(TumblingEventTimeWindows.of(Duration.of_seconds(10)))
    .apply(lambda view, sale: (view[0], view[1], sale[1]))
)
print(sorted(joined.execute_and_collect()))
