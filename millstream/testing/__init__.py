"""Tools for testing functions and operators without a job."""

from __future__ import annotations

from .harness import OperatorHarness as OperatorHarness
from .harness import W as W

__all__ = ["OperatorHarness", "W"]
