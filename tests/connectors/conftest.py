from __future__ import annotations

from collections.abc import Iterator

import pytest

from millstream.testing.connectors import close_open_runs


@pytest.fixture(autouse=True)
def crashed_attempts_hold_nothing_after_the_test() -> Iterator[None]:
    yield
    close_open_runs()
