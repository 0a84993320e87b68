from millstream import RuntimeExecutionMode, StreamExecutionEnvironment

with StreamExecutionEnvironment.get_execution_environment() as env:
    env.set_runtime_mode(RuntimeExecutionMode.AUTOMATIC)
    squares = env.from_sequence(1, 5).map(lambda number: number**2, int).cache()

    print(sorted(squares.execute_and_collect()))  # computes and keeps them
    print(sorted(squares.filter(lambda n: n > 10).execute_and_collect()))  # reads them
