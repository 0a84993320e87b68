"""How keyed state stands in Redis, format 1.

    AREA:JOB:OPERATOR:owner                          hash: `attempt`, the owner; of each key group the last checkpoint that is `applied`
                                                     to it, and the one that is `applying`
    AREA:JOB:OPERATOR:states                         set: the states, each as `STATE` below
    AREA:JOB:OPERATOR:index:GROUP:STATE              set: the namespaces of a state in a key group
    AREA:JOB:OPERATOR:data:GROUP:STATE:NAMESPACE     hash: key -> value

STATE is the length of a state's name, the name, and what tells apart the values from before and after a change of their type. Areas
and ids hold no colon.
"""

from __future__ import annotations

from typing import Final

from .handles import TableInfo
from .table_registry import looks


class RedisKeys:
    """The keys of one operator of one job."""

    def __init__(self, area: str, job_id: str, operator_id: str) -> None:
        base = f"{area}:{job_id}:{operator_id}:".encode()
        self._base = base
        self.owner: Final = base + b"owner"
        self.states: Final = base + b"states"

    def index(self, group: int, state: bytes) -> bytes:
        """Of the namespaces."""
        return self._base + b"index:%d:" % group + state

    def data(self, group: int, state: bytes, part: bytes) -> bytes:
        """Of the entries of a namespace."""
        return self._base + b"data:%d:" % group + state + b":" + part


def state_name(info: TableInfo) -> bytes:
    """What a state is called in keys."""
    name = info.name.encode()
    return b"%d:%s:%s" % (len(name), name, looks(info).encode())


def applied(group: int) -> bytes:
    """The field of the last checkpoint whose changes are all in Redis."""
    return b"applied:%d" % group


def applying(group: int) -> bytes:
    """The field of the checkpoint whose changes were last begun to be applied."""
    return b"applying:%d" % group
