from collections.abc import Iterator

from millstream import OutputTag, ProcessFunction, StreamExecutionEnvironment

REJECTED = OutputTag("rejected", str)


def parse(
    line: str, ctx: ProcessFunction.Context
) -> Iterator[int | tuple[OutputTag[str], str]]:
    if line.isdigit():
        yield int(line)
    else:
        yield REJECTED, line


env = StreamExecutionEnvironment.get_execution_environment()
numbers = env.from_collection(["1", "two", "3"], str).process(parse, int)
numbers.print("number")
numbers.get_side_output(REJECTED).print("rejected")
env.execute()
