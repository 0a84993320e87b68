"""What rich functions see of the subtask that runs them (PyFlink's `RuntimeContext`)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ..core.errors import StateError
from ..core.types import TypeInformation
from ..state.backend import KeyedStateBackend
from ..state.key_context import KeyContext
from ..state.keyed import KeyedStateStore
from .accumulators import Accumulator, DoubleCounter, Histogram, IntCounter, LongCounter
from .base import RuntimeInfo
from .functions import RuntimeContext
from .metrics import MetricGroup


class StatelessRuntimeContext(RuntimeContext):
    """Facts about the subtask; asking it for keyed state is an error, as the stream is not keyed."""

    def __init__(self, info: RuntimeInfo) -> None:
        self._info = info

    def get_task_name(self) -> str:
        return self._info.task_name

    def get_number_of_parallel_subtasks(self) -> int:
        return self._info.parallelism

    def get_max_number_of_parallel_subtasks(self) -> int:
        return self._info.max_parallelism

    def get_index_of_this_subtask(self) -> int:
        return self._info.subtask

    def get_attempt_number(self) -> int:
        return self._info.attempt - 1

    def get_task_name_with_subtasks(self) -> str:
        return f"{self._info.task_name} ({self._info.subtask + 1}/{self._info.parallelism})"

    def get_job_id(self) -> str:
        return self._info.job_id

    def get_job_name(self) -> str:
        return self._info.job_name

    def get_job_parameter(self, key: str, default_value: str | None = None) -> str | None:
        return self._info.services.job_parameters.get(key, default_value)

    def get_global_job_parameters(self) -> Mapping[str, str]:
        return self._info.services.job_parameters

    def get_metrics_group(self) -> MetricGroup:
        return self._info.services.metrics

    def add_accumulator(self, name: str, accumulator: Accumulator[Any, Any]) -> None:
        self._info.services.accumulators.add(name, accumulator)

    def get_accumulator(self, name: str) -> Accumulator[Any, Any] | None:
        return self._info.services.accumulators.get(name)

    def get_int_counter(self, name: str) -> IntCounter:
        return self._info.services.accumulators.get_or_add(name, IntCounter)

    def get_long_counter(self, name: str) -> LongCounter:
        return self._info.services.accumulators.get_or_add(name, LongCounter)

    def get_double_counter(self, name: str) -> DoubleCounter:
        return self._info.services.accumulators.get_or_add(name, DoubleCounter)

    def get_histogram(self, name: str) -> Histogram:
        return self._info.services.accumulators.get_or_add(name, Histogram)

    def _no_state(self, descriptor: Any) -> Any:
        raise StateError(
            f"keyed state '{descriptor.name}' was asked for on a stream that is not keyed",
            where=f"operator '{self._info.operator_name}'",
            fix="call key_by(...) before this operator",
        )

    get_state = get_list_state = get_map_state = get_reducing_state = get_aggregating_state = _no_state


class KeyedRuntimeContext(StatelessRuntimeContext):
    """The same on a keyed stream: hands out the state of the current key."""

    def __init__(
        self, info: RuntimeInfo, backend: KeyedStateBackend, keys: KeyContext, key_type: TypeInformation[Any]
    ) -> None:
        super().__init__(info)
        store = KeyedStateStore(backend, keys, key_type)
        self.get_state = store.get_state  # type: ignore[method-assign]  # the very methods asked for
        self.get_list_state = store.get_list_state  # type: ignore[method-assign]
        self.get_map_state = store.get_map_state  # type: ignore[method-assign]
        self.get_reducing_state = store.get_reducing_state  # type: ignore[method-assign]
        self.get_aggregating_state = store.get_aggregating_state  # type: ignore[method-assign]
