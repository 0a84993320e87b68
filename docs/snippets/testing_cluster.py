from millstream import (
    DataStream,
    StreamExecutionEnvironment,
    Time,
    TumblingProcessingTimeWindows,
    WatermarkStrategy,
)
from millstream.testing import ManualSource, MiniCluster

Click = tuple[str, int]


def clicks_per_ten_seconds(clicks: DataStream[Click]) -> DataStream[Click]:
    return (
        clicks.key_by(lambda click: click[0])
        .window(TumblingProcessingTimeWindows.of(Time.seconds(10)))
        .reduce(lambda a, b: (a[0], a[1] + b[1]))
    )


def environment(parallelism: int) -> StreamExecutionEnvironment:
    env = StreamExecutionEnvironment.get_execution_environment()
    env.configure(
        {
            "restart-strategy.type": "fixed-delay",
            "restart-strategy.fixed-delay.delay": "1 s",
        }
    )
    return env.set_parallelism(parallelism).enable_checkpointing(60_000)


def test_a_window_survives_the_loss_of_a_worker() -> None:
    source: ManualSource[Click] = ManualSource(splits=2)
    env = environment(parallelism=2)
    clicks = env.from_source(source, WatermarkStrategy.no_watermarks(), "clicks")
    with MiniCluster() as cluster:
        output = cluster.collect(clicks_per_ten_seconds(clicks))
        job = cluster.start(env)
        source.element(("home", 1))
        job.advance_time(4_000)
        job.trigger_checkpoint()
        source.element(("home", 1), split=1)
        job.settle()

        job.kill_worker(1)
        job.advance_time(1_000)  # the delay of the restart strategy
        assert job.statistics().restarts == 1

        job.advance_time(4_998)
        job.trigger_checkpoint()
        assert output.records == []
        job.advance_time(1)  # 9,999 ms: the last of the window
        job.trigger_checkpoint()
        assert output.records == [("home", 2)]


def test_the_job_goes_on_with_more_subtasks() -> None:
    source: ManualSource[Click] = ManualSource()
    with MiniCluster() as cluster:
        env = environment(parallelism=1)
        clicks = env.from_source(source, WatermarkStrategy.no_watermarks(), "clicks")
        cluster.collect(clicks_per_ten_seconds(clicks))
        job = cluster.start(env)
        source.batch([("home", 1), ("help", 1)])
        checkpoint = job.trigger_checkpoint()
        job.cancel()

        env = environment(parallelism=3)
        clicks = env.from_source(source, WatermarkStrategy.no_watermarks(), "clicks")
        output = cluster.collect(clicks_per_ten_seconds(clicks))
        job = cluster.start(env, restore_from=checkpoint)
        job.advance_time(9_999)
        job.trigger_checkpoint()
        assert sorted(output.records) == [("help", 1), ("home", 1)]


if __name__ == "__main__":
    test_a_window_survives_the_loss_of_a_worker()
    test_the_job_goes_on_with_more_subtasks()
    print("passed")
