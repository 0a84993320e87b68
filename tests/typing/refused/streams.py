"""Mistakes that mypy must find: an error is expected on each line that says so, and on no other. Never run."""

from millstream import EventTimeSessionWindows, StreamExecutionEnvironment, TumblingEventTimeWindows
from millstream.operators.time_triggers import EndOfStreamTrigger as EndsGlobally

numbers = StreamExecutionEnvironment.get_execution_environment().from_collection([1, 2])
numbers.map(len)  # error: arg-type
numbers.map(lambda number: number.upper())  # error: attr-defined
numbers.union(numbers.map(str))  # error: arg-type
numbers.key_by(lambda number: number).reduce(lambda left, right: str(left))  # error: arg-type,return-value
numbers.window(TumblingEventTimeWindows.of(10))  # error: attr-defined
numbers.set_parallelism("2")  # error: arg-type
keyed = numbers.key_by(lambda number: number)
keyed.window(TumblingEventTimeWindows.of(10)).trigger("count")  # error: arg-type
keyed.window(EventTimeSessionWindows.with_gap(10)).trigger(EndsGlobally())  # error: arg-type
keyed.window(TumblingEventTimeWindows.of(10)).aggregate(max)  # error: arg-type,call-overload
