"""A function that never returns, in a call that no signal handler interrupts for long. Arguments: folder for marks."""

from __future__ import annotations

import sys
import time
from pathlib import Path

from millstream import StreamExecutionEnvironment, WatermarkStrategy
from millstream.connectors.datagen import DataGeneratorSource, RateLimiterStrategy

MARKS = Path(sys.argv[1]) if len(sys.argv) > 1 else None


def stick(number: int) -> int:
    if number % 1_000 == 500 and MARKS is not None:
        (MARKS / f"stuck-{number}").touch()
        time.sleep(1_000)
    return number


if __name__ == "__main__":
    env = StreamExecutionEnvironment.get_execution_environment()
    source = DataGeneratorSource(int, 2_000, RateLimiterStrategy.per_second(20_000))
    env.from_source(source, WatermarkStrategy.no_watermarks(), "numbers").map(stick)
    env.execute("stuck")
