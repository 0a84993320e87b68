"""Random programs: sources of keyed events, then steps (`random_steps.py`), each of which takes one or two streams of those so far.

A seed makes a program and says what it must give: exactly these lines, however it runs.

Arguments: seed, and those of `windows.py`.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from random import Random
from typing import Any

from millstream import (
    Configuration,
    Duration,
    ProcessFunction,
    StreamExecutionEnvironment,
    Types,
    WatermarkStrategy,
)
from millstream.connectors.datagen import DataGeneratorSource, RateLimiterStrategy
from tests.integration.engine.jobs.random_steps import STEPS, Event, Step, Timed
from tests.integration.engine.jobs.windows import sink_of

KEYS = 11
MOST_RECORDS = 60_000
"""Of one stream: a step that would give more is left out."""


def event(source: int, index: int) -> Event:
    """A key, and the time in ms."""
    return f"k{index * (source + 3) % KEYS}", index


@dataclass(frozen=True)
class Placed:
    """A step, the numbers of the streams that it takes, and how its operators are placed."""

    step: Step
    takes: tuple[int, ...]
    parallelism: int | None
    alone: bool


@dataclass(frozen=True)
class Program:
    """What a seed means.

    Attributes:
        leaves: numbers of the streams that nobody takes.
        lines: what must come out, for the number of events it was made for.
    """

    sources: int
    steps: list[Placed]
    leaves: list[int]
    lines: list[str]


def program_of(seed: int, events: int) -> Program:
    """The program with this seed, always the same for the same number of events of each source."""
    random = Random(seed)
    sources = random.randint(1, 3)
    streams: list[list[Timed]] = [
        [(event(source, index), index) for index in range(events)] for source in range(sources)
    ]
    taken: set[int] = set()
    steps: list[Placed] = []
    for _ in range(random.randint(3, 9)):
        step = random.choice(STEPS)(random)
        fresh = [number for number in range(len(streams)) if number not in taken]
        takes = tuple(
            random.choice(fresh if random.random() < 0.7 else range(len(streams))) for _ in range(step.inputs)
        )
        parallelism = random.choice((None, None, None, 1, 2, 3))
        alone = random.random() < 0.15
        results = step.expect(*(streams[number] for number in takes))
        if max(map(len, results)) > MOST_RECORDS or (step.name == "union" and takes[0] == takes[1]):
            continue
        steps.append(Placed(step, takes, parallelism, alone))
        taken |= set(takes)
        streams += results
    leaves = [number for number in range(len(streams)) if number not in taken]
    lines = [f"{leaf},{key},{number},{time}" for leaf in leaves for (key, number), time in streams[leaf]]
    return Program(sources, steps, leaves, lines)


class ToLine(ProcessFunction[Event, str]):
    """A record with its time, and which stream it is of."""

    def __init__(self, leaf: int) -> None:
        self.leaf = leaf

    def process_element(self, value: Event, ctx: Any) -> Iterator[str]:
        yield f"{self.leaf},{value[0]},{value[1]},{ctx.timestamp()}"


def build(env: StreamExecutionEnvironment, program: Program, events: int, rate: float | None) -> Any:
    """The stream of the program's lines."""
    limit = RateLimiterStrategy.no_op() if rate is None else RateLimiterStrategy.per_second(rate)
    strategy = WatermarkStrategy.for_bounded_out_of_orderness(Duration.of_millis(200))
    timed = strategy.with_timestamp_assigner(lambda value, _: value[1])
    streams: list[Any] = []
    for number in range(program.sources):
        source = DataGeneratorSource(partial(event, number), events, limit)
        streams.append(env.from_source(source, timed, f"events {number}").uid(f"events-{number}"))
    for number, placed in enumerate(program.steps):
        results = placed.step.build(*(streams[taken] for taken in placed.takes))
        if placed.step.name != "union":
            results[0].uid(f"step-{number}").name(f"{number} {placed.step.name}")
            if placed.parallelism is not None:
                results[0].set_parallelism(placed.parallelism)
            if placed.alone:
                results[0].disable_chaining()
        streams += results
    lines = [
        streams[leaf].process(ToLine(leaf), Types.STRING()).uid(f"lines-{leaf}") for leaf in program.leaves
    ]
    return lines[0].union(*lines[1:]) if lines[1:] else lines[0]


def described(program: Program) -> str:
    """The program, for people."""
    streams = program.sources
    text = [f"{streams} sources"]
    for placed in program.steps:
        outputs = 2 if placed.step.name == "side output" else 1
        names = ", ".join(str(streams + n) for n in range(outputs))
        streams += outputs
        at = f" at {placed.parallelism}" if placed.parallelism else ""
        text.append(f"{names} = {placed.step.name} of {placed.takes}{at}{' alone' if placed.alone else ''}")
    return "\n".join([*text, f"leaves {program.leaves}, {len(program.lines)} lines"])


def random_graph(
    configuration: Configuration | None, seed: int, out: str, events: int, rate: float
) -> StreamExecutionEnvironment:
    env = StreamExecutionEnvironment.get_execution_environment(configuration)
    build(env, program_of(seed, events), events, rate).sink_to(sink_of(out)).uid("out")
    return env


if __name__ == "__main__":
    random_graph(None, int(sys.argv[1]), sys.argv[2], int(sys.argv[3]), int(sys.argv[4])).execute(
        "random graph"
    )
