from millstream import StreamExecutionEnvironment

env = StreamExecutionEnvironment.get_execution_environment()
numbers = env.from_sequence(1, 1_000_000)

print(numbers.execute_and_collect(limit=3))

with numbers.filter(lambda number: number % 7 == 0).execute_and_collect(
    "sevens"
) as sevens:
    for number in sevens:
        print(number)
        if number > 20:
            break  # leaving the block cancels the job
