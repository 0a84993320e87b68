from collections.abc import Iterator

from millstream import (
    KeyedProcessFunction,
    RuntimeContext,
    StateTtlConfig,
    Time,
    Types,
    ValueStateDescriptor,
)
from millstream.operators.process import KeyedProcessSpec
from millstream.testing import OperatorHarness


class FirstInHour(KeyedProcessFunction[str, tuple[str, str], str]):
    """Lets a message of a user through, then none for an hour."""

    def open(self, runtime_context: RuntimeContext) -> None:
        ttl = (
            StateTtlConfig.new_builder(Time.hours(1))
            .update_ttl_on_create_and_write()
            .never_return_expired()
            .build()
        )
        seen = ValueStateDescriptor("seen", bool)
        seen.enable_time_to_live(ttl)
        self.seen = runtime_context.get_state(seen)

    def process_element(
        self, value: tuple[str, str], ctx: KeyedProcessFunction.Context
    ) -> Iterator[str]:
        if not self.seen.value():
            self.seen.update(True)
            yield f"{value[0]}: {value[1]}"


spec = KeyedProcessSpec(lambda message: message[0], Types.STRING(), FirstInHour())
harness = OperatorHarness(spec)
harness.element(("ann", "hello"))
harness.element(("ann", "hello?"))
harness.set_processing_time(3_599_999)
harness.element(("ann", "anybody there?"))
harness.set_processing_time(3_600_000)
harness.element(("ann", "good evening"))
print(harness.results)
