from collections.abc import Iterable, Iterator

from millstream import StreamExecutionEnvironment


def spread(numbers: Iterable[tuple[str, int]]) -> Iterator[tuple[str, int]]:
    found = list(numbers)
    yield found[0][0], max(n for _, n in found) - min(n for _, n in found)


env = StreamExecutionEnvironment.get_execution_environment()
pairs = env.from_collection([("a", 3), ("b", 1), ("a", 9), ("b", 2)])
partitions = pairs.key_by(lambda pair: pair[0], str).full_window_partition()

print(sorted(partitions.map_partition(spread).execute_and_collect()))
