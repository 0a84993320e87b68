"""A backend under a manual clock, for tests of time-to-live."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from millstream import StateTtlConfig
from millstream.core.clock import ManualClock
from millstream.core.types import Types
from millstream.state.backend import BackendContext, StateOwner, StateStore
from millstream.state.backends import create_backend
from millstream.state.descriptors import StateDescriptor
from millstream.state.key_context import KeyContext
from millstream.state.keyed import KeyedStateStore
from tests.services.availability import unique_name
from tests.state.local_checkpoints import LocalCheckpoints

TTL = 100


class Operator:
    """A backend under a manual clock, the key in use, and handles."""

    def __init__(self, kind: Any, folder: Path, store: StateStore | None = None) -> None:
        self.kind = kind
        self.state_store = store
        self.job = unique_name("job")
        self.folder = folder
        self.clock = ManualClock(1_000)
        self.checkpoints = LocalCheckpoints(folder / "checkpoints")
        self.attempt = 0
        self.open(())

    def open(self, handles: tuple[Any, ...]) -> None:
        self.attempt += 1
        folder = self.folder / f"{self.attempt}"
        folder.mkdir()
        owner = StateOwner(self.job, "sum", self.attempt)
        context = BackendContext(
            "sum",
            8,
            (0, 7),
            folder,
            handles,
            self.checkpoints,
            4,
            self.clock,
            owner=owner,
            store=self.state_store,
        )
        self.backend = create_backend(self.kind, context)
        self.keys = KeyContext()
        self.keys.current_key = "k"
        self.store = KeyedStateStore(self.backend, self.keys, Types.STRING())

    def written(self) -> Any:
        pending = self.backend.snapshot(self.attempt)
        handle = pending.write(self.checkpoints.streams(self.attempt))
        pending.release()
        return handle

    def restore(self) -> None:
        handle = self.written()
        self.backend.close()
        self.open((handle,))

    def entries(self, descriptor: StateDescriptor) -> int:
        """How many there are, expired or not."""
        table = self.backend.table(self.store._table_descriptor(descriptor))
        return sum(1 for namespace in table.namespaces() for _ in table.namespace(namespace).entries())


def with_ttl(descriptor: Any, builder: StateTtlConfig.Builder | None = None) -> Any:
    builder = builder or StateTtlConfig.new_builder(TTL).disable_cleanup_in_background()
    descriptor.enable_time_to_live(builder.build())
    return descriptor
