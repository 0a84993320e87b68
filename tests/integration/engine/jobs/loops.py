"""Numbers that go round as long as Collatz' steps take them, counted by key on each round; into files, exactly once."""

from __future__ import annotations

import sys
from collections import Counter
from pathlib import Path
from typing import Any

from millstream import Configuration, StreamExecutionEnvironment, WatermarkStrategy
from millstream.connectors.datagen import DataGeneratorSource, RateLimiterStrategy
from millstream.connectors.files import Encoder, FileSink

COUNT = 1_500


def step(value: tuple[int, int, int]) -> tuple[int, int, int]:
    origin, number, steps = value
    return origin, number // 2 if number % 2 == 0 else 3 * number + 1, steps + 1


def collatz(number: int) -> int:
    """Steps until a number is 1, at least one."""
    steps = 0
    while steps == 0 or number != 1:
        number = number // 2 if number % 2 == 0 else 3 * number + 1
        steps += 1
    return steps


def loops(configuration: Configuration | None, out: str, rate: int) -> StreamExecutionEnvironment:
    """The job, declared."""
    env = StreamExecutionEnvironment.get_execution_environment(configuration)
    source = DataGeneratorSource(lambda n: (n + 1, n + 1, 0), COUNT, RateLimiterStrategy.per_second(rate))
    iteration = env.from_source(source, WatermarkStrategy.no_watermarks(), "numbers").iterate()
    stepped: Any = iteration.key_by(lambda value: value[1] % 101).map(step)
    iteration.close_with(stepped.filter(lambda value: value[1] != 1).rebalance())
    done = stepped.filter(lambda value: value[1] == 1)
    done.map(lambda value: f"{value[0]} {value[2]}").sink_to(
        FileSink.for_row_format(out, Encoder.simple_string_encoder()).build()
    )
    return env


def expected_lines() -> Counter[str]:
    """Each number and its steps, once."""
    return Counter(f"{number} {collatz(number)}" for number in range(1, COUNT + 1))


def committed_lines(out: Path) -> Counter[str]:
    """What is there for everybody to see."""
    lines: Counter[str] = Counter()
    for path in out.rglob("*"):
        if path.is_file() and not path.name.startswith("."):
            lines.update(path.read_text().splitlines())
    return lines


if __name__ == "__main__":
    loops(None, sys.argv[1], int(sys.argv[2])).execute("loops")
