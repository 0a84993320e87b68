from collections.abc import Iterator

from millstream import (
    KeyedProcessFunction,
    RuntimeContext,
    StreamExecutionEnvironment,
    Types,
    ValueStateDescriptor,
)
from millstream.state_reader import KeyedStateBootstrapFunction, SavepointWriter

Order = tuple[str, int]
SPENT = ValueStateDescriptor("spent", Types.LONG())


class History(KeyedStateBootstrapFunction[Order]):
    """What customers have spent until now."""

    def open(self, runtime_context: RuntimeContext) -> None:
        self.spent = runtime_context.get_state(SPENT)

    def process_element(
        self, value: Order, ctx: KeyedStateBootstrapFunction.Context
    ) -> None:
        self.spent.update((self.spent.value() or 0) + value[1])


class Spending(KeyedProcessFunction[str, Order, str]):
    """The job."""

    def open(self, runtime_context: RuntimeContext) -> None:
        self.spent = runtime_context.get_state(SPENT)

    def process_element(
        self, value: Order, ctx: KeyedProcessFunction.Context
    ) -> Iterator[str]:
        self.spent.update((self.spent.value() or 0) + value[1])
        yield f"{value[0]} has spent {self.spent.value()}"


history = (("ada" if n % 2 else "bob", n) for n in range(1_000))  # any iterable
writer = SavepointWriter.new(max_parallelism=128)
writer.with_keyed_state(
    "spending", history, lambda order: order[0], History(), Types.STRING()
)
savepoint = writer.write("savepoints/first")

env = StreamExecutionEnvironment.get_execution_environment()
env.configure({"execution.savepoint.path": savepoint})
orders = env.from_collection([("ada", 5), ("eve", 7)])
spending = orders.key_by(lambda order: order[0], Types.STRING()).process(Spending())
spending.uid("spending").print()
env.execute("spending")
