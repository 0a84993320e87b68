from millstream import RuntimeExecutionMode, StreamExecutionEnvironment

env = StreamExecutionEnvironment.get_execution_environment()
env.set_runtime_mode(RuntimeExecutionMode.BATCH)

words = env.from_collection(["to", "be", "or", "not", "to", "be"], str)
(
    words.map(lambda word: (word, 1))
    .key_by(lambda pair: pair[0], str)
    .reduce(lambda left, right: (left[0], left[1] + right[1]))
    .print()
)
env.execute()
