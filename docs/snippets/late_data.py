from millstream import (
    Duration,
    OutputTag,
    StreamExecutionEnvironment,
    TumblingEventTimeWindows,
    Watermark,
    WatermarkGenerator,
    WatermarkOutput,
    WatermarkStrategy,
)

LATE: OutputTag[tuple[str, int]] = OutputTag("late")


class BehindEachRecord(WatermarkGenerator[tuple[str, int]]):
    """Says after each record that nothing older will come."""

    def on_event(
        self, event: tuple[str, int], event_timestamp: int, output: WatermarkOutput
    ) -> None:
        output.emit_watermark(Watermark(event_timestamp - 1))


env = StreamExecutionEnvironment.get_execution_environment()
events = env.from_collection(
    [("a", 1_000), ("b", 11_000), ("c", 2_000), ("d", 30_000), ("e", 3_000)]
)
counts = (
    events.assign_timestamps_and_watermarks(
        WatermarkStrategy.for_generator(BehindEachRecord).with_timestamp_assigner(
            lambda event, _: event[1]
        )
    )
    .key_by(lambda event: "all", str)
    .window(TumblingEventTimeWindows.of(Duration.of_seconds(10)))
    .allowed_lateness(Duration.of_seconds(5))
    .side_output_late_data(LATE)
    .reduce(lambda left, right: (left[0] + right[0], max(left[1], right[1])))
)
counts.print("window")
counts.get_side_output(LATE).print("late")
env.execute()
