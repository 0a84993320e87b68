"""Windows of every kind, with functions of every form. Checked by tests/typing/test_typing.py, never run."""

from collections.abc import Iterator, Sequence
from typing import assert_type

from millstream import (
    AggregateFunction,
    AllWindowedStream,
    AllWindowFunction,
    ContinuousEventTimeTrigger,
    CountEvictor,
    CountTrigger,
    DataStream,
    EventTimeSessionWindows,
    EventTimeTrigger,
    GlobalWindow,
    GlobalWindows,
    NeverTrigger,
    OutputTag,
    ProcessAllWindowFunction,
    ProcessingTimeSessionWindows,
    ProcessWindowFunction,
    PurgingTrigger,
    ReduceFunction,
    SlidingEventTimeWindows,
    SlidingProcessingTimeWindows,
    StreamExecutionEnvironment,
    TimeEvictor,
    TimeWindow,
    Trigger,
    TriggerResult,
    TumblingEventTimeWindows,
    TumblingProcessingTimeWindows,
    ValueStateDescriptor,
    WindowedStream,
    WindowFunction,
)

Sale = tuple[str, int]


class Total(AggregateFunction[Sale, int, float]):
    def create_accumulator(self) -> int:
        return 0

    def add(self, value: Sale, accumulator: int) -> int:
        return accumulator + value[1]

    def get_result(self, accumulator: int) -> float:
        return accumulator / 100


class More(ReduceFunction[Sale]):
    def reduce(self, value1: Sale, value2: Sale) -> Sale:
        return max(value1, value2)


class Named(ProcessWindowFunction[float, tuple[str, float], str, TimeWindow]):
    def process(
        self, key: str, context: ProcessWindowFunction.Context[TimeWindow], elements: Sequence[float]
    ) -> list[tuple[str, float]]:
        assert_type(context.window(), TimeWindow)
        assert_type(context.current_watermark(), int)
        seen = context.global_state().get_state(ValueStateDescriptor("seen", int))
        assert_type(seen.value(), int | None)
        return [(key, elements[0])]


class Ends(WindowFunction[float, int, str, TimeWindow]):
    def apply(self, key: str, window: TimeWindow, inputs: Sequence[float]) -> Iterator[int]:
        yield window.end


class Keys(WindowFunction[Sale, str, str, TimeWindow]):
    def apply(self, key: str, window: TimeWindow, inputs: Sequence[Sale]) -> Iterator[str]:
        yield key


class Biggest(ProcessWindowFunction[Sale, Sale, str, TimeWindow]):
    def process(
        self, key: str, context: ProcessWindowFunction.Context[TimeWindow], elements: Sequence[Sale]
    ) -> Iterator[Sale]:
        yield max(elements)


class BiggestOfAll(ProcessAllWindowFunction[Sale, bytes, TimeWindow]):
    def process(
        self, context: ProcessAllWindowFunction.Context[TimeWindow], elements: Sequence[Sale]
    ) -> Iterator[bytes]:
        yield max(elements)[0].encode()


class TotalOfAll(ProcessAllWindowFunction[float, str, TimeWindow]):
    def process(
        self, context: ProcessAllWindowFunction.Context[TimeWindow], elements: Sequence[float]
    ) -> Iterator[str]:
        yield str(elements[0])


class Size(AllWindowFunction[Sale, int, GlobalWindow]):
    def apply(self, window: GlobalWindow, inputs: Sequence[Sale]) -> Iterator[int]:
        yield len(inputs)


class OnBig(Trigger[Sale, TimeWindow]):
    def on_element(
        self, element: Sale, timestamp: int, window: TimeWindow, ctx: Trigger.TriggerContext
    ) -> TriggerResult:
        ctx.register_event_time_timer(window.max_timestamp())
        return TriggerResult.FIRE if element[1] > 100 else TriggerResult.CONTINUE

    def on_processing_time(self, time: int, window: TimeWindow, ctx: Trigger.TriggerContext) -> TriggerResult:
        return TriggerResult.CONTINUE

    def on_event_time(self, time: int, window: TimeWindow, ctx: Trigger.TriggerContext) -> TriggerResult:
        return TriggerResult.FIRE

    def clear(self, window: TimeWindow, ctx: Trigger.TriggerContext) -> None:
        ctx.delete_event_time_timer(window.max_timestamp())


def gap(sale: Sale) -> int:
    return sale[1]


sales = StreamExecutionEnvironment.get_execution_environment().from_collection([("a", 1), ("b", 2)])
assert_type(sales, DataStream[Sale])
keyed = sales.key_by(lambda sale: sale[0])
late = OutputTag[Sale]("late")

