from millstream import (
    FunctionInitializationContext,
    FunctionSnapshotContext,
    ListStateDescriptor,
    MapFunction,
    StreamExecutionEnvironment,
)


class Numbered(MapFunction[str, str]):
    """Numbers the records of its subtask, and goes on numbering after a failure."""

    def initialize_state(self, context: FunctionInitializationContext) -> None:
        store = context.get_operator_state_store()
        self.kept = store.get_list_state(ListStateDescriptor("count", int))
        self.count = sum(self.kept.get())

    def map(self, value: str) -> str:
        self.count += 1
        return f"{self.count}. {value}"

    def snapshot_state(self, context: FunctionSnapshotContext) -> None:
        self.kept.update([self.count])


env = StreamExecutionEnvironment.get_execution_environment()
env.enable_checkpointing(1_000)
env.get_checkpoint_config().set_checkpoint_storage_dir("checkpoints")
env.from_collection(["to be", "or not"], str).map(Numbered()).uid("number").print()
env.execute()
