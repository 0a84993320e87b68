from millstream import StreamExecutionEnvironment

env = StreamExecutionEnvironment.get_execution_environment()
env.set_parallelism(2)
orders = env.from_collection([("eu", 1), ("us", 2), ("eu", 3)])

by_region = orders.partition_custom(
    lambda region, subtasks: 0 if region == "eu" else subtasks - 1,
    lambda order: order[0],
)
print(sorted(by_region.map(lambda order: order[1]).execute_and_collect()))
