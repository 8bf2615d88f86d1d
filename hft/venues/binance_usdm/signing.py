"""Keys and signatures.

The secret is read once, kept inside the signer, and never part of a message, a log line or a
``repr``. HMAC-SHA256 gives hex, Ed25519 base64 (Binance USD-M API, general info, signed
endpoints).
"""

from __future__ import annotations

import base64
import hashlib
import os
import stat
from pathlib import Path
from typing import Final, Literal, Protocol

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import load_pem_private_key

from hft.config import VenueConfig
from hft.errors import UsageError

KeyType = Literal["hmac", "ed25519"]
KEY_FILE_BYTES_MAX: Final = 65_536
_SHA256_BLOCK_BYTES: Final = 64


class Signer(Protocol):
    """Signs the exact bytes that are sent."""

    def sign(self, payload: bytes) -> str:
        """Signature as the venue wants it inside JSON; percent-encode it in a URL."""
        ...


class HmacSigner:
    """HMAC-SHA256, hex. The keyed states are prepared once and copied for each signature."""

    __slots__ = ("_inner", "_outer")

    def __init__(self, secret: bytes) -> None:
        # The definition of HMAC (RFC 2104) with both keyed hashes computed in advance: half the
        # time of the library's one-shot call, which hashes the key again on every order.
        key = hashlib.sha256(secret).digest() if len(secret) > _SHA256_BLOCK_BYTES else secret
        key = key.ljust(_SHA256_BLOCK_BYTES, b"\0")
        self._inner = hashlib.sha256(bytes(byte ^ 0x36 for byte in key))
        self._outer = hashlib.sha256(bytes(byte ^ 0x5C for byte in key))

    def sign(self, payload: bytes) -> str:
        """Hex digest of ``payload``."""
        inner = self._inner.copy()
        inner.update(payload)
        outer = self._outer.copy()
        outer.update(inner.digest())
        return outer.hexdigest()

    def __repr__(self) -> str:
        return "HmacSigner(secret hidden)"


class Ed25519Signer:
    """Ed25519, base64."""

    __slots__ = ("_key",)

    def __init__(self, key: Ed25519PrivateKey) -> None:
        self._key = key

    def sign(self, payload: bytes) -> str:
        """Base64 of the 64-byte signature of ``payload``."""
        return base64.b64encode(self._key.sign(payload)).decode("ascii")

    def __repr__(self) -> str:
        return "Ed25519Signer(key hidden)"


class Credentials:
    """An API key and the signer that goes with it."""

    __slots__ = ("api_key", "key_type", "signer", "warnings")

    def __init__(
        self, api_key: str, key_type: KeyType, signer: Signer, warnings: tuple[str, ...] = ()
    ) -> None:
        self.api_key = api_key
        self.key_type: KeyType = key_type
        self.signer = signer
        self.warnings = warnings
        """What the operator should be told, as a file that everybody may read."""

    def __repr__(self) -> str:
        return f"Credentials({self.key_type}, key …{self.api_key[-4:]})"


def load_credentials(venue: VenueConfig) -> Credentials:
    """Read the key files that ``[venue]`` names.

    Raises:
        UsageError: a file is not named, missing, unreadable, empty, or not of its kind.
    """
    text, warnings = _read("venue.key_file", venue.key_file)
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    if not lines:
        raise UsageError(
            f"{venue.key_file}: the key file is empty", remedy="put the API key in its first line"
        )
    api_key = lines[0]
    if not api_key.isascii() or any(character.isspace() for character in api_key):
        raise UsageError(
            f"{venue.key_file}: the first line is not an API key",
            remedy="put the API key alone in the first line",
        )
    if venue.key_type == "hmac":
        if len(lines) < 2:
            raise UsageError(
                f"{venue.key_file}: there is no secret in the second line",
                remedy="put the HMAC secret in the second line, or set venue.key_type = 'ed25519'",
            )
        return Credentials(api_key, "hmac", HmacSigner(lines[1].encode()), tuple(warnings))
    pem, pem_warnings = _read("venue.private_key_file", venue.private_key_file)
    key = _ed25519_key(venue.private_key_file, pem)
    return Credentials(api_key, "ed25519", Ed25519Signer(key), (*warnings, *pem_warnings))


def _ed25519_key(path: str, pem: str) -> Ed25519PrivateKey:
    try:
        key = load_pem_private_key(pem.encode(), password=None)
    except (ValueError, TypeError, UnsupportedAlgorithm):
        # The library's own text may quote the key: it is not passed on.
        raise UsageError(
            f"{path}: not an unencrypted private key in PEM",
            remedy="make one with: openssl genpkey -algorithm ed25519",
        ) from None
    if not isinstance(key, Ed25519PrivateKey):
        raise UsageError(
            f"{path}: a private key, but not an Ed25519 one",
            remedy="make one with: openssl genpkey -algorithm ed25519",
        )
    return key


def _read(setting: str, path: str) -> tuple[str, list[str]]:
    """Text of a key file, and what is to be said about its permissions."""
    if not path:
        raise UsageError(f"{setting} is not set", remedy="name the file that holds the key")
    try:
        mode = os.stat(path).st_mode
        if not stat.S_ISREG(mode):
            raise UsageError(f"{path}: not a regular file", remedy=f"correct {setting}")
        with Path(path).open("rb") as file:
            content = file.read(KEY_FILE_BYTES_MAX)
        text = content.decode()
    except FileNotFoundError:
        raise UsageError(f"{path}: no such file", remedy=f"correct {setting}") from None
    except OSError as error:
        raise UsageError(
            f"{path}: cannot be read: {error.strerror}", remedy="check the file's permissions"
        ) from None
    except UnicodeDecodeError:
        raise UsageError(f"{path}: not a text file", remedy=f"correct {setting}") from None
    warnings = []
    if mode & (stat.S_IRGRP | stat.S_IROTH):
        warnings.append(f"{path} can be read by other users: chmod 600 {path}")
    return text, warnings