tumbling = keyed.window(TumblingEventTimeWindows.of(10))
assert_type(tumbling, WindowedStream[str, Sale, TimeWindow])
assert_type(keyed.window(SlidingEventTimeWindows.of(10, 5)), WindowedStream[str, Sale, TimeWindow])
assert_type(keyed.window(TumblingProcessingTimeWindows.of(10)), WindowedStream[str, Sale, TimeWindow])
assert_type(keyed.window(SlidingProcessingTimeWindows.of(10, 5)), WindowedStream[str, Sale, TimeWindow])
assert_type(keyed.window(EventTimeSessionWindows.with_gap(10)), WindowedStream[str, Sale, TimeWindow])
assert_type(keyed.window(ProcessingTimeSessionWindows.with_gap(10)), WindowedStream[str, Sale, TimeWindow])
assert_type(
    keyed.window(EventTimeSessionWindows.with_dynamic_gap(gap)), WindowedStream[str, Sale, TimeWindow]
)
assert_type(keyed.window(GlobalWindows.create()), WindowedStream[str, Sale, GlobalWindow])
assert_type(keyed.count_window(10, 5), WindowedStream[str, Sale, GlobalWindow])

assert_type(tumbling.trigger(OnBig()), WindowedStream[str, Sale, TimeWindow])
assert_type(tumbling.trigger(EventTimeTrigger.create()), WindowedStream[str, Sale, TimeWindow])
assert_type(tumbling.trigger(ContinuousEventTimeTrigger.of(5)), WindowedStream[str, Sale, TimeWindow])
assert_type(tumbling.trigger(PurgingTrigger.of(OnBig())), WindowedStream[str, Sale, TimeWindow])
assert_type(tumbling.trigger(CountTrigger.of(3)), WindowedStream[str, Sale, TimeWindow])
assert_type(
    keyed.window(GlobalWindows.create()).trigger(NeverTrigger()), WindowedStream[str, Sale, GlobalWindow]
)
assert_type(tumbling.evictor(CountEvictor.of(3)), WindowedStream[str, Sale, TimeWindow])
assert_type(tumbling.evictor(TimeEvictor.of(3)), WindowedStream[str, Sale, TimeWindow])
assert_type(tumbling.allowed_lateness(5).side_output_late_data(late), WindowedStream[str, Sale, TimeWindow])

assert_type(tumbling.reduce(max), DataStream[Sale])
assert_type(tumbling.reduce(lambda left, right: (left[0], left[1] + right[1])), DataStream[Sale])
assert_type(tumbling.reduce(More()), DataStream[Sale])
assert_type(tumbling.reduce(More(), Biggest()), DataStream[Sale])
assert_type(tumbling.reduce(More(), Keys()), DataStream[str])
assert_type(tumbling.aggregate(Total()), DataStream[float])
assert_type(tumbling.aggregate(Total(), Named()), DataStream[tuple[str, float]])
assert_type(tumbling.aggregate(Total(), Ends()), DataStream[int])
assert_type(tumbling.aggregate(Total(), Ends(), output_type=int), DataStream[int])
assert_type(tumbling.process(Biggest()), DataStream[Sale])
assert_type(tumbling.process(Biggest()).get_side_output(late), DataStream[Sale])
assert_type(tumbling.apply(Keys()), DataStream[str])
assert_type(tumbling.sum(1), DataStream[Sale])
assert_type(tumbling.min(1), DataStream[Sale])
assert_type(tumbling.max(1), DataStream[Sale])
assert_type(tumbling.min_by(1, first=False), DataStream[Sale])
assert_type(tumbling.max_by(1), DataStream[Sale])

everything = sales.window_all(TumblingEventTimeWindows.of(10))
assert_type(everything, AllWindowedStream[Sale, TimeWindow])
assert_type(everything.trigger(OnBig()).evictor(CountEvictor.of(3)), AllWindowedStream[Sale, TimeWindow])
assert_type(everything.reduce(max), DataStream[Sale])
assert_type(everything.reduce(More(), BiggestOfAll()), DataStream[bytes])
assert_type(everything.aggregate(Total()), DataStream[float])
assert_type(everything.aggregate(Total(), TotalOfAll()), DataStream[str])
assert_type(everything.process(BiggestOfAll()), DataStream[bytes])
assert_type(everything.max_by(1), DataStream[Sale])
assert_type(sales.count_window_all(10), AllWindowedStream[Sale, GlobalWindow])
assert_type(sales.count_window_all(10).apply(Size()), DataStream[int])
