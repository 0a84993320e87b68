"""A chain of running operators: made from a vertex's description, linked by their outputs, fused where they can be."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from ...core.batch import RecordBatch, Watermark, WatermarkStatus
from ...core.types import coercion_of
from ...operators.base import FusibleOperator, Operator
from ...operators.checkpointed import CheckpointedFunctions
from ..exchange.record_writer import RecordWriter
from ..graph.fusion import FusedOperators
from ..graph.job_graph import ChainedOperator


class ChainOutput:
    """An operator's output: the next operators of the chain and the exchanges that read it.

    Results of a type with rows in it are made rows here, before anybody sees them: the next operator of the chain then gets
    the same as one behind an exchange.

    Args:
        description: of the operator.
    """

    def __init__(self, description: ChainedOperator) -> None:
        self.operators: list[Operator] = []
        self.writers: list[RecordWriter] = []
        self.side_operators: defaultdict[str, list[Operator]] = defaultdict(list)
        self.side_writers: defaultdict[str, list[RecordWriter]] = defaultdict(list)
        self.emit: Callable[[RecordBatch], None] = self._emit_to_all
        self._coerce = coercion_of(description.output_type)
        self._coerce_side = {
            tag: coerce
            for tag, side_type in description.side_types.items()
            if (coerce := coercion_of(side_type)) is not None
        }

    @property
    def changes_records(self) -> bool:
        """Whether results of the main output have to pass `emit`, on their way to whomever."""
        return self._coerce is not None

    def connect(self) -> None:
        """Called once all targets are known: the common case of one target costs no call of ours."""
        targets = [
            *(operator.process_batch for operator in self.operators),
            *(writer.emit for writer in self.writers),
        ]
        if self._coerce is not None:
            self.emit = self._emit_coerced
        elif len(targets) == 1:
            self.emit = targets[0]
        self._targets = targets

    def _emit_to_all(self, batch: RecordBatch) -> None:
        for target in self._targets:
            target(batch)

    def _emit_coerced(self, batch: RecordBatch) -> None:
        assert self._coerce is not None
        self._emit_to_all(_coerced(batch, self._coerce))

    def emit_side(self, tag: str, batch: RecordBatch) -> None:
        """Records for a side output; dropped when nobody reads it."""
        coerce = self._coerce_side.get(tag)
        if coerce is not None:
            batch = _coerced(batch, coerce)
        for operator in self.side_operators.get(tag, ()):
            operator.process_batch(batch)
        for writer in self.side_writers.get(tag, ()):
            writer.emit(batch)

    def emit_watermark(self, timestamp: int) -> None:
        """To every target, side outputs included."""
        for operator in self._all_operators():
            operator.process_watermark(timestamp)
        for writer in self._all_writers():
            writer.broadcast(Watermark(timestamp))

    def emit_status(self, idle: bool) -> None:
        """To every target, side outputs included."""
        for operator in self._all_operators():
            operator.process_status(idle)
        for writer in self._all_writers():
            writer.broadcast(WatermarkStatus(idle))

    def _all_operators(self) -> list[Operator]:
        return [*self.operators, *(op for operators in self.side_operators.values() for op in operators)]

    def _all_writers(self) -> list[RecordWriter]:
        return [*self.writers, *(writer for writers in self.side_writers.values() for writer in writers)]


def _coerced(batch: RecordBatch, coerce: Callable[[Any], Any]) -> RecordBatch:
    if type(batch) is not RecordBatch:
        return batch  # partial aggregates
    return RecordBatch(list(map(coerce, batch.values)), batch.timestamps)


@dataclass(slots=True)
class Chain:
    """The operators of one subtask.

    Attributes:
        operators: by position in the vertex, upstream before downstream.
        entry: where input batches and control elements go.
        operator_state: by operator id, of operators that were opened with it.
    """

    descriptions: Sequence[ChainedOperator]
    operators: list[Operator]
    outputs: list[ChainOutput]
    entry: Operator
    fused: list[FusedOperators] = field(default_factory=list)
    operator_state: dict[str, CheckpointedFunctions] = field(default_factory=dict)

    def by_id(self) -> Mapping[str, Operator]:
        """The operators by their ids."""
        return {
            d.operator_id: operator for d, operator in zip(self.descriptions, self.operators, strict=True)
        }


def build_chain(
    descriptions: Sequence[ChainedOperator], writers: Mapping[tuple[int, str | None], Sequence[RecordWriter]]
) -> Chain:
    """Make and link the operators.

    Args:
        descriptions: the vertex's chain.
        writers: exchanges by (position of the operator they read, side output or None).
    """
    operators = [description.operator.create() for description in descriptions]
    outputs = list(map(ChainOutput, descriptions))
    for operator, description in zip(operators, descriptions, strict=True):
        operator.name = description.name
    for (position, side_output), edge_writers in writers.items():
        for writer in edge_writers:
            writer.name = descriptions[position].name
        if side_output is None:
            outputs[position].writers += edge_writers
        else:
            outputs[position].side_writers[side_output] += edge_writers
    chain = Chain(descriptions, operators, outputs, operators[0])
    runs = _fusible_runs(chain, writers)
    heads: dict[int, Operator] = {}
    for run in runs:
        members = [
            operator for position in run if isinstance(operator := operators[position], FusibleOperator)
        ]
        fused = FusedOperators(members)
        chain.fused.append(fused)
        heads[run[0]] = fused
    inside = {position for run in runs for position in run[1:]}
    for position, description in enumerate(descriptions):
        if description.input_index is None:
            chain.entry = heads.get(position, operators[position])
            continue
        # Within a fused run only control elements take this way, so the operator itself is the target.
        target = operators[position] if position in inside else heads.get(position, operators[position])
        output = outputs[description.input_index]
        if description.input_side_output is None:
            output.operators.append(target)
        else:
            output.side_operators[description.input_side_output].append(target)
    for output in outputs:
        output.connect()
    return chain


def _fusible_runs(
    chain: Chain, writers: Mapping[tuple[int, str | None], Sequence[RecordWriter]]
) -> list[list[int]]:
    """Maximal runs of fusible operators, each the only consumer of the one before it."""
    consumers: defaultdict[int, list[int]] = defaultdict(list)
    for position, description in enumerate(chain.descriptions):
        if description.input_index is not None:
            consumers[description.input_index].append(position)
    written = {position for position, _ in writers}
    runs: list[list[int]] = []
    run_of: dict[int, list[int]] = {}
    for position, description in enumerate(chain.descriptions):
        if not isinstance(chain.operators[position], FusibleOperator):
            continue
        before = description.input_index
        joins = (
            before is not None
            and before in run_of
            and consumers[before] == [position]
            and before not in written
            and not chain.outputs[before].changes_records
            and description.input_side_output is None
        )
        if joins and before is not None:
            run_of[position] = run_of[before]
            run_of[position].append(position)
        else:
            run_of[position] = [position]
            runs.append(run_of[position])
    return runs
