from millstream import Duration, StreamExecutionEnvironment, WatermarkStrategy
from millstream.connectors.datagen import NumberSequenceSource

env = StreamExecutionEnvironment.get_execution_environment()
strategy = (
    WatermarkStrategy.for_monotonous_timestamps()
    .with_timestamp_assigner(lambda number, _: number)
    .with_idleness(Duration.of_seconds(30))
    .with_watermark_alignment("orders", Duration.of_seconds(60))
)
old = env.from_source(NumberSequenceSource(1, 3), strategy, "old orders")
new = env.from_source(NumberSequenceSource(4, 6), strategy, "new orders")

print(sorted(old.union(new).execute_and_collect()))
