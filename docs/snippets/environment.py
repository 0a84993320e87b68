from datetime import timedelta

from millstream import Configuration, StreamExecutionEnvironment

settings = Configuration()
settings.set_string("pipeline.name", "orders")
env = StreamExecutionEnvironment.get_execution_environment(settings)
env.set_parallelism(1).set_max_parallelism(256)
env.enable_checkpointing(timedelta(seconds=10))

for key, value in sorted(env.get_configuration().to_dict().items()):
    print(key, "=", value)
