from collections.abc import Iterator

from millstream import (
    KeyedCoProcessFunction,
    RuntimeContext,
    StreamExecutionEnvironment,
    ValueStateDescriptor,
)


class WithPrice(KeyedCoProcessFunction[str, tuple[str, int], tuple[str, int], str]):
    """Waits for whichever comes last: the order, or the price of its product."""

    def open(self, runtime_context: RuntimeContext) -> None:
        self.pieces = runtime_context.get_state(ValueStateDescriptor("pieces", int))
        self.price = runtime_context.get_state(ValueStateDescriptor("price", int))

    def process_element1(
        self, value: tuple[str, int], ctx: KeyedCoProcessFunction.Context
    ) -> Iterator[str]:
        self.pieces.update(value[1])
        return self.joined(value[0])

    def process_element2(
        self, value: tuple[str, int], ctx: KeyedCoProcessFunction.Context
    ) -> Iterator[str]:
        self.price.update(value[1])
        return self.joined(value[0])

    def joined(self, product: str) -> Iterator[str]:
        pieces, price = self.pieces.value(), self.price.value()
        if pieces is not None and price is not None:
            yield f"{product}: {pieces * price}"


env = StreamExecutionEnvironment.get_execution_environment()
orders = env.from_collection([("tea", 3), ("cup", 1)])
prices = env.from_collection([("cup", 900), ("tea", 300)])
joined = (
    orders.connect(prices)
    .key_by(lambda order: order[0], lambda price: price[0], str)
    .process(WithPrice())
)
print(sorted(joined.execute_and_collect()))
