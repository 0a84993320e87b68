from millstream import (
    Duration,
    MapFunction,
    RuntimeContext,
    RuntimeExecutionMode,
    StreamExecutionEnvironment,
)


class Discounted(MapFunction[int, float]):
    def open(self, runtime_context: RuntimeContext) -> None:
        percent = runtime_context.get_job_parameter("percent", "0")
        self.factor = 1 - int(percent or 0) / 100

    def map(self, value: int) -> float:
        return value * self.factor


env = StreamExecutionEnvironment.get_execution_environment()
env.set_parallelism(1).set_max_parallelism(256)
env.set_buffer_timeout(Duration.of_millis(10))
env.set_runtime_mode(RuntimeExecutionMode.AUTOMATIC)

config = env.get_config()
config.set_auto_watermark_interval(Duration.of_millis(100))
config.set_global_job_parameters({"percent": 50})
config.enable_object_reuse()

print(env.get_parallelism(), env.get_buffer_timeout(), env.is_chaining_enabled())
print(env.from_collection([10, 30], int).map(Discounted()).execute_and_collect(limit=2))
