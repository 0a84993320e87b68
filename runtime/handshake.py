"""The mutual proof that begins every connection between processes of a cluster.

Both directions at once: `MSTR`, version, role, 32 random bytes; then HMAC-SHA256 under the cluster's secret of the own role,
the own and the other's random bytes. The roles differ, so an answer cannot be played back to whoever made the question.
"""

from __future__ import annotations

import hashlib
import hmac
import os
from enum import Enum
from typing import Final

from ..core.errors import MillstreamError

_MAGIC: Final = b"MSTR\x01"
_NONCE_BYTES: Final = 32
_HELLO_BYTES: Final = len(_MAGIC) + 1 + _NONCE_BYTES
_PROOF_BYTES: Final = 32


class PeerRejected(MillstreamError):
    """The other end does not know the cluster's secret, or speaks another protocol."""


class Role(Enum):
    """Which end of the connection this is."""

    LISTENER = b"L"
    CONNECTOR = b"C"


class Handshake:
    """One end's view of the mutual proof."""

    def __init__(self, secret: bytes, role: Role) -> None:
        self._secret = secret
        self._role = role
        self._nonce = os.urandom(_NONCE_BYTES)
        self._expected: bytes | None = None
        self.hello = _MAGIC + role.value + self._nonce

    def receive(self, data: bytes) -> tuple[bytes, bytes, bool]:
        """What to send, what is left of `data`, and whether the other end has proved itself."""
        answer = b""
        if self._expected is None:
            if not _MAGIC.startswith(data[: len(_MAGIC)]):
                raise PeerRejected("a connection was refused: the other end does not speak this protocol")
            if len(data) < _HELLO_BYTES:
                return b"", data, False
            answer = self._on_hello(data[:_HELLO_BYTES])
            data = data[_HELLO_BYTES:]
        if len(data) < _PROOF_BYTES:
            return answer, data, False
        assert self._expected is not None
        if not hmac.compare_digest(data[:_PROOF_BYTES], self._expected):
            raise PeerRejected("a connection was refused: the other end does not know the cluster's secret")
        return answer, data[_PROOF_BYTES:], True

    def _on_hello(self, hello: bytes) -> bytes:
        role, nonce = hello[len(_MAGIC) : len(_MAGIC) + 1], hello[len(_MAGIC) + 1 :]
        other = Role.CONNECTOR if self._role is Role.LISTENER else Role.LISTENER
        if role != other.value:
            raise PeerRejected("a connection was refused: the other end has the same role")
        self._expected = self._proof(other, nonce, self._nonce)
        return self._proof(self._role, self._nonce, nonce)

    def _proof(self, role: Role, own: bytes, others: bytes) -> bytes:
        return hmac.new(self._secret, _MAGIC + role.value + own + others, hashlib.sha256).digest()
