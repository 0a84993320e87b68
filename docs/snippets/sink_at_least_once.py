from pathlib import Path

from millstream import RuntimeContext, SinkFunction, StreamExecutionEnvironment

OUT = Path("out").absolute()


class Append(SinkFunction[str]):
    """Writes to one file in each subtask."""

    def open(self, runtime_context: RuntimeContext) -> None:
        name = f"part-{runtime_context.get_index_of_this_subtask()}.txt"
        self.file = (OUT / name).open("a", encoding="utf-8")

    def invoke(self, value: str, context: SinkFunction.Context) -> None:
        self.file.write(value + "\n")

    def flush(self) -> None:
        self.file.flush()  # called at every checkpoint, and at the end

    def close(self) -> None:
        self.file.close()


OUT.mkdir()
env = StreamExecutionEnvironment.get_execution_environment()
words = env.from_collection(["to be", "or not"], str)
words.add_sink(Append()).name("append")
words.map(len).add_sink(lambda length: print("length", length)).name("show")
env.execute()

print((OUT / "part-0.txt").read_text(encoding="utf-8"), end="")
