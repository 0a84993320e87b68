from millstream import (
    SlidingEventTimeWindows,
    StreamExecutionEnvironment,
    Time,
    WatermarkStrategy,
)

env = StreamExecutionEnvironment.get_execution_environment()
strategy = WatermarkStrategy.for_monotonous_timestamps().with_timestamp_assigner(
    lambda event, _: event[1]
)
events = env.from_collection(
    [("a", 1_000), ("a", 6_000), ("a", 9_000)]
).assign_timestamps_and_watermarks(strategy)
(
    events.map(lambda event: (event[0], 1))
    .key_by(lambda event: event[0])
    .window(SlidingEventTimeWindows.of(Time.seconds(10), Time.seconds(5)))
    .reduce(lambda left, right: (left[0], left[1] + right[1]))
    .print()
)
env.execute()
