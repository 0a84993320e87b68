"""The warning about records that travel by pickle because the program says so."""

from __future__ import annotations

import warnings

from .core.types import holds_pickled
from .runtime.graph.stream_graph import StreamGraph, StreamNode


def warn_of_pickle(graph: StreamGraph) -> None:
    """One UserWarning for each operator whose results are declared to be pickled, at the line that made the operator."""
    for node in graph.nodes:
        side_outputs = (edge.record_type for edge in graph.outputs_of(node.node_id) if edge.side_output)
        types = [node.output_type, *(found for found in side_outputs if found is not None)]
        inherited = [
            edge.record_type for edge in graph.inputs_of(node.node_id)
        ]  # what is upstream has been named
        pickled = next((found for found in types if holds_pickled(found) and found not in inherited), None)
        if pickled is not None:
            filename, line = _place(node)
            warnings.warn_explicit(
                f"results of operator '{node.name}' are declared as {pickled.name}: they travel by pickle, which is slow,"
                " bound to the program's code, and runs whatever the bytes say; declare fields with Types, or use a"
                " dataclass, a NamedTuple or a Struct",
                UserWarning,
                filename,
                line,
            )


def _place(node: StreamNode) -> tuple[str, int]:
    filename, _, line = node.defined_at.rpartition(":")
    return (filename, int(line)) if filename else ("program", 1)
