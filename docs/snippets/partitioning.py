from millstream import StreamExecutionEnvironment

env = StreamExecutionEnvironment.get_execution_environment()
env.set_parallelism(2)
numbers = env.from_sequence(1, 6)
scaled = numbers.rebalance().map(lambda number: number * 10).name("scale").uid("scale")
results = (
    scaled.disable_chaining()
    .filter(lambda number: number != 30)
    .slot_sharing_group("default")
)

print(sorted(results.execute_and_collect()))
