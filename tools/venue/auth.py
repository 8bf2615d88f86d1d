"""Keys and signatures: HMAC-SHA256 and Ed25519, for REST and for the WebSocket API."""

from __future__ import annotations

import hmac
from base64 import b64decode
from binascii import Error as Base64Error
from collections.abc import Mapping
from hashlib import sha256
from typing import Final
from urllib.parse import unquote_plus

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import load_pem_public_key

from hft.errors import ConfigError
from tools.venue.config import AccountConfig
from tools.venue.errors import missing, refuse

RECV_WINDOW_DEFAULT_MS: Final = 5_000
RECV_WINDOW_MAX_MS: Final = 60_000
AHEAD_MAX_MS: Final = 1_000


class Key:
    """One API key: checks signatures made with it."""

    def __init__(self, config: AccountConfig) -> None:
        self.api_key = config.api_key
        self.account_name = config.account or config.api_key
        self.can_trade = config.can_trade
        self._secret = config.secret.encode()
        self._public_key = _public_key(config) if config.public_key_pem else None

    @property
    def is_ed25519(self) -> bool:
        """Only such keys may log a session on."""
        return self._public_key is not None

    def check(self, payload: bytes, signature: str) -> None:
        """Accept the signature of exactly these bytes.

        Raises:
            ApiError: -1022.
        """
        if self._public_key is None:
            expected = hmac.new(self._secret, payload, sha256).hexdigest()
            if not hmac.compare_digest(expected, signature.lower()):
                raise refuse(-1022)
            return
        try:
            self._public_key.verify(b64decode(signature, validate=True), payload)
        except (InvalidSignature, Base64Error, ValueError):
            raise refuse(-1022) from None


def _public_key(config: AccountConfig) -> Ed25519PublicKey:
    try:
        key = load_pem_public_key(config.public_key_pem.encode())
    except ValueError:
        key = None
    if not isinstance(key, Ed25519PublicKey):
        raise ConfigError(
            [f"account {config.api_key}: public_key_pem is not an Ed25519 public key in PEM"]
        )
    return key


def signed_part(query: str, body: str) -> tuple[bytes, str]:
    """What a REST signature covers, and the signature itself.

    The covered text is the query string and the body, one right after the other, each without
    its ``signature`` parameter, exactly as sent.

    Raises:
        ApiError: -1102 without a signature.
    """
    signature = ""
    covered = []
    for text in (query, body):
        kept = []
        for part in text.split("&"):
            if part.startswith("signature="):
                signature = unquote_plus(part[10:]).replace(" ", "+")
            else:
                kept.append(part)
        covered.append("&".join(kept))
    if not signature:
        raise missing("signature")
    return "".join(covered).encode(), signature


def sorted_payload(params: Mapping[str, object]) -> bytes:
    """What a WebSocket API signature covers: all parameters but itself, sorted by name."""
    return "&".join(f"{k}={params[k]}" for k in sorted(params) if k != "signature").encode()


def check_time(params: Mapping[str, str], now_ms: int) -> None:
    """Accept ``timestamp`` and ``recvWindow``.

    Raises:
        ApiError: -1102, -1131 or -1021.
    """
    timestamp = params.get("timestamp", "")
    if not timestamp.isdigit():
        raise missing("timestamp")
    window = params.get("recvWindow", str(RECV_WINDOW_DEFAULT_MS))
    if not window.isdigit():
        raise missing("recvWindow")
    if int(window) > RECV_WINDOW_MAX_MS:
        raise refuse(-1131)
    if int(timestamp) >= now_ms + AHEAD_MAX_MS:
        raise refuse(-1021, "Timestamp for this request was 1000ms ahead of the server's time.")
    if now_ms - int(timestamp) > int(window):
        raise refuse(-1021)
