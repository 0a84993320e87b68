"""The settings of an operator, as methods of the stream that it makes (or of the sink that it is)."""

from __future__ import annotations

import re
from abc import ABC, abstractmethod
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Self

from ._functions import definition_error
from .core.arguments import check_text
from .core.time import TimeLike, to_millis
from .runtime.graph.stream_graph import NO_BUFFER_TIMEOUT, ChainingStrategy, StreamNode
from .slot_sharing import SlotSharingGroup
from .state.key_groups import UPPER_BOUND_MAX_PARALLELISM

if TYPE_CHECKING:
    from .environment import StreamExecutionEnvironment


class OperatorSettings(ABC):
    """Each method changes the operator and returns the same stream.

    Raises (all methods):
        JobDefinitionError: the stream is not the direct result of an operator, or the value is out of bounds.
    """

    def __init__(self, environment: StreamExecutionEnvironment) -> None:
        self._environment = environment

    @abstractmethod
    def _own_node(self, method: str) -> StreamNode:
        """The operator as it is declared so far; `method` is named in the error when there is none."""

    def get_id(self) -> int:
        """Number of the operator within its environment; it means nothing to checkpoints."""
        return self._own_node("get_id").node_id

    def get_name(self) -> str:
        """Name of the operator."""
        return self._own_node("get_name").name

    def name(self, name: str) -> Self:
        """Name for plans, logs and metrics; it has no influence on checkpoints."""
        return self._set("name", name=_text("name", name))

    def uid(self, uid: str) -> Self:
        """The identity of the operator's state in checkpoints; unique in the job. Give one to each operator that has state,
        so that a changed program still finds it."""
        return self._set("uid", uid=_text("uid", uid))

    def set_uid_hash(self, uid_hash: str) -> Self:
        """The operator id itself, of 32 hexadecimal digits: for state whose checkpoint has it, and no uid leads there. It
        comes before the uid."""
        given: Any = uid_hash  # the annotation is not checked at run time
        if not isinstance(given, str) or not re.fullmatch("[0-9a-f]{32}", given):
            raise definition_error(
                f"a uid hash must be 32 hexadecimal digits in lower case, not {given!r}",
                fix="copy an operator id from a checkpoint or from `millstream plan`; for a name of your own use uid()",
            )
        return self._set("set_uid_hash", uid_hash=uid_hash)

    def set_buffer_timeout(self, timeout_millis: TimeLike) -> Self:
        """How long results of this operator may wait for their batch to fill, where they leave for another task; -1: until
        it is full. Operators without a time of their own have the job's. An idle subtask sends at once in any case."""
        return self._set("set_buffer_timeout", buffer_timeout_ms=check_buffer_timeout(timeout_millis))

    def set_description(self, description: str) -> Self:
        """A longer explanation for plans."""
        check_text("description", description, empty=True, fix="give a string")
        return self._set("set_description", description=description)

    def set_parallelism(self, parallelism: int) -> Self:
        """Number of subtasks of this operator."""
        check_parallelism(parallelism, "parallelism")
        return self._set("set_parallelism", parallelism=parallelism)

    def set_max_parallelism(self, max_parallelism: int) -> Self:
        """Number of key groups of this operator: the bound of its parallelism for as long as its state lives."""
        check_parallelism(max_parallelism, "maximum parallelism")
        return self._set("set_max_parallelism", max_parallelism=max_parallelism)

    def force_non_parallel(self) -> Self:
        """One subtask, now and for ever."""
        return self._set("force_non_parallel", parallelism=1, max_parallelism=1)

    def disable_chaining(self) -> Self:
        """Never fuse the operator with a neighbour."""
        return self._set("disable_chaining", chaining=ChainingStrategy.NEVER)

    def start_new_chain(self) -> Self:
        """Do not fuse the operator with what is before it."""
        return self._set("start_new_chain", chaining=ChainingStrategy.HEAD)

    def slot_sharing_group(self, slot_sharing_group: str | SlotSharingGroup) -> Self:
        """Run in workers of this group. Operators behind it are of the same group unless they name another."""
        if isinstance(slot_sharing_group, SlotSharingGroup):
            self._environment.register_slot_sharing_group(slot_sharing_group)
            slot_sharing_group = slot_sharing_group.get_name()
        return self._set(
            "slot_sharing_group", slot_sharing_group=_text("slot sharing group", slot_sharing_group)
        )

    def _set(self, method: str, **changes: Any) -> Self:  # values come from the methods above
        self._environment._builder.change(replace(self._own_node(method), **changes))
        return self


def check_buffer_timeout(timeout: TimeLike) -> int:
    """In milliseconds, NO_BUFFER_TIMEOUT for -1.

    Raises:
        JobDefinitionError: another negative number.
    """
    timeout_ms = to_millis(timeout)
    if timeout_ms < NO_BUFFER_TIMEOUT:
        raise definition_error(
            f"a buffer timeout must be a length of time, or -1, not {timeout!r}",
            fix="give milliseconds, or -1 to wait for full batches",
        )
    return timeout_ms


def check_parallelism(value: int, what: str) -> None:
    """Refuse what cannot be a number of subtasks or key groups.

    Raises:
        JobDefinitionError: it is not an int from 1 to 32768.
    """
    if type(value) is not int or not 1 <= value <= UPPER_BOUND_MAX_PARALLELISM:
        raise definition_error(
            f"the {what} must be an int from 1 to {UPPER_BOUND_MAX_PARALLELISM}, not {value!r}",
            fix="give a number such as 2",
        )


def _text(what: str, value: Any) -> str:  # the annotations of the callers are not checked at run time
    if not isinstance(value, str) or not value:
        raise definition_error(
            f"the {what} must be a string that is not empty, not {value!r}", fix=f"give a {what}"
        )
    return value
