"""TLS of the bench venue, where its stamps want it.

A frame is encrypted before it is due, and what comes is stamped before it is decrypted. So the
venue has to get hold of a connection's ciphertext, which transports keep to themselves: its context
hands out TLS objects that know their buffers.
"""

from __future__ import annotations

import ssl
from contextlib import suppress
from typing import Any, Final

from hft.venues.binance_usdm import tls

READ_BYTES: Final = 65_536


class Sealed(ssl.SSLObject):
    """One connection's TLS, shared by its transport and by whoever bypasses that."""

    incoming: ssl.MemoryBIO
    outgoing: ssl.MemoryBIO

    def seal(self, data: bytes) -> bytes:
        """The bytes to be written for this; the next to be written on the connection."""
        self.write(data)
        return self.outgoing.read()

    def unseal(self, data: bytes) -> bytes:
        """What these bytes of the connection tell; nothing, while a record is incomplete."""
        self.incoming.write(data)
        plain = b""
        with suppress(ssl.SSLWantReadError, ssl.SSLZeroReturnError):
            while self.incoming.pending:
                plain += self.read(READ_BYTES)
        return plain


class SealingContext(ssl.SSLContext):
    """A server's context whose connections are ``Sealed``."""

    sslobject_class = Sealed
    _aiofastnet_force_fallback_ssl = True
    """picows' transports call OpenSSL without Python's objects unless a context says this."""

    def wrap_bio(
        self, incoming: ssl.MemoryBIO, outgoing: ssl.MemoryBIO, *arguments: Any, **options: Any
    ) -> Sealed:
        """TLS over two buffers, which it keeps."""
        made = super().wrap_bio(incoming, outgoing, *arguments, **options)
        assert isinstance(made, Sealed)
        made.incoming, made.outgoing = incoming, outgoing
        return made


def sealing_context(own: tls.OwnCertificate) -> SealingContext:
    """The context of a venue with this certificate."""
    context = SealingContext(ssl.PROTOCOL_TLS_SERVER)
    tls.serve_with(context, own)
    return context


def sealed_of(transport: Any) -> Sealed:
    """The TLS of a connection that a ``SealingContext`` accepted."""
    sealed = transport.get_extra_info("ssl_object")
    assert isinstance(sealed, Sealed), f"the transport does not use its context: {sealed!r}"
    return sealed
