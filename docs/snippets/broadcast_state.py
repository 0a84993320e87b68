from collections.abc import Iterator

from millstream import (
    KeyedBroadcastProcessFunction,
    ListState,
    ListStateDescriptor,
    MapStateDescriptor,
    RuntimeContext,
    StreamExecutionEnvironment,
)

LIMITS = MapStateDescriptor("limits", str, int)
WAITING = ListStateDescriptor("waiting", int)
Named = tuple[str, int]


class Alarm(KeyedBroadcastProcessFunction[str, Named, Named, str]):
    """Readings above the limit of their machine; those that come first wait for it."""

    def open(self, runtime_context: RuntimeContext) -> None:
        self.waiting = runtime_context.get_list_state(WAITING)

    def process_element(
        self, value: Named, ctx: KeyedBroadcastProcessFunction.ReadOnlyContext
    ) -> Iterator[str]:
        limit = ctx.get_broadcast_state(LIMITS).get(value[0])
        if limit is None:
            self.waiting.add(value[1])
        elif value[1] > limit:
            yield f"{value[0]}: {value[1]} is above {limit}"

    def process_broadcast_element(
        self, value: Named, ctx: KeyedBroadcastProcessFunction.Context
    ) -> Iterator[str]:
        machine, limit = value
        ctx.get_broadcast_state(LIMITS).put(machine, limit)
        above: list[int] = []

        def check(key: str, readings: ListState[int]) -> None:
            if key == machine:
                above.extend(number for number in readings.get() if number > limit)
                readings.clear()

        ctx.apply_to_keyed_state(WAITING, check)
        for number in above:
            yield f"{machine}: {number} is above {limit}"


env = StreamExecutionEnvironment.get_execution_environment()
readings = env.from_collection([("oven", 250), ("press", 8), ("oven", 180)])
limits = env.from_collection([("oven", 200), ("press", 10)]).broadcast(LIMITS)

readings.key_by(lambda reading: reading[0], str).connect(limits).process(
    Alarm()
).print()
env.execute()
