"""Tools for testing functions and operators without a job."""

from __future__ import annotations

from .harness import OperatorHarness as OperatorHarness
from .harness import W as W
from .two_input_harness import TwoInputOperatorHarness as TwoInputOperatorHarness

__all__ = ["OperatorHarness", "TwoInputOperatorHarness", "W"]
