from millstream import EmbeddedRocksDBStateBackend, StreamExecutionEnvironment

env = StreamExecutionEnvironment.get_execution_environment()
env.set_state_backend(EmbeddedRocksDBStateBackend())

pairs = env.from_collection([("a", 1), ("b", 10), ("a", 2)])
pairs.key_by(lambda pair: pair[0]).reduce(lambda x, y: (x[0], x[1] + y[1])).print()
env.execute()
