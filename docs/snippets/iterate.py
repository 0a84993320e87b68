from millstream import StreamExecutionEnvironment

env = StreamExecutionEnvironment.get_execution_environment()
iteration = env.from_collection([(27, 0), (8, 0)]).iterate()


def step(pair: tuple[int, int]) -> tuple[int, int]:
    number, steps = pair
    return (number // 2 if number % 2 == 0 else 3 * number + 1, steps + 1)


stepped = iteration.map(step)
iteration.close_with(stepped.filter(lambda pair: pair[0] != 1))
steps = stepped.filter(lambda pair: pair[0] == 1).map(lambda pair: pair[1])

print(sorted(steps.execute_and_collect()))
