"""Signatures against published vectors, and key files as people leave them."""

from __future__ import annotations

import base64
import hashlib
import hmac
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, generate_private_key
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    NoEncryption,
    PrivateFormat,
)
from hypothesis import given
from hypothesis import strategies as st

from hft.config import VenueConfig
from hft.errors import UsageError
from hft.venues.binance_usdm.signing import Ed25519Signer, HmacSigner, load_credentials

SECRET = b"2b5eb11e18796d12d88f13dc27dbbd02c2cc51ff7059765ed9821957d82bb4d9"
QUERY = (
    b"symbol=BTCUSDT&side=BUY&type=LIMIT&quantity=1&price=9000&timeInForce=GTC"
    b"&recvWindow=5000&timestamp=1591702613943"
)


def test_hmac_gives_the_documented_signature():
    signature = HmacSigner(SECRET).sign(QUERY)
    assert signature == "3c661234138461fcc7a7d8746c6558c9842d4e10870d2ecbedf7777cad694af9"


@given(secret=st.binary(min_size=1, max_size=200), payload=st.binary(max_size=500))
def test_hmac_equals_the_library_for_any_key_length(secret, payload):
    assert HmacSigner(secret).sign(payload) == hmac.digest(secret, payload, hashlib.sha256).hex()


def test_ed25519_gives_the_signature_of_the_reference_key():
    signer = Ed25519Signer(Ed25519PrivateKey.from_private_bytes(bytes(range(32))))
    signature = signer.sign(b"apiKey=SIMKEY-ED25519&timestamp=1795350000123")
    assert signature == (
        "6aEJcml0UWN+DFeWLpXmFDvrhg4XPdbBHj6627NmnnKAxKcrZCS2M1g94f3XwY4IRPMHXbvK19ee5Wmy5LMIBA=="
    )
    assert len(base64.b64decode(signature)) == 64


def write(path: Path, text: str, mode: int = 0o600) -> str:
    path.write_text(text)
    path.chmod(mode)
    return str(path)


def pem(key: Ed25519PrivateKey, password: bytes | None = None) -> str:
    encryption = BestAvailableEncryption(password) if password else NoEncryption()
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, encryption).decode()


def test_an_hmac_key_file_holds_key_and_secret(tmp_path):
    path = write(tmp_path / "key", "the-key\n\n  the-secret  \n")
    credentials = load_credentials(VenueConfig(key_file=path))
    assert (credentials.api_key, credentials.key_type) == ("the-key", "hmac")
    assert credentials.signer.sign(b"x") == HmacSigner(b"the-secret").sign(b"x")
    assert credentials.warnings == ()


def test_an_ed25519_key_needs_its_pem_file(tmp_path):
    private = Ed25519PrivateKey.generate()
    credentials = load_credentials(
        VenueConfig(
            key_type="ed25519",
            key_file=write(tmp_path / "key", "the-key\n"),
            private_key_file=write(tmp_path / "pem", pem(private)),
        )
    )
    private.public_key().verify(base64.b64decode(credentials.signer.sign(b"x")), b"x")


def test_nothing_secret_is_ever_in_a_repr(tmp_path):
    credentials = load_credentials(
        VenueConfig(key_file=write(tmp_path / "key", "long-public-key\nhidden-secret\n"))
    )
    text = f"{credentials!r} {credentials} {credentials.signer!r}"
    assert "hidden-secret" not in text
    assert "long-public-key" not in text


def test_a_key_file_that_others_can_read_is_told(tmp_path):
    path = write(tmp_path / "key", "k\ns\n", mode=0o644)
    assert "chmod 600" in load_credentials(VenueConfig(key_file=path)).warnings[0]


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("", "empty"),
        ("\n \n", "empty"),
        ("only-a-key\n", "no secret in the second line"),
        ("a key with blanks\nsecret\n", "not an API key"),
    ],
)
def test_an_unusable_key_file_is_a_usage_error(tmp_path, content, words):
    with pytest.raises(UsageError, match=words) as caught:
        load_credentials(VenueConfig(key_file=write(tmp_path / "key", content)))
    assert caught.value.remedy


def test_missing_files_and_settings_are_usage_errors(tmp_path):
    with pytest.raises(UsageError, match=r"venue\.key_file is not set"):
        load_credentials(VenueConfig())
    with pytest.raises(UsageError, match="no such file"):
        load_credentials(VenueConfig(key_file=str(tmp_path / "absent")))
    with pytest.raises(UsageError, match="not a regular file"):
        load_credentials(VenueConfig(key_file=str(tmp_path)))
    (tmp_path / "binary").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(UsageError, match="not a text file"):
        load_credentials(VenueConfig(key_file=str(tmp_path / "binary")))


def test_a_pem_of_another_kind_is_refused_without_quoting_it(tmp_path):
    other = generate_private_key(SECP256R1()).private_bytes(
        Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()
    )
    cases = [
        ("not a pem", "not an unencrypted private key"),
        (pem(Ed25519PrivateKey.generate(), b"password"), "not an unencrypted private key"),
        (other.decode(), "not an Ed25519 one"),
    ]
    key_file = write(tmp_path / "key", "the-key\n")
    for text, words in cases:
        config = VenueConfig(
            key_type="ed25519",
            key_file=key_file,
            private_key_file=write(tmp_path / "pem", text),
        )
        with pytest.raises(UsageError, match=words) as caught:
            load_credentials(config)
        assert text.splitlines()[0] not in caught.value.message
