"""Numbers the tables of one backend and refuses declarations that contradict each other or the restored state."""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Iterable, Iterator
from contextlib import contextmanager
from typing import Final

import msgspec

from ..core.errors import RecordSerializationError, StateError
from ..core.types import (
    InvalidKeyError,
    TypeSchema,
    difference,
    key_difference,
    schema_of,
)
from .backend import TableDescriptor
from .expiry import is_timed
from .handles import KeyedStateHandle, TableInfo

NO_NAMESPACE: Final = ""
"""`TableInfo.namespace_type` of a table whose only namespace is None."""

RESERVED_TABLE: Final = (1 << 16) - 1
"""No table gets this number, the last one of two bytes: stores keep in it what has not been given to its table yet."""


_KEYS_FIX: Final = "declare the type it was written with, or give the new state another name"
_WINDOWS_FIX: Final = (
    "go on with the kind of windows it was written with, and with a trigger or an evictor if it had one; or end them first: stop"
    " the program of before with a savepoint and drain"
)


class TableRegistry:
    """What tables an operator has, by name: restored ones, whether the program opens them again or not, and new ones.

    A restored table whose values were written with another schema than the job's is *outdated*: it keeps a number of its own
    until the backend has moved its entries (`outdated`, `moved`).

    Args:
        operator: name for error messages.
        restored: what the restored handles say; parts of one table may differ in how its values looked, in nothing else.

    Raises:
        StateError: the handles contradict each other.
    """

    def __init__(self, operator: str, restored: Iterable[TableInfo] = ()) -> None:
        self._operator = operator
        self._infos: dict[str, list[TableInfo]] = {}
        self._descriptors: dict[str, TableDescriptor] = {}
        for info in restored:
            known = self._infos.setdefault(info.name, [])
            for other in known:
                self._refuse_other_keys(other, info, "one part of the restored state", "another part")
            if self._find(info) is None:
                known.append(self._numbered(info))

    def declare(self, descriptor: TableDescriptor) -> TableInfo:
        """The number and the types of a table, the same for equal declarations.

        Raises:
            StateError: declared differently before, or restored with types that do not fit.
        """
        earlier = self._descriptors.get(descriptor.name)
        if earlier is not None:
            if earlier != descriptor:
                what = f"state '{descriptor.name}' is declared twice, and differently: {earlier} and {descriptor}"
                raise StateError(
                    what, where=self._where, fix="give each state of an operator a name of its own"
                )
            return self._infos[descriptor.name][-1]
        declared = describe(descriptor)
        restored = self._infos.setdefault(descriptor.name, [])
        for info in restored:
            self._refuse_other_keys(info, declared, "the restored state", "the job")
            self._refuse_other_values(info, declared)
        current = self._find(declared)
        if current is None:
            current = self._numbered(declared)
        else:
            restored.remove(current)
            current = msgspec.structs.replace(current, kind=declared.kind, ttl_ms=declared.ttl_ms)
        restored.append(current)  # last: see `outdated`
        self._descriptors[descriptor.name] = descriptor
        return current

    def outdated(self, name: str) -> tuple[TableInfo, ...]:
        """The restored tables of a declared name whose entries are to be moved into the declared one, and what they look like."""
        return tuple(self._infos[name][:-1])

    def moved(self, name: str) -> None:
        """All entries of the outdated tables are in the declared one now."""
        del self._infos[name][:-1]

    def table_id(self, info: TableInfo) -> int:
        """The number that a restored table has here."""
        found = self._find(info)
        assert found is not None, "every restored table is known"
        return found.table_id

    def require_same_numbers(self, handles: Iterable[KeyedStateHandle], unless: str) -> None:
        """Kept blocks of a canonical savepoint know their tables by number, and in a database nobody rewrites them.

        Raises:
            StateError: parts of the restored state numbered their tables differently. Those of the format `unless` do not count.
        """
        for handle in handles:
            for info in handle.tables:
                if handle.format != unless and self.table_id(info) != info.table_id:
                    raise StateError(
                        f"state '{info.name}' has different numbers in parts of the restored state, which still holds blocks of"
                        " a savepoint",
                        where=self._where,
                        fix="restore at the parallelism that the checkpoint was taken with, or start from the savepoint again",
                    )

    def infos(self) -> tuple[TableInfo, ...]:
        """Every table, restored but unopened ones included: a later program may want them."""
        return tuple(info for infos in self._infos.values() for info in infos)

    @property
    def _where(self) -> str:
        return f"operator '{self._operator}'"

    def _find(self, info: TableInfo) -> TableInfo | None:
        """The known table that looks the same."""
        return next(
            (known for known in self._infos.get(info.name, ()) if _looks(known) == _looks(info)), None
        )

    def _numbered(self, info: TableInfo) -> TableInfo:
        """The table under the number it asks for, or the next free one."""
        taken = {known.table_id for known in self.infos()}
        table_id = info.table_id if info.table_id not in taken else max(taken) + 1
        if table_id >= RESERVED_TABLE:
            raise StateError(f"more than {RESERVED_TABLE} states", where=self._where, fix="use fewer names")
        return msgspec.structs.replace(info, table_id=table_id)

    def _refuse_other_keys(self, one: TableInfo, other: TableInfo, in_one: str, in_other: str) -> None:
        for field, noun in (
            ("key_type", "key type"),
            ("namespace_type", "namespace type"),
            ("routed_by", "routing"),
        ):
            first, second = getattr(one, field), getattr(other, field)
            if first != second:
                what = f"state '{one.name}': {in_one} has the {noun} {first or 'none'}, {in_other} {second or 'none'}"
                raise StateError(
                    what, where=self._where, fix=_WINDOWS_FIX if one.kind == "window" else _KEYS_FIX
                )
        for noun, was, now in (
            ("key type", one.key_schema, other.key_schema),
            ("namespace type", one.namespace_schema, other.namespace_schema),
        ):
            reason = None if was is None or now is None else key_difference(was, now)
            if reason is not None:
                what = f"state '{one.name}': {in_one} and {in_other} have the {noun} {was}, but not the same: {reason}"
                fix = "keys cannot evolve: leave the class of the key as it was, or give the new state another name"
                raise StateError(what, where=self._where, fix=fix)

    def _refuse_other_values(self, restored: TableInfo, declared: TableInfo) -> None:
        was, now = restored.value_type, declared.value_type
        if is_timed(was) != is_timed(now):
            settings = ("with time-to-live", "without")
            then, today = settings if is_timed(was) else settings[::-1]
            what = (
                f"state '{restored.name}': the restored state was written {then}, the job declares it {today}"
            )
            fix = f"declare it {then} as before (enable_time_to_live), or give the new state another name"
            raise StateError(what, where=self._where, fix=fix)
        if restored.value_schema is None:
            reason = None if was == now else "how it looked was not written down"
        else:
            assert declared.value_schema is not None, "what is declared has a schema"
            reason = difference(restored.value_schema, declared.value_schema)
        if reason is not None:
            what = f"state '{restored.name}': the restored state has the value type {was}, the job {now}: {reason}"
            fix = (
                "declare the type it was written with (fields may be added with a default, or removed), or give the new"
                " state another name"
            )
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
        key_schema=schema_of(descriptor.key_type),
        namespace_schema=None if namespace_type is None else schema_of(namespace_type),
        value_schema=schema_of(descriptor.value_type),
        kind=descriptor.kind,
        ttl_ms=0 if descriptor.expiry is None else descriptor.expiry.ttl_ms,
    )


