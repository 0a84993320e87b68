"""Checkpoints and savepoints as data: read them without the program that wrote them.

In the spirit of Flink's State Processor API. Start with `open`.
"""

from __future__ import annotations

from ..state.type_names import Pickled as Pickled
from .bootstrap import KeyedStateBootstrapFunction as KeyedStateBootstrapFunction
from .entries import OperatorStateItem as OperatorStateItem
from .entries import StateEntry as StateEntry
from .in_flight import InFlightRecord as InFlightRecord
from .in_flight import InFlightState as InFlightState
from .keyed import KeyedState as KeyedState
from .operator_lists import OperatorState as OperatorState
from .queries import QueryableStateClient as QueryableStateClient
from .snapshot import OperatorStates as OperatorStates
from .snapshot import StateSnapshot as StateSnapshot
from .snapshot import open as open  # noqa: A004 - called as `state_reader.open(path)`
from .writer import SavepointWriter as SavepointWriter

__all__ = [
    "InFlightRecord",
    "InFlightState",
    "KeyedState",
    "KeyedStateBootstrapFunction",
    "OperatorState",
    "OperatorStateItem",
    "OperatorStates",
    "Pickled",
    "QueryableStateClient",
    "SavepointWriter",
    "StateEntry",
    "StateSnapshot",
    "open",
]
