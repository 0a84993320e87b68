import subprocess
import sys
from collections import Counter
from pathlib import Path
from threading import Event

from millstream import Configuration, StreamExecutionEnvironment, WatermarkStrategy
from millstream.connectors.datagen import DataGeneratorSource, RateLimiterStrategy
from millstream.connectors.files import Encoder, FileSink

SETTINGS = {
    "high-availability.type": "filesystem",
    "high-availability.storageDir": "ha",
    "high-availability.cluster-id": "numbers",
    "high-availability.lease-timeout": "1 s",  # 15 s unless a failover must be this quick
    "execution.checkpointing.interval": "100 ms",
    "execution.checkpointing.dir": "checkpoints",
    "parallelism.default": "2",
}


def run_job() -> None:
    configuration = Configuration()
    for key, value in SETTINGS.items():
        configuration.set_string(key, value)
    env = StreamExecutionEnvironment.get_execution_environment(configuration)
    source = DataGeneratorSource(
        lambda index: index, 6_000, RateLimiterStrategy.per_second(2_000)
    )
    numbers = env.from_source(source, WatermarkStrategy.no_watermarks(), "numbers")
    sink = FileSink.for_row_format(
        str(Path("out").absolute()), Encoder.simple_string_encoder()
    ).build()
    numbers.map(str).sink_to(sink)
    env.execute("numbers")


def committed() -> Counter[str]:
    files = [
        path
        for path in Path("out").rglob("*")
        if path.is_file() and not path.name.startswith(".")
    ]
    return Counter(line for path in files for line in path.read_text().splitlines())


def start_job_manager() -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, __file__, "job"], stderr=subprocess.PIPE, text=True
    )


def kill_the_leader() -> None:
    with start_job_manager() as leader:
        assert leader.stderr is not None
        print(leader.stderr.readline().strip())
        with start_job_manager() as standby:
            while not committed():
                Event().wait(0.05)
            leader.kill()
            print("the standby ends with", standby.wait())
    lines = committed()
    print(f"{len(lines)} numbers, each {set(lines.values())} time")


if __name__ == "__main__":
    if sys.argv[1:] == ["job"]:
        run_job()
    else:
        kill_the_leader()
