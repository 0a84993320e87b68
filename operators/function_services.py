"""What the functions of one operator in one subtask may use besides state, through their `RuntimeContext`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType

from .accumulator_registry import AccumulatorRegistry
from .metrics import MetricGroup


@dataclass(frozen=True, slots=True)
class FunctionServices:
    """`job_parameters` are those of the execution configuration."""

    accumulators: AccumulatorRegistry = field(default_factory=AccumulatorRegistry)
    metrics: MetricGroup = field(default_factory=MetricGroup)
    job_parameters: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))
