from __future__ import annotations

from base64 import b64encode

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from hft.errors import ConfigError
from tools.venue.auth import Key, check_time, signed_part, sorted_payload
from tools.venue.config import AccountConfig
from tools.venue.errors import ApiError

DOCUMENTED_SECRET = "2b5eb11e18796d12d88f13dc27dbbd02c2cc51ff7059765ed9821957d82bb4d9"
ORDER = (
    "symbol=BTCUSDT&side=BUY&type=LIMIT&quantity=1&price=9000&timeInForce=GTC"
    "&recvWindow=5000&timestamp=1591702613943"
)


def hmac_key(secret: str) -> Key:
    return Key(AccountConfig(api_key="k", secret=secret))


def ed25519_pem() -> str:
    private = Ed25519PrivateKey.from_private_bytes(bytes(range(32)))
    return private.public_key().public_bytes(
        Encoding.PEM, PublicFormat.SubjectPublicKeyInfo
    ).decode()  # fmt: skip


@pytest.mark.parametrize(
    ("secret", "query", "body", "signature"),
    [
        (
            DOCUMENTED_SECRET,
            ORDER,
            "",
            "3c661234138461fcc7a7d8746c6558c9842d4e10870d2ecbedf7777cad694af9",
        ),
        (
            DOCUMENTED_SECRET,
            "symbol=BTCUSDT&side=BUY&type=LIMIT&timeInForce=GTC",
            "quantity=1&price=9000&recvWindow=5000&timestamp=1591702613943",
            "30baaf0fab549bbeda7f5ef201898b34122da25fd23c646cac2c529aebe670a4",
        ),
        (
            "sim-secret-0001",
            "symbol=ETHUSDT&side=SELL&type=LIMIT&timeInForce=GTX&quantity=0.250&price=3120.55"
            "&newClientOrderId=mm-7f3a-000001&recvWindow=2000&timestamp=1795350000123",
            "",
            "57f6cadcc9d778f7b3c726ad91d5684bb155e683a2908e1cb45a7356575eccd1",
        ),
    ],
)
def test_documented_rest_signatures_are_accepted(secret, query, body, signature):
    query += f"&signature={signature}" if not body else ""
    body += f"&signature={signature.upper()}" if body else ""
    payload, sent = signed_part(query, body)
    hmac_key(secret).check(payload, sent)
    with pytest.raises(ApiError, match="-1022"):
        hmac_key(secret + "x").check(payload, sent)


def test_websocket_signature_covers_sorted_parameters():
    params = {
        "symbol": "ETHUSDT",
        "side": "SELL",
        "type": "LIMIT",
        "timeInForce": "GTX",
        "quantity": "0.250",
        "price": "3120.55",
        "newClientOrderId": "mm-7f3a-000001",
        "recvWindow": 2000,
        "timestamp": 1795350000123,
        "apiKey": "SIMKEY-HMAC",
        "signature": "c0d1d603f547dc84f9de895d21ac06dc1fd07cfa28144dc2e5c669ca896c97f6",
    }
    hmac_key("sim-secret-0001").check(sorted_payload(params), str(params["signature"]))


def test_ed25519_logon_signature_is_accepted():
    key = Key(AccountConfig(api_key="SIMKEY-ED25519", public_key_pem=ed25519_pem()))
    payload = sorted_payload({"timestamp": 1795350000123, "apiKey": "SIMKEY-ED25519"})
    signature = (
        "6aEJcml0UWN+DFeWLpXmFDvrhg4XPdbBHj6627NmnnKAxKcrZCS2M1g94f3XwY4IRPMHXbvK19ee5Wmy5LMIBA=="
    )
    assert key.is_ed25519
    key.check(payload, signature)
    for wrong in (b64encode(bytes(64)).decode(), "not base64!", ""):
        with pytest.raises(ApiError, match="-1022"):
            key.check(payload, wrong)


def test_ed25519_signature_survives_percent_encoding():
    payload, signature = signed_part("a=1&signature=ab%2Bc%2F%3D%3D", "")
    assert (payload, signature) == (b"a=1", "ab+c/==")


def test_missing_signature_is_named():
    with pytest.raises(ApiError, match="'signature'"):
        signed_part("a=1", "")


def test_public_key_has_to_be_ed25519():
    with pytest.raises(ConfigError, match="not an Ed25519 public key"):
        Key(AccountConfig(api_key="k", public_key_pem="nonsense"))


@pytest.mark.parametrize(
    ("params", "code"),
    [
        ({"timestamp": "10000000"}, 0),
        ({"timestamp": "10000999"}, 0),
        ({"timestamp": "10001000"}, -1021),
        ({"timestamp": "9995000"}, 0),
        ({"timestamp": "9994999"}, -1021),
        ({"timestamp": "9998999", "recvWindow": "1000"}, -1021),
        ({"timestamp": "10000000", "recvWindow": "60001"}, -1131),
        ({"timestamp": "soon"}, -1102),
        ({}, -1102),
    ],
)
def test_timestamp_window(params, code):
    if not code:
        assert check_time(params, 10_000_000) is None
        return
    with pytest.raises(ApiError) as caught:
        check_time(params, 10_000_000)
    assert caught.value.code == code
