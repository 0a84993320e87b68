from pathlib import Path

from millstream import (
    KeyedProcessFunction,
    MapStateDescriptor,
    RuntimeContext,
    StreamExecutionEnvironment,
    Types,
    ValueStateDescriptor,
    state_reader,
)

Click = tuple[str, str]


class Visits(KeyedProcessFunction[str, Click, str]):
    def open(self, runtime_context: RuntimeContext) -> None:
        self.total = runtime_context.get_state(ValueStateDescriptor("total", int))
        self.pages = runtime_context.get_map_state(
            MapStateDescriptor("pages", str, int)
        )

    def process_element(self, value: Click, ctx: KeyedProcessFunction.Context) -> None:
        _, page = value
        self.total.update((self.total.value() or 0) + 1)
        self.pages.put(page, (self.pages.get(page) or 0) + 1)


env = StreamExecutionEnvironment.get_execution_environment()
env.configure(
    {
        "execution.checkpointing.interval": "1 min",
        "execution.checkpointing.dir": "checkpoints",
    }
)
clicks = env.from_collection([("ada", "home"), ("bob", "help"), ("ada", "shop")])
visits = clicks.key_by(lambda click: click[0], Types.STRING()).process(Visits())
visits.uid("visits").print()
env.execute("clicks")  # a bounded job ends with a checkpoint

(checkpoint,) = Path("checkpoints").glob("*/chk-*")
with state_reader.open(str(checkpoint)) as snapshot:
    operator = snapshot.operator("visits")
    for state in operator.states():
        print(state.name, state.kind, state.value_type, state.size().entries)
    for entry in sorted(operator.keyed("pages").entries(), key=lambda e: e.map_key):
        print(entry.key, entry.map_key, entry.value)

with state_reader.QueryableStateClient("checkpoints", "clicks") as client:
    print(client.get("visits", "total", "ada")[0].value)
