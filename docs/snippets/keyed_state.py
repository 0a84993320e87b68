from collections.abc import Iterator
from typing import NamedTuple

from millstream import (
    KeyedProcessFunction,
    ListStateDescriptor,
    MapStateDescriptor,
    RuntimeContext,
    StreamExecutionEnvironment,
    ValueStateDescriptor,
)


class Purchase(NamedTuple):
    user: str
    product: str
    cents: int


class Profile(KeyedProcessFunction[str, Purchase, str]):
    """Says after each purchase what is known about the user."""

    def open(self, runtime_context: RuntimeContext) -> None:
        self.spent = runtime_context.get_state(ValueStateDescriptor("spent", int))
        self.visits = runtime_context.get_list_state(ListStateDescriptor("visits", str))
        self.bought = runtime_context.get_map_state(
            MapStateDescriptor("bought", str, int)
        )

    def process_element(
        self, value: Purchase, ctx: KeyedProcessFunction.Context
    ) -> Iterator[str]:
        total = (self.spent.value() or 0) + value.cents
        self.spent.update(total)
        self.visits.add(value.product)
        self.bought.put(value.product, (self.bought.get(value.product) or 0) + 1)
        yield f"{ctx.get_current_key()}: {total} cents, {self.visits.get()}, {dict(self.bought.items())}"


env = StreamExecutionEnvironment.get_execution_environment()
purchases = env.from_collection(
    [
        Purchase("ann", "tea", 300),
        Purchase("bob", "tea", 300),
        Purchase("ann", "cup", 900),
        Purchase("ann", "tea", 300),
    ],
    Purchase,
)
purchases.key_by(lambda purchase: purchase.user, str).process(Profile()).print()
env.execute()
