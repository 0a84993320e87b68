"""Slot sharing groups as objects: a name, and what a slot of the group needs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from types import MappingProxyType
from typing import Any

from ._functions import definition_error
from .core.arguments import check_instance, check_int, check_number, check_text


@dataclass(frozen=True, slots=True, order=True)
class MemorySize:
    """An amount of memory.

    >>> MemorySize.of_mebi_bytes(2).get_bytes()
    2097152
    """

    bytes_size: int

    def __post_init__(self) -> None:
        check_int("size of memory in bytes", self.bytes_size, least=0, fix="give for example 1048576")

    @staticmethod
    def of_mebi_bytes(mebi_bytes: int) -> MemorySize:
        """So many times 1,048,576 bytes.

        Raises:
            JobDefinitionError: it is no int, or negative.
        """
        check_int("size of memory in mebibytes", mebi_bytes, least=0, fix="give for example 512")
        return MemorySize(mebi_bytes << 20)

    def get_bytes(self) -> int:
        """Bytes."""
        return self.bytes_size

    def get_kibi_bytes(self) -> int:
        """Whole kibibytes (1,024 bytes), rounded down."""
        return self.bytes_size >> 10

    def get_mebi_bytes(self) -> int:
        """Whole mebibytes, rounded down."""
        return self.bytes_size >> 20

    def get_gibi_bytes(self) -> int:
        """Whole gibibytes, rounded down."""
        return self.bytes_size >> 30

    def get_tebi_bytes(self) -> int:
        """Whole tebibytes, rounded down."""
        return self.bytes_size >> 40


@dataclass(frozen=True, slots=True)
class SlotSharingGroup:
    """A name, with the resources that a slot of the group needs. Made by `builder`.

    Resources are a description for whoever places workers: a slot is a process here, and nothing limits it.

    >>> group = SlotSharingGroup.builder("heavy").set_cpu_cores(1.5).set_task_heap_memory_mb(100).build()
    >>> group.get_name(), group.get_cpu_cores()
    ('heavy', 1.5)
    """

    name: str
    cpu_cores: float | None = None
    task_heap_memory: MemorySize | None = None
    task_off_heap_memory: MemorySize | None = None
    managed_memory: MemorySize | None = None
    external_resources: Mapping[str, float] = field(default_factory=lambda: MappingProxyType({}))

    @staticmethod
    def builder(name: str) -> SlotSharingGroup.Builder:
        """Begin a group.

        Raises:
            JobDefinitionError: `name` is no string, or empty.
        """
        given: Any = name  # the annotation is not checked at run time
        if not isinstance(given, str) or not given:
            raise definition_error(
                f"the name of a slot sharing group must be a string that is not empty, not {given!r}",
                fix="give a name",
            )
        return SlotSharingGroup.Builder(SlotSharingGroup(name))

    def get_name(self) -> str:
        """Its name: operators of one name share slots."""
        return self.name

    def get_cpu_cores(self) -> float | None:
        """CPU cores; None: not said."""
        return self.cpu_cores

    def get_task_heap_memory(self) -> MemorySize | None:
        """Memory for Python's objects; None: not said."""
        return self.task_heap_memory

    def get_task_off_heap_memory(self) -> MemorySize | None:
        """Memory of native libraries; None: not said."""
        return self.task_off_heap_memory

    def get_managed_memory(self) -> MemorySize | None:
        """Memory of state backends; None: not said."""
        return self.managed_memory

    def get_external_resources(self) -> dict[str, float]:
        """Amounts of other things by name, such as `gpu`."""
        return dict(self.external_resources)

    class Builder:
        """Each method adds a resource and returns the builder.

        Raises (all of them):
            JobDefinitionError: the amount is not positive.
        """

        def __init__(self, group: SlotSharingGroup) -> None:
            self._group = group

        def set_cpu_cores(self, cpu_cores: float) -> SlotSharingGroup.Builder:
            """CPU cores, also parts of one."""
            self._check("CPU cores", cpu_cores)
            return self._with(cpu_cores=float(cpu_cores))

        def set_task_heap_memory(self, task_heap_memory: MemorySize) -> SlotSharingGroup.Builder:
            """Memory for Python's objects."""
            self._check_memory(task_heap_memory)
            return self._with(task_heap_memory=task_heap_memory)

        def set_task_heap_memory_mb(self, task_heap_memory_mb: int) -> SlotSharingGroup.Builder:
            """The same in mebibytes."""
            return self.set_task_heap_memory(MemorySize.of_mebi_bytes(task_heap_memory_mb))

        def set_task_off_heap_memory(self, task_off_heap_memory: MemorySize) -> SlotSharingGroup.Builder:
            """Memory of native libraries."""
            self._check_memory(task_off_heap_memory)
            return self._with(task_off_heap_memory=task_off_heap_memory)

        def set_task_off_heap_memory_mb(self, task_off_heap_memory_mb: int) -> SlotSharingGroup.Builder:
            """The same in mebibytes."""
            return self.set_task_off_heap_memory(MemorySize.of_mebi_bytes(task_off_heap_memory_mb))

        def set_managed_memory(self, managed_memory: MemorySize) -> SlotSharingGroup.Builder:
            """Memory of state backends."""
            self._check_memory(managed_memory)
            return self._with(managed_memory=managed_memory)

        def set_managed_memory_mb(self, managed_memory_mb: int) -> SlotSharingGroup.Builder:
            """The same in mebibytes."""
            return self.set_managed_memory(MemorySize.of_mebi_bytes(managed_memory_mb))

        def set_external_resource(self, name: str, value: float) -> SlotSharingGroup.Builder:
            """An amount of something else, such as `gpu`."""
            check_text("name of an external resource", name, fix="give for example 'gpu'")
            self._check(name, value)
            resources = {**self._group.external_resources, name: float(value)}
            return self._with(external_resources=MappingProxyType(resources))

        def build(self) -> SlotSharingGroup:
            """The group."""
            return self._group

        def _check(self, resource: str, amount: float) -> None:
            what = f"amount of {resource} of a slot of group '{self._group.name}'"
            check_number(what, amount, fix="give a positive amount, or leave the resource out")

        def _check_memory(self, memory: MemorySize) -> None:
            fix = "give for example MemorySize.of_mebi_bytes(512)"
            check_instance("size of memory", memory, MemorySize, fix=fix)
            self._check("memory", memory.bytes_size)

        def _with(self, **changes: Any) -> SlotSharingGroup.Builder:
            self._group = replace(self._group, **changes)
            return self
