"""A cluster whose workers meet through a proxy that can stop passing bytes on without closing anything."""

from __future__ import annotations

import selectors
import socket
from contextlib import suppress
from pathlib import Path
from threading import Lock, Thread

import msgspec

from millstream.runtime.job_manager.cluster import ClusterEvent, MessageArrived
from millstream.runtime.job_manager.process_cluster import ProcessCluster
from millstream.runtime.messages import WorkerRegistered
from millstream.runtime.transport import connect, listen


class Proxy:
    """Passes connections on to one address, until it is told to lose them: then their ends stay open, and silent."""

    def __init__(self, folder: Path, target: str) -> None:
        self.address = f"unix:{folder / 'proxy.sock'}"
        self._target = target
        self._lock = Lock()
        self._selector = selectors.DefaultSelector()
        self._listener = listen(self.address)
        self._selector.register(self._listener, selectors.EVENT_READ)
        self._silent: list[socket.socket] = []
        self._closed = False
        self.lost = 0
        self._thread = Thread(target=self._run, daemon=True)
        self._thread.start()

    def lose_connections(self) -> None:
        """Those that there are; later ones are passed on again."""
        with self._lock:
            for key in list(self._selector.get_map().values()):
                if key.data is not None:
                    self._selector.unregister(key.fileobj)
                    self._silent.append(key.fileobj)  # type: ignore[arg-type]
                    self.lost += 1

    def close(self) -> None:
        """End the thread and every connection."""
        self._closed = True
        self._thread.join()
        ends = [key.fileobj for key in self._selector.get_map().values()]
        for end in (*self._silent, *ends):
            end.close()  # type: ignore[union-attr]
        self._selector.close()

    def _run(self) -> None:
        while not self._closed:
            ready = self._selector.select(0.05)
            with self._lock:
                known = self._selector.get_map()
                for key, _ in ready:
                    if key.fd in known and key.data is None:
                        self._accept()
                    elif key.fd in known:
                        self._pass_on(key.fileobj, key.data)  # type: ignore[arg-type]

    def _accept(self) -> None:
        with suppress(BlockingIOError):
            near, _ = self._listener.accept()
            far = connect(self._target, 5)
            for sock, other in ((near, far), (far, near)):
                sock.setblocking(True)
                self._selector.register(sock, selectors.EVENT_READ, other)

    def _pass_on(self, sock: socket.socket, other: socket.socket) -> None:
        with suppress(OSError):
            data = sock.recv(1 << 16)
            if data:
                other.sendall(data)
                return
        for end in (sock, other):
            with suppress(KeyError, ValueError):
                self._selector.unregister(end)
            end.close()


class ProxiedCluster(ProcessCluster):
    """Worker 0 meets worker 1 through a proxy in `folder`."""

    folder: Path
    proxy: Proxy | None = None

    def events(self) -> list[ClusterEvent]:
        return [self._redirected(event) for event in super().events()]

    def _redirected(self, event: ClusterEvent) -> ClusterEvent:
        match event:
            case MessageArrived(worker=1, message=WorkerRegistered() as message) if self.proxy is None:
                self.proxy = Proxy(self.folder, message.address)
                return MessageArrived(1, msgspec.structs.replace(message, address=self.proxy.address))
        return event
