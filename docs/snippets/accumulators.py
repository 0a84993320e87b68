from millstream import (
    IntCounter,
    MapFunction,
    RuntimeContext,
    StreamExecutionEnvironment,
)


class Parse(MapFunction[str, int]):
    def open(self, runtime_context: RuntimeContext) -> None:
        self.bad = IntCounter()
        runtime_context.add_accumulator("bad lines", self.bad)
        self.parsed = runtime_context.get_metrics_group().counter("parsed")

    def map(self, value: str) -> int:
        if not value.isdigit():
            self.bad.add(1)
            return 0
        self.parsed.inc()
        return int(value)


env = StreamExecutionEnvironment.get_execution_environment()
env.from_collection(["1", "two", "3"], str).map(Parse()).name("parse").print()
result = env.execute()

print(result.get_all_accumulator_results())
for vertex in result.statistics.vertices:
    print(vertex.name)
