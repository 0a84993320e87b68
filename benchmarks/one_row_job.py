"""W10: the smallest job, as a user's script."""

from millstream import StreamExecutionEnvironment

env = StreamExecutionEnvironment.get_execution_environment()
env.from_collection([1]).map(lambda number: number + 1).print()
env.execute("one-row")
