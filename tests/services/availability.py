"""When a service cannot be had: skip for a developer, fail where nothing may be skipped."""

from __future__ import annotations

import os
import uuid
from typing import NoReturn

import pytest


def nothing_may_be_skipped() -> bool:
    """True in CI and in `make test-all`."""
    return os.environ.get("CI", "").lower() == "true" or os.environ.get("MILLSTREAM_TEST_ALL") == "1"


def unavailable(reason: str, *, fix: str | None) -> NoReturn:
    """Ends the test: skipped with the reason and the command that would help, or failed with the same words."""
    message = f"{reason} (to provide it: {fix})" if fix else reason
    if nothing_may_be_skipped():
        pytest.fail(message, pytrace=False)
    pytest.skip(message)


def unique_name(prefix: str) -> str:
    """A name no other test and no earlier run used, also on a service that outlives the run."""
    return f"{prefix}-{uuid.uuid4().hex[:12]}"


def refuse_skip(report: pytest.TestReport | pytest.CollectReport) -> None:
    """Turns a skip into a failure where nothing may be skipped; expected failures are no skips."""
    if not report.skipped or hasattr(report, "wasxfail") or not nothing_may_be_skipped():
        return
    reason = report.longrepr[2] if isinstance(report.longrepr, tuple) else str(report.longrepr)
    report.outcome = "failed"
    report.longrepr = f"{reason}\nNothing may be skipped with CI=true or MILLSTREAM_TEST_ALL=1."
