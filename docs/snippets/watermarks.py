from millstream import (
    Duration,
    StreamExecutionEnvironment,
    TumblingEventTimeWindows,
    WatermarkStrategy,
)

READINGS = [("kitchen", 21, 1_000), ("attic", 30, 12_000), ("kitchen", 23, 9_000)]

env = StreamExecutionEnvironment.get_execution_environment()
strategy = WatermarkStrategy.for_bounded_out_of_orderness(
    Duration.of_seconds(5)
).with_timestamp_assigner(lambda reading, _: reading[2])

hottest = (
    env.from_collection(READINGS)
    .assign_timestamps_and_watermarks(strategy)
    .window_all(TumblingEventTimeWindows.of(Duration.of_seconds(10)))
    .max_by(1)
)
hottest.print()
env.execute()
