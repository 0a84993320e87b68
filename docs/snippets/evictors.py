from collections.abc import Iterator, Sequence

from millstream import (
    CountEvictor,
    CountTrigger,
    GlobalWindow,
    GlobalWindows,
    StreamExecutionEnvironment,
    WindowFunction,
)


class Numbers(WindowFunction[tuple[str, int], list[int], str, GlobalWindow]):
    def apply(
        self, key: str, window: GlobalWindow, inputs: Sequence[tuple[str, int]]
    ) -> Iterator[list[int]]:
        yield [number for _, number in inputs]


env = StreamExecutionEnvironment.get_execution_environment()
(
    env.from_collection([("a", number) for number in range(1, 7)])
    .key_by(lambda pair: pair[0], str)
    .window(GlobalWindows.create())
    .trigger(CountTrigger.of(2))
    .evictor(CountEvictor.of(3))
    .apply(Numbers())
    .print()
)
env.execute()