BLOCKS_INFO: Final = TableInfo("", RESERVED_TABLE, "key", "", NO_NAMESPACE, "")
"""What stands for the table of kept blocks where tables are known by name and looks."""


def looks(info: TableInfo) -> str:
    """Tells apart the values of one state that were written before and after a change of their type: for stores that number no
    tables, because all subtasks share them."""
    encoded = msgspec.msgpack.encode(_looks(info))
    return hashlib.blake2b(encoded, digest_size=8).hexdigest()


def _looks(info: TableInfo) -> tuple[str, TypeSchema | None]:
    """What two tables of one name, whose keys are the same, may still differ in."""
    return info.value_type, info.value_schema


@contextmanager
def naming_state(operator: str, name: str) -> Iterator[None]:
    """Has errors about values that cannot be encoded or decoded say which state of which operator holds them."""
    try:
        yield
    except (RecordSerializationError, InvalidKeyError) as error:
        error.where = f"operator '{operator}', state '{name}'"
        raise


def require_format(
    handles: Iterable[KeyedStateHandle], readable: Collection[str], operator: str, backend: str
) -> None:
    """Refuses state in a format that the backend does not read: another backend's own one.

    Raises:
        StateError: naming both formats.
    """
    for handle in handles:
        if handle.format not in readable:
            formats = " and ".join(f"'{name}'" for name in readable)
            raise StateError(
                f"the restored state has the format '{handle.format}', the backend '{backend}' reads {formats}",
                where=f"operator '{operator}', key groups {handle.key_groups[0]}-{handle.key_groups[1]}",
                fix="set state.backend.type to the backend it was taken with; to change the backend, start there, take a"
                " canonical savepoint (SavepointFormatType.CANONICAL), and start from that",
            )
