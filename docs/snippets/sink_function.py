import uuid
from pathlib import Path

from millstream import StreamExecutionEnvironment, TwoPhaseCommitSinkFunction

OUT = Path("out").absolute()


class Staged(TwoPhaseCommitSinkFunction[str, str]):
    """Writes to a hidden file, which the commit makes visible."""

    def __init__(self) -> None:
        super().__init__(str)  # what handles are, for their encoding in checkpoints

    def begin_transaction(self) -> str:
        return uuid.uuid4().hex

    def invoke(self, transaction: str, value: str, context: object) -> None:
        with (OUT / f".{transaction}").open("a", encoding="utf-8") as file:
            file.write(value + "\n")

    def pre_commit(self, transaction: str) -> None:
        """Everything is in the file already."""

    def commit(self, transaction: str) -> None:
        staged = OUT / f".{transaction}"
        if staged.exists():  # it does not when this is a repetition
            staged.rename(OUT / f"{transaction}.txt")

    def abort(self, transaction: str) -> None:
        (OUT / f".{transaction}").unlink(missing_ok=True)


OUT.mkdir()
env = StreamExecutionEnvironment.get_execution_environment()
env.from_collection(["to be", "or not"], str).add_sink(Staged())
env.execute()

for file in OUT.glob("*.txt"):
    print(file.read_text(encoding="utf-8"), end="")
