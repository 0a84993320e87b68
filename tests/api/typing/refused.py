"""Mistakes that mypy must find: an error is expected on each line that says so, and on no other. Never run."""

from millstream import StreamExecutionEnvironment, TumblingEventTimeWindows

numbers = StreamExecutionEnvironment.get_execution_environment().from_collection([1, 2])
numbers.map(len)  # error: arg-type
numbers.map(lambda number: number.upper())  # error: attr-defined
numbers.union(numbers.map(str))  # error: arg-type
numbers.key_by(lambda number: number).reduce(lambda left, right: str(left))  # error: arg-type,return-value
numbers.window(TumblingEventTimeWindows.of(10))  # error: attr-defined
numbers.set_parallelism("2")  # error: arg-type
