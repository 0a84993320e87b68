from collections.abc import Iterator

from millstream import BroadcastProcessFunction, MapStateDescriptor
from millstream.testing import ProcessFunctionTestHarnesses

LIMITS = MapStateDescriptor("limits", str, int)
Named = tuple[str, int]


class Above(BroadcastProcessFunction[Named, Named, str]):
    """Readings above the limit of their machine."""

    def process_element(
        self, value: Named, ctx: BroadcastProcessFunction.ReadOnlyContext
    ) -> Iterator[str]:
        limit = ctx.get_broadcast_state(LIMITS).get(value[0])
        if limit is not None and value[1] > limit:
            yield f"{value[0]}: {value[1]} is above {limit}"

    def process_broadcast_element(
        self, value: Named, ctx: BroadcastProcessFunction.Context
    ) -> Iterator[str]:
        ctx.get_broadcast_state(LIMITS).put(*value)
        yield from ()


def test_every_subtask_knows_every_limit_also_after_a_restore() -> None:
    harness = ProcessFunctionTestHarnesses.for_broadcast_process_function(
        Above(), LIMITS, parallelism=2
    )
    harness.element1(("oven", 250))
    harness.element2(("oven", 200))  # comes to both subtasks
    harness = harness.restored(parallelism=3)
    harness.element1(("oven", 210))
    assert harness.results == ["oven: 210 is above 200"]
    harness.close()


if __name__ == "__main__":
    test_every_subtask_knows_every_limit_also_after_a_restore()
    print("passed")
