"""Contract tests for sources and sinks, third-party ones included. Needs pytest.

`SourceContract`, `SinkContract` and, for sinks that cannot commit, `AtLeastOnceSinkContract` are derived from; `SourceRun` and `SinkRun` drive a connector through its protocols as the
runtime does, with crashes and restores, for tests of your own. `millstream.connectors.base` tells what to implement.
"""

from __future__ import annotations

from .at_least_once_contract import AtLeastOnceSinkContract
from .connector_runs import SinkCheckpoint, SinkRun, SourceCheckpoint, SourceRun, close_open_runs
from .sink_contract import SinkContract
from .source_contract import SourceContract

__all__ = [
    "AtLeastOnceSinkContract",
    "SinkCheckpoint",
    "SinkContract",
    "SinkRun",
    "SourceCheckpoint",
    "SourceContract",
    "SourceRun",
    "close_open_runs",
]
