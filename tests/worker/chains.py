"""Chains without a job: operators of a vertex, opened by hand."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from millstream.core.batch import ControlElement, RecordBatch
from millstream.core.clock import ManualClock
from millstream.operators.base import OperatorContext, RuntimeInfo
from millstream.runtime.graph.execution_graph import Subtask
from millstream.runtime.graph.job_graph import ChainedOperator, JobVertex
from millstream.runtime.worker.chain import Chain, build_chain
from millstream.runtime.worker.processing_time import ProcessingTimeService
from millstream.state.backend import BackendContext
from millstream.state.backends import create_backend


class Writer:
    """An exchange that takes everything."""

    name = ""

    def __init__(self) -> None:
        self.sent: list[Any] = []

    def emit(self, batch: RecordBatch) -> None:
        self.sent.append(batch)

    def broadcast(self, element: ControlElement) -> None:
        self.sent.append(element)

    def send_barrier(self, barrier: ControlElement, in_flight: object) -> None:
        self.sent.append(barrier)

    @property
    def values(self) -> list[Any]:
        return [value for batch in self.sent if isinstance(batch, RecordBatch) for value in batch.values]


def described(*specs: Any) -> list[ChainedOperator]:
    """One after the other; a tuple `(spec, index of its input, side output or None)` says otherwise."""
    found = []
    for index, given in enumerate(specs):
        spec, before, side = given if isinstance(given, tuple) else (given, index - 1, None)
        found.append(
            ChainedOperator(
                f"id-{index}", f"{spec.kind} {index}", None, spec, None if index == 0 else before, side
            )
        )
    return found


def running(descriptions: list[ChainedOperator], writers: Any, folder: Path | None = None) -> Chain:
    chain = build_chain(descriptions, writers)
    clock = ManualClock()
    for index in reversed(range(len(descriptions))):
        chain.operators[index].open(_context(descriptions[index], chain, index, clock, folder))
    return chain


def subtask_of(descriptions: list[ChainedOperator]) -> Subtask:
    vertex = JobVertex("v", 0, "the vertex", tuple(descriptions), 2, 128, "default")
    return Subtask("v-1", vertex, 1, 0)  # type: ignore[arg-type]


def _context(
    description: ChainedOperator, chain: Chain, index: int, clock: ManualClock, folder: Path | None
) -> OperatorContext:
    def open_backend() -> Any:
        assert folder is not None
        local = folder / str(index)
        local.mkdir(parents=True)
        return create_backend(
            "hashmap",
            BackendContext(description.name, 128, (0, 127), local, (), None, 1_000),  # type: ignore[arg-type]
        )

    return OperatorContext(
        info=RuntimeInfo(
            "job",
            "job",
            "task",
            description.name,
            description.operator_id,
            1,
            2,
            128,
            0,
            None,
            200,
            checkpointing=True,
        ),
        output=chain.outputs[index],
        processing_time=ProcessingTimeService(clock),
        clock=clock,
        restored_lists={},
        open_backend=open_backend,
        count=lambda name, n: None,
        run_in_background=lambda work, handler: handler(work()),
        call_soon=lambda action: action(),
        send_to_client=lambda *_: None,
    )
