from collections.abc import Iterator

from millstream import FilterFunction, StreamExecutionEnvironment


def numbers_in(line: str) -> Iterator[int]:
    for word in line.split():
        if word.isdigit():
            yield int(word)


class AtLeast(FilterFunction[int]):
    def __init__(self, least: int) -> None:
        self.least = least

    def filter(self, value: int) -> bool:
        return value >= self.least


env = StreamExecutionEnvironment.get_execution_environment()
lines = env.from_collection(["3 apples and 12 pears", "7 plums"], type_info=str)
lines.flat_map(numbers_in).filter(AtLeast(5)).map(
    lambda number: number * 10, output_type=int
).print()
env.execute()
