"""A certificate for one run of the benchmark, and who has to believe it."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final, NamedTuple

from hft.venues.binance_usdm import tls

VARIABLE: Final = "SSL_CERT_FILE"
"""Where OpenSSL looks for the certificates that it trusts by default."""


class Trust(NamedTuple):
    """The venue's certificate, and the file that vouches for it."""

    own: tls.OwnCertificate
    ca_file: str


@contextmanager
def trusted() -> Iterator[Trust]:
    """A fresh certificate that this process and those it starts meanwhile trust by default.

    So a system needs no switch that it would not have elsewhere: it verifies as always. Nobody
    trusts anything else as long as the block runs.
    """
    before = os.environ.get(VARIABLE)
    with tempfile.TemporaryDirectory(prefix="hft-t2t-") as directory:
        own = tls.own_certificate()
        path = Path(directory) / "certificate.pem"
        path.write_bytes(own.certificate)
        os.environ[VARIABLE] = str(path)
        tls.client_context.cache_clear()
        try:
            yield Trust(own, str(path))
        finally:
            os.environ.pop(VARIABLE)
            if before is not None:
                os.environ[VARIABLE] = before
            tls.client_context.cache_clear()
