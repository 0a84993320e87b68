from collections.abc import Iterator
from dataclasses import dataclass

from millstream import KeyedProcessFunction, RuntimeContext, Types, ValueStateDescriptor
from millstream.operators.process import KeyedProcessSpec
from millstream.testing import OperatorHarness


@dataclass
class Order:
    customer: str
    cents: int
    comment: str


class Largest(KeyedProcessFunction[str, Order, Order]):
    """Emits the largest order of each customer so far."""

    def open(self, runtime_context: RuntimeContext) -> None:
        self.largest = runtime_context.get_state(ValueStateDescriptor("largest", Order))

    def process_element(
        self, value: Order, ctx: KeyedProcessFunction.Context
    ) -> Iterator[Order]:
        known = self.largest.value()
        if known is None or value.cents > known.cents:
            self.largest.update(value)
        yield self.largest.value() or value


spec = KeyedProcessSpec(lambda order: order.customer, Types.STRING(), Largest())
harness = OperatorHarness(spec)
harness.element(Order("ann", 900, "as a gift"))
checkpoint = harness.snapshot()


@dataclass
class Order:  # type: ignore[no-redef]  # as the next release of the program has it
    customer: str
    currency: str = "EUR"
    cents: int = 0


harness = harness.restored_from(checkpoint)
harness.element(Order("ann", cents=400))  # type: ignore[call-arg]
print(harness.results[-1])
