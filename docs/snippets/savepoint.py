from pathlib import Path
from time import sleep

from millstream import (
    Configuration,
    JobClient,
    StreamExecutionEnvironment,
    WatermarkStrategy,
)
from millstream.connectors.datagen import DataGeneratorSource, RateLimiterStrategy
from millstream.connectors.files import Encoder, FileSink

SETTINGS = Configuration()
SETTINGS.set_string("execution.checkpointing.interval", "50 ms")
SETTINGS.set_string("execution.checkpointing.dir", "checkpoints")
SETTINGS.set_string("execution.checkpointing.savepoint-dir", "savepoints")


def start(backend: str) -> JobClient:
    env = StreamExecutionEnvironment.get_execution_environment(SETTINGS)
    env.configure({"state.backend.type": backend})
    source = DataGeneratorSource(
        lambda index: index, 2_000, RateLimiterStrategy.per_second(2_000)
    )
    numbers = env.from_source(source, WatermarkStrategy.no_watermarks(), "numbers").uid(
        "numbers"
    )
    sums = (
        numbers.key_by(lambda number: number % 2).reduce(lambda a, b: a + b).uid("sums")
    )
    sums.sink_to(
        FileSink.for_row_format("out", Encoder.simple_string_encoder()).build()
    ).uid("files")
    return env.execute_async("sums")


def written() -> list[str]:
    return [
        line
        for file in Path("out").rglob("part-*")
        for line in file.read_text().splitlines()
    ]


first = start("hashmap")
while not written():
    sleep(0.01)
savepoint = first.stop_with_savepoint(False).result()
print(first.status.value, len(written()) < 2_000)

SETTINGS.set_string("execution.savepoint.path", savepoint)
start("rocksdb").wait()
print(len(written()), max(int(line) for line in written()))
