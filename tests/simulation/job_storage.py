"""A checkpoint directory in memory that fails as storage does: `simulated://<world>/...` for fsspec."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ClassVar

from fsspec import register_implementation
from fsspec.implementations.memory import MemoryFile, MemoryFileSystem

PROTOCOL = "simulated"


class Upload(MemoryFile):
    """Visible from `commit` on."""

    def commit(self) -> None:
        super().commit()
        self.fs.touch("written")


class SimulatedFileSystem(MemoryFileSystem):
    """Atomic like an object store. Each operation first calls `touch`, which may raise OSError or end the process."""

    protocol = PROTOCOL
    cachable = False
    store: ClassVar[dict[str, Any]] = {}
    pseudo_dirs: ClassVar[list[str]] = [""]
    touch: ClassVar[Callable[[str], None]] = staticmethod(lambda place: None)

    @classmethod
    def _strip_protocol(cls, path: str) -> str:
        return super()._strip_protocol(path.replace(f"{PROTOCOL}://", "memory://"))

    def _open(self, path: str, mode: str = "rb", *args: Any, **kwargs: Any) -> Any:
        if mode == "wb":
            self.touch("write")
            return Upload(self, self._strip_protocol(path))
        self.touch("read")
        return super()._open(path, mode, *args, **kwargs)

    def ls(self, path: str, detail: bool = True, **kwargs: Any) -> Any:
        self.touch("list")
        return super().ls(path, detail=detail, **kwargs)

    def rm_file(self, path: str) -> None:
        self.touch("remove")
        super().rm_file(path)

    def rm(self, path: str, recursive: bool = False, maxdepth: int | None = None) -> None:
        self.touch("remove")
        super().rm(path, recursive, maxdepth)


register_implementation(PROTOCOL, SimulatedFileSystem, clobber=True)


def begin(touch: Callable[[str], None]) -> None:
    """An empty directory."""
    SimulatedFileSystem.store.clear()
    SimulatedFileSystem.pseudo_dirs[:] = [""]
    SimulatedFileSystem.touch = staticmethod(touch)
