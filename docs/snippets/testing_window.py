from millstream import (
    DataStream,
    StreamExecutionEnvironment,
    Time,
    TumblingEventTimeWindows,
)
from millstream.testing import W, harness_of

Reading = tuple[str, int]


def highest_per_second(readings: DataStream[Reading]) -> DataStream[Reading]:
    """What the program does, in a function of its own."""
    return (
        readings.key_by(lambda reading: reading[0])
        .window(TumblingEventTimeWindows.of(Time.seconds(1)))
        .allowed_lateness(500)
        .reduce(lambda a, b: a if a[1] > b[1] else b)
    )


def test_a_late_reading_within_the_lateness_gives_the_window_again() -> None:
    env = StreamExecutionEnvironment.get_execution_environment()
    some: list[Reading] = [("oven", 0)]
    with harness_of(highest_per_second(env.from_collection(some))) as harness:
        harness.batch([("oven", 180), ("oven", 210)], [100, 200])
        harness.watermark(999)
        harness.element(("oven", 250), ts=300)
        harness.watermark(1_500)
        harness.element(("oven", 999), ts=400)  # too late
        assert harness.output == [("oven", 210), W(999), ("oven", 250), W(1_500)]
        assert harness.counters["numLateRecordsDropped"] == 1
        assert harness.state_entries() == 0


if __name__ == "__main__":
    test_a_late_reading_within_the_lateness_gives_the_window_again()
    print("passed")
