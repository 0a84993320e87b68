from millstream import (
    CountTrigger,
    GlobalWindow,
    GlobalWindows,
    PurgingTrigger,
    StreamExecutionEnvironment,
    Trigger,
    TriggerResult,
)


class AtStop(Trigger[tuple[str, int], GlobalWindow]):
    """Fires and empties the window when a record says so."""

    def on_element(
        self,
        element: tuple[str, int],
        timestamp: int,
        window: GlobalWindow,
        ctx: Trigger.TriggerContext,
    ) -> TriggerResult:
        return (
            TriggerResult.FIRE_AND_PURGE if element[1] == 0 else TriggerResult.CONTINUE
        )

    def on_processing_time(
        self, time: int, window: GlobalWindow, ctx: Trigger.TriggerContext
    ) -> TriggerResult:
        return TriggerResult.CONTINUE

    def on_event_time(
        self, time: int, window: GlobalWindow, ctx: Trigger.TriggerContext
    ) -> TriggerResult:
        return TriggerResult.CONTINUE

    def clear(self, window: GlobalWindow, ctx: Trigger.TriggerContext) -> None:
        """It keeps no state."""


env = StreamExecutionEnvironment.get_execution_environment()
numbers = env.from_collection([("a", 1), ("a", 2), ("a", 0), ("a", 5), ("a", 0)])
windows = numbers.key_by(lambda pair: pair[0], str).window(GlobalWindows.create())

windows.trigger(AtStop()).sum(1).print("at stop")

windows = numbers.key_by(lambda pair: pair[0], str).window(GlobalWindows.create())
windows.trigger(PurgingTrigger.of(CountTrigger.of(2))).sum(1).print("of two")
env.execute()
