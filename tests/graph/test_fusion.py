"""The generated loops of a few chains, word by word: `--update-golden` rewrites the files; read the difference."""

from __future__ import annotations

from operator import itemgetter
from pathlib import Path
from typing import Any

import pytest

from millstream.core.batch import RecordBatch
from millstream.core.types import GENERIC, KeyEncoder
from millstream.operators.codegen import CodeBuilder, owner_of
from millstream.operators.functions import MapFunction
from millstream.operators.keyed import ReduceSpec
from millstream.operators.stateless import FilterSpec, FlatMapSpec, MapSpec
from millstream.operators.timestamps import TimestampsSpec
from millstream.operators.watermark_strategy import WatermarkStrategy
from millstream.operators.window_contents import AggregatedContents, ReducedContents, compile_add
from millstream.runtime.graph.fusion import FusedOperators, generate
from tests.operators.windows import LIST, Collected, window

GOLDEN = Path(__file__).parent.parent / "golden" / "fusion"


class _Output:
    def __init__(self) -> None:
        self.batches: list[RecordBatch] = []

    def emit(self, batch: RecordBatch) -> None:
        self.batches.append(batch)


def operators(*specs: Any) -> list[Any]:
    made = [spec.create() for spec in specs]
    for operator in made:
        operator.output = _Output()
    return made


ASSIGN = WatermarkStrategy.for_monotonous_timestamps().with_timestamp_assigner(lambda value, time: value)
MAP = MapSpec(lambda value: value + 1)
FILTER = FilterSpec(lambda value: value % 2)
FLAT_MAP = FlatMapSpec(lambda value: [value, value])
CHAINS = {
    "map-filter-map": (MAP, FILTER, MAP),
    "flat_map-reduce": (FLAT_MAP, ReduceSpec(itemgetter(0), GENERIC, max, GENERIC)),
    "filter-flat_map-filter": (FILTER, FLAT_MAP, FILTER),
    "assign_timestamps": (MAP, TimestampsSpec(ASSIGN)),
    "keep_timestamps": (TimestampsSpec(WatermarkStrategy.for_monotonous_timestamps()),),
    "nothing_to_do": (TimestampsSpec(WatermarkStrategy.no_watermarks()),),
}


@pytest.fixture
def check_golden(request: pytest.FixtureRequest):
    def check(name: str, text: str) -> None:
        file = GOLDEN / f"{name}.txt"
        if request.config.getoption("--update-golden", default=False):
            file.write_text(text)
        assert file.read_text() == text

    return check


@pytest.mark.parametrize("name", CHAINS)
def test_chains_become_one_readable_loop(name, check_golden) -> None:
    loops = []
    for with_timestamps in (True, False):
        code = generate(operators(*CHAINS[name]), with_timestamps=with_timestamps)
        loops.append(
            f"# {'with' if with_timestamps else 'without'} timestamps\n{code.source('values, timestamps')}"
        )
    check_golden(name, "\n".join(loops))


class _Slices:
    def slice_map(self, slice_start: int) -> dict[Any, Any]:
        return {}

    def add_slowly(self, value: Any, timestamp: int, slice_start: int) -> None:
        """Nothing is late here."""


@pytest.mark.parametrize(
    ("name", "contents", "offset"),
    [
        ("window-reduce", ReducedContents(max), 0),
        ("window-aggregate", AggregatedContents(Collected()), 3),
        ("window-list", LIST, 0),
    ],
)
def test_windows_add_records_in_one_readable_loop(monkeypatch, name, contents, offset, check_golden) -> None:
    sources: list[str] = []
    build = CodeBuilder.build

    def remember(code: CodeBuilder, parameters: str) -> Any:
        sources.append(code.source(parameters))
        return build(code, parameters)

    monkeypatch.setattr(CodeBuilder, "build", remember)
    slicing = window(10, 5, offset).slicing
    compile_add(contents, itemgetter(0), KeyEncoder().encode, slicing, _Slices())
    check_golden(name, sources[0])


@pytest.mark.parametrize(
    ("specs", "values", "results"),
    [
        ([MAP, FILTER, MAP], [1, 2, 3, 4], [4, 6]),
        ([FLAT_MAP, FLAT_MAP], [1, 2], [1] * 4 + [2] * 4),
        ([FlatMapSpec(lambda value: None)], [1, 2], None),
        ([FlatMapSpec(lambda value: (n for n in range(value))), FILTER], [2, 4], [1, 1, 3]),
    ],
)
@pytest.mark.parametrize("timed", [True, False], ids=["with timestamps", "without"])
def test_loops_do_what_their_operators_say(specs, values, results, timed) -> None:
    chain = operators(*specs)
    fused = FusedOperators(chain)
    fused.process_batch(RecordBatch(values, list(values) if timed else None))
    batches = chain[-1].output.batches
    assert [batch.values for batch in batches] == ([] if results is None else [results])
    for batch in batches:
        assert (batch.timestamps is not None) == timed
    fused.close()


@pytest.mark.parametrize("timed", [True, False], ids=["with timestamps", "without"])
def test_where_one_record_becomes_many_results_leave_in_batches_of_the_usual_size(timed) -> None:
    chain = operators(FlatMapSpec(lambda value: [value] * 100), FILTER)
    fused = FusedOperators(chain)
    values = list(range(100))
    fused.process_batch(RecordBatch(values, values if timed else None))
    batches = chain[-1].output.batches
    assert [value for batch in batches for value in batch.values] == [
        v for v in values if v % 2 for _ in range(100)
    ]
    assert all(len(batch) < 2_000 for batch in batches)
    for batch in batches:
        assert batch.timestamps == (batch.values if timed else None)
    fused.close()


def test_both_variants_of_a_loop_are_made_only_when_needed() -> None:
    chain = operators(MAP)
    fused = FusedOperators(chain)
    fused.process_batch(RecordBatch([1], [10]))
    fused.process_batch(RecordBatch([2]))
    fused.process_batch(RecordBatch([3], [30]))
    assert chain[0].output.batches == [RecordBatch([2], [10]), RecordBatch([3]), RecordBatch([4], [30])]
    fused.close()


def test_the_owner_of_a_line_is_forgotten_with_the_loop() -> None:
    chain = operators(MapSpec(int), FILTER)
    fused = FusedOperators(chain)
    with pytest.raises(ValueError) as raised:
        fused.process_batch(RecordBatch(["no number"]))
    entry = raised.traceback[-1]
    filename, line = str(entry.frame.code.raw.co_filename), entry.lineno + 1
    owner = owner_of(filename, line)
    assert owner is not None
    assert owner.operator is chain[0]
    assert entry.frame.f_locals[owner.record_variable] == "no number"
    fused.close()
    assert owner_of(filename, line) is None


def test_a_function_object_is_called_through_its_method() -> None:
    class Plus(MapFunction):
        def __init__(self, n: int) -> None:
            self.n = n

        def map(self, value: int) -> int:
            return value + self.n

    chain = operators(MapSpec(Plus(5)))
    FusedOperators(chain).process_batch(RecordBatch([1]))
    assert chain[0].output.batches == [RecordBatch([6])]
