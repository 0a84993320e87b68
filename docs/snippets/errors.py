from millstream import (
    JobDefinitionError,
    JobExecutionError,
    StreamExecutionEnvironment,
    UserFunctionError,
)

env = StreamExecutionEnvironment.get_execution_environment()

try:
    env.from_collection([1, 2]).map(lambda a, b: a + b)  # type: ignore[arg-type, misc]
except JobDefinitionError as error:
    print(error.what.split(" (")[0], "...")
    print("fix:", error.fix)

env.from_collection([2, 1, 0]).map(lambda number: 10 // number).name("divide").print()
try:
    env.execute("division")
except JobExecutionError as error:
    cause = error.__cause__
    assert isinstance(cause, UserFunctionError)
    print(
        f"operator: {cause.operator}\nerror:    {cause.error}\nrecord:   {cause.record}"
    )
