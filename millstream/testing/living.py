"""Objects of a test that its jobs carry by number, so that what runs meets the test's own object and no copy."""

from __future__ import annotations

import itertools
from typing import Any
from weakref import WeakValueDictionary

from ..core.errors import JobDefinitionError

_numbers = itertools.count()
_living: WeakValueDictionary[int, Any] = (
    WeakValueDictionary()
)  # of this process; goes when the test is done with it


def register(thing: Any) -> int:
    """The number of an object from now on."""
    number = next(_numbers)
    _living[number] = thing
    return number


def find(number: int) -> Any:
    """The object: what `pickle` calls.

    Raises:
        JobDefinitionError: it was made in another process.
    """
    thing = known(number)
    if thing is None:
        raise JobDefinitionError(
            "a ManualSource or Output lives in the process of its test, and a worker in another process was to use it",
            fix="run the job with MiniCluster",
        )
    return thing


def known(number: int) -> Any | None:
    """The object, None when nobody holds it any more."""
    return _living.get(number)
