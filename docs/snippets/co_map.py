from collections.abc import Iterator

from millstream import (
    CoFlatMapFunction,
    CoMapFunction,
    StreamExecutionEnvironment,
)


class Celsius(CoMapFunction[float, float, float]):
    """Two kinds of thermometers give one kind of record."""

    def map1(self, value: float) -> float:
        return value

    def map2(self, value: float) -> float:
        return (value - 32) / 1.8


class Words(CoFlatMapFunction[str, list[str], str]):
    def flat_map1(self, value: str) -> Iterator[str]:
        yield from value.split()

    def flat_map2(self, value: list[str]) -> Iterator[str]:
        yield from value


env = StreamExecutionEnvironment.get_execution_environment()
celsius = env.from_collection([20.5], float)
fahrenheit = env.from_collection([50.0], float)
degrees = celsius.connect(fahrenheit).map(Celsius())
print(sorted(degrees.execute_and_collect()))

lines = env.from_collection(["to be"], str)
lists = env.from_collection([["or", "not"]], list[str])
print(sorted(lines.connect(lists).flat_map(Words()).execute_and_collect()))
