"""TLS: one verifying context for all connections of a process, and what a loopback needs.

No connection resumes the TLS session of an earlier one. A client would have to be handed the saved
session, and neither asyncio and uvloop nor picows' transports take one; OpenSSL looks none up by
itself. A new connection thus checks the certificate again. With TLS 1.3 that costs no round trip
more, and sessions of ours live for hours.
"""

from __future__ import annotations

import datetime
import functools
import ipaddress
import os
import ssl
from typing import Final, NamedTuple

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import NameOID

LOOPBACK: Final = "127.0.0.1"
ALPN: Final = ("http/1.1",)
"""WebSocket begins as a request of HTTP/1.1: a server that also speaks HTTP/2 has to know."""
SKEW: Final = datetime.timedelta(hours=1)
VALID: Final = datetime.timedelta(days=1)


class OwnCertificate(NamedTuple):
    """A certificate for this host's loopback that nobody but its maker vouches for; PEM."""

    certificate: bytes
    key: bytes


@functools.cache
def client_context() -> ssl.SSLContext:
    """The context of every connection to the venue; trusts what this host's OpenSSL trusts.

    Reads some hundred certificates from disk at its first use, which is why it is shared.
    """
    return _strict(ssl.create_default_context())


def context_for(url: str) -> ssl.SSLContext | None:
    """The context to connect there with; None: the URL asks for no TLS."""
    return client_context() if url.startswith(("https:", "wss:")) else None


def trusting_only(certificate: bytes) -> ssl.SSLContext:
    """A client's context that is as strict, but trusts this one certificate, PEM."""
    return _strict(ssl.create_default_context(cadata=certificate.decode()))


def _strict(context: ssl.SSLContext) -> ssl.SSLContext:
    context.minimum_version = max(context.minimum_version, ssl.TLSVersion.TLSv1_2)
    context.options |= ssl.OP_NO_COMPRESSION
    context.set_alpn_protocols(ALPN)
    return context


def own_certificate() -> OwnCertificate:
    """A fresh key and its certificate for ``127.0.0.1`` and ``localhost``, valid for a day."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, LOOPBACK)])
    addresses = [x509.IPAddress(ipaddress.ip_address(LOOPBACK)), x509.DNSName("localhost")]
    now = datetime.datetime.now(datetime.UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - SKEW)
        .not_valid_after(now + VALID)
        .add_extension(x509.SubjectAlternativeName(addresses), critical=False)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    return OwnCertificate(
        certificate.public_bytes(Encoding.PEM),
        key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()),
    )


def serve_with(context: ssl.SSLContext, own: OwnCertificate) -> None:
    """Load certificate and key into a server's context; the key meets no disk."""
    with open(os.memfd_create("certificate"), "wb") as file:
        file.write(own.key + own.certificate)
        file.flush()
        context.load_cert_chain(f"/proc/self/fd/{file.fileno()}")
