"""What a program may say about windows, and what it reads when that cannot work."""

from __future__ import annotations

import pytest

from millstream import (
    AggregateFunction,
    AllWindowFunction,
    CountEvictor,
    CountTrigger,
    DeltaTrigger,
    DynamicEventTimeSessionWindows,
    EventTimeSessionWindows,
    GlobalWindows,
    JobDefinitionError,
    NeverTrigger,
    OutputTag,
    ProcessAllWindowFunction,
    ProcessingTimeSessionWindows,
    ProcessWindowFunction,
    SlidingEventTimeWindows,
    SlidingProcessingTimeWindows,
    StreamExecutionEnvironment,
    Trigger,
    TumblingEventTimeWindows,
    TumblingProcessingTimeWindows,
    Types,
    WindowFunction,
)

SESSIONS = EventTimeSessionWindows.with_gap(5)


@pytest.fixture
def stream():
    env = StreamExecutionEnvironment.get_execution_environment()
    return env.from_collection([("a", 1)], Types.TUPLE([Types.STRING(), Types.LONG()]))


@pytest.fixture
def keyed(stream):
    return stream.key_by(lambda record: record[0])


class NoMerge(AggregateFunction):
    def create_accumulator(self):
        return 0

    def add(self, value, accumulator):
        return accumulator + 1

    def get_result(self, accumulator):
        return accumulator


def description(stream):
    return stream._own_node("test").description


@pytest.mark.parametrize(
    ("say", "what"),
    [
        (lambda s: s.window("minute"), "'minute', which is not a window assigner"),
        (lambda s: s.window(SESSIONS).trigger(CountTrigger), "which is not a trigger"),
        (lambda s: s.window(SESSIONS).trigger(NeverTrigger()), "merges windows, which NeverTrigger"),
        (lambda s: s.window(SESSIONS).trigger(DeltaTrigger.of(1, max)), "merges windows, which DeltaTrigger"),
        (lambda s: s.window(SESSIONS).evictor(CountEvictor), "which is not an evictor"),
        (lambda s: s.window(SESSIONS).aggregate(NoMerge()), "NoMerge needs a method merge"),
        (lambda s: s.window(SESSIONS).allowed_lateness(-1), "allowed lateness is negative"),
        (lambda s: s.window(SESSIONS).side_output_late_data("late"), "'late' is not an OutputTag"),
        (lambda s: s.window(SESSIONS).process(len), "is not a window function"),
        (lambda s: s.window(SESSIONS).sum(2), "has no field 2"),
        (lambda s: s.window(SESSIONS).sum(0), "which has no sum"),
        (lambda s: s.window(SESSIONS).reduce(lambda a: a), "with 2 arguments"),
    ],
)
def test_what_cannot_work_is_refused_with_the_users_line(keyed, say, what) -> None:
    with pytest.raises(JobDefinitionError) as caught:
        say(keyed)
    assert what in str(caught.value)
    assert __file__ in str(caught.value.where)


@pytest.mark.parametrize(
    "make",
    [
        lambda: TumblingEventTimeWindows.of(0),
        lambda: TumblingProcessingTimeWindows.of(-1),
        lambda: TumblingProcessingTimeWindows.of(10, 10),
        lambda: TumblingEventTimeWindows(10, -10),
        lambda: SlidingEventTimeWindows.of(10, 0),
        lambda: SlidingProcessingTimeWindows.of(10, 5, 5),
        lambda: SlidingProcessingTimeWindows.of(-10, 5),
        lambda: EventTimeSessionWindows.with_gap(0),
        lambda: ProcessingTimeSessionWindows.with_gap(-1),
        lambda: DynamicEventTimeSessionWindows.with_dynamic_gap(5),
        lambda: EventTimeSessionWindows.with_dynamic_gap(None),
    ],
)
def test_assigners_that_cannot_work_are_refused(make) -> None:
    with pytest.raises(JobDefinitionError):
        make()


@pytest.mark.parametrize(("size", "slide"), [(0, None), (-1, None), (2, -1), ("3", None), (2, 1.5)])
def test_count_windows_need_positive_numbers(stream, keyed, size, slide) -> None:
    for windows in (keyed.count_window, stream.count_window_all):
        with pytest.raises(JobDefinitionError, match="positive number of records"):
            windows(size, slide)


def test_an_assigner_whose_default_trigger_is_none_is_refused(keyed) -> None:
    class Wrong(GlobalWindows):
        def get_default_trigger(self, env):
            return None

    with pytest.raises(JobDefinitionError, match="default trigger"):
        keyed.window(Wrong())


def test_a_default_trigger_that_cannot_merge_is_refused_too(keyed) -> None:
    class Wrong(EventTimeSessionWindows):
        def get_default_trigger(self, env):
            return NeverTrigger()

    with pytest.raises(JobDefinitionError, match="NeverTrigger"):
        keyed.window(Wrong(5))


def test_sessions_with_an_evictor_keep_records_and_need_no_merge(keyed) -> None:
    keyed.window(SESSIONS).evictor(CountEvictor.of(3)).aggregate(NoMerge())


def test_the_plan_names_assigner_trigger_evictor_and_function(keyed) -> None:
    stream = keyed.window(SESSIONS).trigger(CountTrigger.of(3)).evictor(CountEvictor.of(2)).sum(1)
    assert description(stream) == "Window(EventTimeSessionWindows(5 ms), CountTrigger, CountEvictor, Reduce)"
    plain = keyed.window(TumblingEventTimeWindows.of(10)).reduce(max)
    assert description(plain) == "Window(TumblingEventTimeWindows(10 ms), EventTimeTrigger, Reduce)"


def test_a_trigger_needs_all_methods_but_on_merge() -> None:
    assert Trigger.__abstractmethods__ == {"on_element", "on_event_time", "on_processing_time", "clear"}


def test_windows_over_all_records_have_one_subtask(stream) -> None:
    class Tell(ProcessAllWindowFunction):
        def process(self, context, elements):
            return elements

    class Apply(AllWindowFunction):
        def apply(self, window, inputs):
            return inputs

    windows = [
        stream.window_all(TumblingEventTimeWindows.of(10)).process(Tell()),
        stream.window_all(SESSIONS).apply(Apply()),
        stream.window_all(SESSIONS).side_output_late_data(OutputTag("late")).max_by(1),
        stream.count_window_all(3).sum(1),
        stream.count_window_all(3, 1).reduce(max, Apply()),
    ]
    for result in windows:
        node = result._own_node("test")
        assert (node.parallelism, node.max_parallelism) == (1, 1)


def test_functions_of_keyed_windows_do_not_fit_windows_over_all_records(stream) -> None:
    class Keyed(ProcessWindowFunction):
        def process(self, key, context, elements):
            return elements

    with pytest.raises(JobDefinitionError, match="with 2 arguments"):
        stream.window_all(SESSIONS).process(Keyed())


def test_window_functions_may_name_their_kind_of_window_or_leave_it_out() -> None:
    assert ProcessWindowFunction[int, int, str] == ProcessWindowFunction[int, int, str]
    for bases in (
        (ProcessWindowFunction[int, int, str], WindowFunction[int, int, str]),
        (ProcessAllWindowFunction[int, int], AllWindowFunction[int, int]),
    ):
        for base in bases:
            assert base.__args__[-1].__name__ == "TimeWindow"
