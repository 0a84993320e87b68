"""Numbers the tables of one backend and refuses declarations that contradict each other or the restored state."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Final

from ..core.errors import RecordSerializationError, StateError
from ..core.types import InvalidKeyError
from .backend import TableDescriptor
from .expiry import is_timed
from .handles import KeyedStateHandle, TableInfo

NO_NAMESPACE: Final = ""
"""`TableInfo.namespace_type` of a table whose only namespace is None."""

_MAX_TABLES: Final = 1 << 16  # a table id has two bytes in both file formats


class TableRegistry:
    """What tables an operator has, by name: restored ones, whether the program opens them again or not, and new ones.

    Args:
        operator: name for error messages.
        restored: what the restored handles say; the same table must look the same in all of them.

    Raises:
        StateError: the handles contradict each other.
    """

    def __init__(self, operator: str, restored: Iterable[TableInfo] = ()) -> None:
        self._operator = operator
        self._infos: dict[str, TableInfo] = {}
        self._descriptors: dict[str, TableDescriptor] = {}
        for info in restored:
            known = self._infos.get(info.name)
            if known is None:
                self._infos[info.name] = self._numbered(info)
            else:
                self._refuse_difference(known, info, "one part of the restored state", "another part")

    def declare(self, descriptor: TableDescriptor) -> TableInfo:
        """The number and the types of a table, the same for equal declarations.

        Raises:
            StateError: declared differently before, or restored with other types.
        """
        earlier = self._descriptors.get(descriptor.name)
        if earlier is not None and earlier != descriptor:
            what = f"state '{descriptor.name}' is declared twice, and differently: {earlier} and {descriptor}"
            raise StateError(what, where=self._where, fix="give each state of an operator a name of its own")
        declared = describe(descriptor)
        known = self._infos.get(descriptor.name)
        if known is None:
            known = self._numbered(declared)
        else:
            self._refuse_difference(known, declared, "the restored state", "the job")
        self._descriptors[descriptor.name] = descriptor
        self._infos[descriptor.name] = known
        return known

    def table_id(self, name: str) -> int:
        """The number of a known table."""
        return self._infos[name].table_id

    def infos(self) -> tuple[TableInfo, ...]:
        """Every table, restored but unopened ones included: a later program may want them."""
        return tuple(self._infos.values())

    @property
    def _where(self) -> str:
        return f"operator '{self._operator}'"

    def _numbered(self, info: TableInfo) -> TableInfo:
        """The table under the number it asks for, or the next free one."""
        taken = {known.table_id for known in self._infos.values()}
        table_id = info.table_id if info.table_id not in taken else max(taken) + 1
        if table_id >= _MAX_TABLES:
            raise StateError(f"more than {_MAX_TABLES} states", where=self._where, fix="use fewer names")
        return TableInfo(
            info.name, table_id, info.routed_by, info.key_type, info.namespace_type, info.value_type
        )

    def _refuse_difference(self, one: TableInfo, other: TableInfo, in_one: str, in_other: str) -> None:
        for field, noun in _COMPARED:
            first, second = getattr(one, field), getattr(other, field)
            if first == second:
                continue
            if field == "value_type" and is_timed(first) != is_timed(second):
                settings = ("with time-to-live", "without")
                was, now = settings if is_timed(first) else settings[::-1]
                what = f"state '{one.name}': {in_one} was written {was}, {in_other} declares it {now}"
                fix = f"declare it {was} as before (enable_time_to_live), or give the new state another name"
            else:
                what = f"state '{one.name}': {in_one} has the {noun} {first or 'none'}, {in_other} {second or 'none'}"
                fix = "declare the type it was written with, or give the new state another name"
            raise StateError(what, where=self._where, fix=fix)


def describe(descriptor: TableDescriptor) -> TableInfo:
    """What is remembered of a declaration in checkpoints; the number is still to be given."""
    namespace_type = descriptor.namespace_type
    return TableInfo(
        name=descriptor.name,
        table_id=0,
        routed_by=descriptor.routed_by,
        key_type=descriptor.key_type.name,
        namespace_type=NO_NAMESPACE if namespace_type is None else namespace_type.name,
        value_type=descriptor.value_type.name,
    )


@contextmanager
def naming_state(operator: str, name: str) -> Iterator[None]:
    """Has errors about values that cannot be encoded say which state of which operator holds them."""
    try:
        yield
    except (RecordSerializationError, InvalidKeyError) as error:
        error.where = f"operator '{operator}', state '{name}'"
        raise


def require_format(handles: Iterable[KeyedStateHandle], wanted: str, operator: str, backend: str) -> None:
    """Refuses state that another backend wrote. Converting between formats has its place here.

    Raises:
        StateError: naming both formats.
    """
    for handle in handles:
        if handle.format != wanted:
            raise StateError(
                f"the restored state has the format '{handle.format}', the backend '{backend}' reads '{wanted}'",
                where=f"operator '{operator}', key groups {handle.key_groups[0]}-{handle.key_groups[1]}",
                fix="set state.backend.type to the backend that the checkpoint was taken with",
            )


_COMPARED: Final = (
    ("value_type", "value type"),
    ("key_type", "key type"),
    ("namespace_type", "namespace type"),
    ("routed_by", "routing"),
)
