from millstream import StreamExecutionEnvironment, WatermarkStrategy
from millstream.connectors.datagen import DataGeneratorSource, RateLimiterStrategy

env = StreamExecutionEnvironment.get_execution_environment()
source = DataGeneratorSource(
    lambda index: f"order-{index}",
    count=5,
    rate_limiter_strategy=RateLimiterStrategy.per_second(1_000),
)
env.from_source(source, WatermarkStrategy.no_watermarks(), "orders").print()
env.execute()
