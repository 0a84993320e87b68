"""Records under way to an operator that, at the parallelism of now, is chained to the one they came from."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from millstream import JobClient, OutputTag, ProcessFunction, StreamExecutionEnvironment, WatermarkStrategy
from millstream.connectors.datagen import DataGeneratorSource
from millstream.connectors.files import Encoder, FileSink
from tests.integration.engine.harness import Workshop, wait_until
from tests.integration.engine.test_exactly_once_inside import TINY_BUFFERS, UNALIGNED, with_records_under_way

NUMBERS = 4_000
ODD = OutputTag("odd")


class Slow(ProcessFunction[int, Any]):
    """Odd numbers go to the side. Records take long until a file is there."""

    def __init__(self, hurry: Path) -> None:
        self.hurry = hurry

    def process_element(self, value: int, ctx: Any) -> Iterator[Any]:
        if not self.hurry.exists():
            time.sleep(0.005)
        yield (ODD, value) if value % 2 else value


@pytest.fixture
def start(workshop: Workshop) -> Callable[..., JobClient]:
    def run(parallelism: int, slow: int, *, chaining: bool = True, **changes: str) -> JobClient:
        settings = {
            **TINY_BUFFERS,
            **UNALIGNED,
            "pipeline_operator__chaining_enabled": str(chaining),
            **changes,
        }
        env = StreamExecutionEnvironment.get_execution_environment(workshop.configuration(**settings))
        env.set_parallelism(parallelism)
        source = DataGeneratorSource(lambda number: number, NUMBERS)
        numbers = env.from_source(source, WatermarkStrategy.no_watermarks(), "numbers")
        even = numbers.process(Slow(workshop.hurry)).set_parallelism(slow).uid("slow")
        odd = even.get_side_output(ODD).map(lambda number: f"odd {number}").set_parallelism(slow).uid("odd")
        lines = even.map(lambda number: f"even {number}").set_parallelism(slow).uid("even").union(odd)
        lines.sink_to(
            FileSink.for_row_format(str(workshop.out), Encoder.simple_string_encoder()).build()
        ).uid("out")
        return env.execute_async()

    return run


@pytest.mark.parametrize(
    ("then", "now"),
    [
        pytest.param((3, 1), (1, 1), id="chained in an embedded worker"),
        pytest.param((3, 2), (2, 2), id="chained"),
        pytest.param((2, 3), (4, 4), id="chained at another parallelism"),
        pytest.param((1, 2), (3, 3, False), id="forward at another parallelism", marks=pytest.mark.slow),
        pytest.param((3, 2), (2, 2, False), id="forward", marks=pytest.mark.slow),
        pytest.param((2, 2, False), (2, 1), id="nothing was under way", marks=pytest.mark.slow),
    ],
)
def test_each_number_is_there_once(
    workshop: Workshop, start: Callable[..., JobClient], then: tuple[Any, ...], now: tuple[Any, ...]
) -> None:
    run = lambda settings, **changes: start(*settings[:2], chaining=settings[2:] != (False,), **changes)
    client = run(then, execution_checkpointing_num__retained="1000")
    under_way = then[0] != then[1]
    wait_until(lambda: with_records_under_way(workshop) if under_way else workshop.complete(), "a checkpoint")
    client.cancel().result(60)
    newest = workshop.complete()[-1]
    assert (with_records_under_way(workshop) == newest) is under_way
    workshop.hurry.touch()
    run(now, execution_savepoint_path=str(newest)).wait(60)
    expected = Counter(f"{'odd' if number % 2 else 'even'} {number}" for number in range(NUMBERS))
    assert workshop.committed() == expected
