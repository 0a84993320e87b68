from collections.abc import Iterator
from typing import NamedTuple

from millstream import (
    KeyedProcessFunction,
    RuntimeContext,
    StreamExecutionEnvironment,
    ValueStateDescriptor,
    WatermarkStrategy,
)


class Beat(NamedTuple):
    machine: str
    at_ms: int


class Silence(KeyedProcessFunction[str, Beat, str]):
    """Says when a machine has not been heard for ten seconds of event time."""

    def open(self, runtime_context: RuntimeContext) -> None:
        self.due = runtime_context.get_state(ValueStateDescriptor("due", int))

    def process_element(self, value: Beat, ctx: KeyedProcessFunction.Context) -> None:
        before = self.due.value()
        if before is not None:
            ctx.timer_service().delete_event_time_timer(before)
        self.due.update(value.at_ms + 10_000)
        ctx.timer_service().register_event_time_timer(value.at_ms + 10_000)

    def on_timer(
        self, timestamp: int, ctx: KeyedProcessFunction.OnTimerContext
    ) -> Iterator[str]:
        self.due.clear()
        yield f"{ctx.get_current_key()} is silent at {timestamp}"


env = StreamExecutionEnvironment.get_execution_environment()
beats = [
    Beat("press", 0),
    Beat("lathe", 2_000),
    Beat("press", 8_000),
    Beat("press", 12_000),
]
(
    env.from_collection(beats, Beat)
    .assign_timestamps_and_watermarks(
        WatermarkStrategy.for_monotonous_timestamps().with_timestamp_assigner(
            lambda beat, _: beat.at_ms
        )
    )
    .key_by(lambda beat: beat.machine, str)
    .process(Silence(), str)
    .print()
)
env.execute()
