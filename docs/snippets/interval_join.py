from collections.abc import Iterator

from millstream import (
    Duration,
    ProcessJoinFunction,
    StreamExecutionEnvironment,
    WatermarkStrategy,
)

Event = tuple[str, int]


class Paid(ProcessJoinFunction[Event, Event, str]):
    def process_element(
        self, left: Event, right: Event, ctx: ProcessJoinFunction.Context
    ) -> Iterator[str]:
        yield f"{left[0]} paid after {right[1] - left[1]} ms, at {ctx.get_timestamp()}"


env = StreamExecutionEnvironment.get_execution_environment()
at = WatermarkStrategy.for_monotonous_timestamps().with_timestamp_assigner(
    lambda event, _: event[1]
)
orders = env.from_collection([("o-1", 0), ("o-2", 1_000)])
payments = env.from_collection([("o-1", 4_000), ("o-2", 90_000)])

paid = (
    orders.assign_timestamps_and_watermarks(at)
    .key_by(lambda order: order[0], str)
    .interval_join(
        payments.assign_timestamps_and_watermarks(at).key_by(lambda paid: paid[0], str)
    )
    .between(Duration.of_seconds(0), Duration.of_minutes(1))
    .process(Paid())
)
paid.print()
env.execute()
