from millstream import StreamExecutionEnvironment

env = StreamExecutionEnvironment.get_execution_environment()

lines = env.from_collection(["to be or not to be", "that is the question"])
counts = (
    lines.flat_map(str.split, output_type=str)
    .map(lambda word: (word, 1))
    .key_by(lambda pair: pair[0])
    .reduce(lambda left, right: (left[0], left[1] + right[1]))
)
counts.print()

env.execute("word count")
