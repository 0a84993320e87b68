import asyncio

from millstream import (
    AsyncDataStream,
    AsyncFunction,
    AsyncRetryPredicates,
    AsyncRetryStrategies,
    Duration,
    RuntimeContext,
    StreamExecutionEnvironment,
)


class Price(AsyncFunction[str, tuple[str, int]]):
    def open(self, runtime_context: RuntimeContext) -> None:
        self.asked: set[str] = set()

    async def async_invoke(self, value: str) -> list[tuple[str, int]]:
        await asyncio.sleep(0)
        if value not in self.asked:  # the first call for each product fails
            self.asked.add(value)
            raise ConnectionError(value)
        return [(value, len(value) * 100)]

    def timeout(self, value: str) -> list[tuple[str, int]]:
        return [(value, 0)]


retry = (
    AsyncRetryStrategies.FixedDelayRetryStrategyBuilder(3, 10)
    .if_exception(AsyncRetryPredicates.has_exception_predicate)
    .build()
)
env = StreamExecutionEnvironment.get_execution_environment()
prices = AsyncDataStream.unordered_wait_with_retry(
    env.from_collection(["tea", "cup"], str), Price(), Duration.of_seconds(5), retry
)
print(sorted(prices.execute_and_collect()))
