"""The modules called `pyflink`: found by a finder, filled when they are asked for a name."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from importlib import import_module
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec
from types import ModuleType
from typing import Any, Final

from ..core.errors import JobDefinitionError
from ..runtime.graph.artifact import prepare_processes
from .missing import reason_of
from .modules import MODULES

_ROOT: Final = "pyflink"


class MissingInMillstream(ImportError):
    """A name of PyFlink that has no counterpart here."""

    def __init__(self, module: str, name: str) -> None:
        super().__init__(_missing(module, name), name=name)


def install() -> None:
    """Register `pyflink` and the modules below it, here and in the workers of this process's jobs. Calling it again does
    nothing.

    Raises:
        JobDefinitionError: the real PyFlink has been imported already.

    >>> install()
    >>> from pyflink.common import Types
    >>> from pyflink.datastream import StreamExecutionEnvironment
    >>> env = StreamExecutionEnvironment.get_execution_environment()
    >>> env.from_collection([1, 2], Types.INT()).map(lambda number: number + 1).execute_and_collect(limit=2)
    [2, 3]
    """
    if any(isinstance(finder, _AliasFinder) for finder in sys.meta_path):
        return
    if _ROOT in sys.modules:
        raise JobDefinitionError(
            "pyflink is imported already, so its names cannot stand for Millstream's",
            fix="call millstream.pyflink.install() before the first import of pyflink, or use `millstream run --pyflink`",
        )
    sys.meta_path.insert(0, _AliasFinder())
    # Functions may import pyflink when they run, and modules beside the program do when a worker imports them.
    prepare_processes(install)


def _missing(module: str, name: str) -> str:
    reason = reason_of(f"{module}.{name}") or "see the migration page of the user guide"
    return f"{module}.{name} does not exist in Millstream\n  fix:   {reason}"


class _AliasFinder(MetaPathFinder):
    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        del path, target
        if fullname.partition(".")[0] != _ROOT:
            return None
        if fullname not in MODULES:
            parent, _, name = fullname.rpartition(".")
            raise MissingInMillstream(parent, name)
        # All are packages: `from pyflink.x import Missing` then asks for a module of that name, whose error is the one above,
        # while hasattr() finds the attribute missing.
        return ModuleSpec(fullname, _AliasLoader(), is_package=True)


class _AliasLoader(Loader):
    def create_module(self, spec: ModuleSpec) -> ModuleType:
        return _AliasModule(spec.name)

    def exec_module(self, module: ModuleType) -> None:
        """Names come when they are asked for."""


class _AliasModule(ModuleType):
    def __getattr__(self, name: str) -> Any:
        if name == "__all__":
            value: Any = sorted(MODULES[self.__name__].names)
        elif name.startswith("__"):
            raise AttributeError(name)
        else:
            value = self._find(name)
        setattr(self, name, value)
        return value

    def _find(self, name: str) -> Any:
        submodule = f"{self.__name__}.{name}"
        if submodule in MODULES:
            return import_module(submodule)
        for source in MODULES[self.__name__].sources:
            module = import_module(source, "millstream")
            if name in module.__all__:
                return getattr(module, name)
        raise AttributeError(_missing(self.__name__, name), name=name, obj=self)

    def __reduce__(self) -> tuple[Any, ...]:
        # For a function that refers to the module, on its way to a worker.
        return _alias_module, (self.__name__,)

    def __dir__(self) -> list[str]:
        return sorted({*super().__dir__(), *MODULES[self.__name__].names})


def _alias_module(name: str) -> ModuleType:
    install()
    return import_module(name)
