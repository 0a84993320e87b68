from millstream import StreamExecutionEnvironment

env = StreamExecutionEnvironment.get_execution_environment()
pairs = env.from_collection([("a", 1), ("a", 2), ("b", 10), ("a", 3), ("a", 4)])
by_name = pairs.key_by(lambda pair: pair[0], str)

by_name.count_window(2).sum(1).print("twos")
by_name.count_window(3, 1).max(1).print("of the last three")
pairs.count_window_all(5).sum(1).print("all")
env.execute()
