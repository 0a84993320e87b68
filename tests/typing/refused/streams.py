"""Mistakes that type checkers must find: an error is expected in each statement that says so, and in no other. Never run."""

from millstream import EventTimeSessionWindows, StreamExecutionEnvironment, TumblingEventTimeWindows
from millstream.operators.time_triggers import EndOfStreamTrigger as EndsGlobally

numbers = StreamExecutionEnvironment.get_execution_environment().from_collection([1, 2])
numbers.map(len)  # error: arg-type; reportArgumentType
numbers.map(lambda number: number.upper())  # error: attr-defined; reportAttributeAccessIssue
numbers.union(numbers.map(str))  # error: arg-type; reportArgumentType
keyed = numbers.key_by(lambda number: number)
keyed.reduce(lambda left, right: str(left))  # error: arg-type,return-value; reportArgumentType
numbers.window(TumblingEventTimeWindows.of(10))  # error: attr-defined; reportAttributeAccessIssue
numbers.set_parallelism("2")  # error: arg-type; reportArgumentType
windows = keyed.window(TumblingEventTimeWindows.of(10))
windows.trigger("count")  # error: arg-type; reportArgumentType
windows.aggregate(max)  # error: arg-type,call-overload; reportArgumentType
keyed.window(EventTimeSessionWindows.with_gap(10)).trigger(
    EndsGlobally()
)  # error: arg-type; reportArgumentType
