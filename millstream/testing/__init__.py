"""Tools for testing functions and operators without a job, and whole jobs in the test's own thread."""

from __future__ import annotations

from .function_harnesses import HarnessOptions as HarnessOptions
from .function_harnesses import ProcessFunctionTestHarnesses as ProcessFunctionTestHarnesses
from .function_harnesses import harness_of as harness_of
from .function_harnesses import two_input_harness_of as two_input_harness_of
from .harness import OperatorHarness as OperatorHarness
from .harness import W as W
from .manual_source import ManualSource as ManualSource
from .mini_cluster import InjectedFailure as InjectedFailure
from .mini_cluster import MiniCluster as MiniCluster
from .mini_cluster import MiniJob as MiniJob
from .output import Output as Output
from .source_harness import SourceHarness as SourceHarness
from .source_harness import SourceSnapshot as SourceSnapshot
from .two_input_harness import TwoInputOperatorHarness as TwoInputOperatorHarness

__all__ = [
    "HarnessOptions",
    "InjectedFailure",
    "ManualSource",
    "MiniCluster",
    "MiniJob",
    "OperatorHarness",
    "Output",
    "ProcessFunctionTestHarnesses",
    "SourceHarness",
    "SourceSnapshot",
    "TwoInputOperatorHarness",
    "W",
    "harness_of",
    "two_input_harness_of",
]
