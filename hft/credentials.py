"""Keys that systemd hands over: ``key_file = "credential:key"`` in the settings.

A unit with ``LoadCredential=key:/path`` finds the file in the directory that CREDENTIALS_DIRECTORY
names: only its user can read it, it is never swapped out, and no other process inherits it. The
plan keeps the name, so that every process finds its own file.
"""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Final

import msgspec

from hft.config import Config
from hft.errors import UsageError

PREFIX: Final = "credential:"
DIRECTORY_VARIABLE: Final = "CREDENTIALS_DIRECTORY"
_NAME: Final = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]*")
_SETTINGS: Final = ("key_file", "private_key_file")


def with_credentials(config: Config) -> Config:
    """The same settings with every named credential replaced by the path of its file.

    Raises:
        UsageError: the name is not one, or nobody gave this process credentials.
    """
    paths = {key: _located(key, getattr(config.venue, key)) for key in _SETTINGS}
    return msgspec.structs.replace(config, venue=msgspec.structs.replace(config.venue, **paths))


def _located(key: str, text: str) -> str:
    if not text.startswith(PREFIX):
        return text
    name = text.removeprefix(PREFIX)
    if not _NAME.fullmatch(name):
        raise UsageError(
            f"venue.{key}: {name!r} cannot be the name of a credential.",
            remedy="Write for example credential:key, and LoadCredential=key:/path in the unit.",
        )
    directory = os.environ.get(DIRECTORY_VARIABLE, "")
    if not directory:
        raise UsageError(
            f"venue.{key} names the credential {name!r}, and this process was given none.",
            remedy=f"systemd gives them to its units (LoadCredential=); by hand set"
            f" {DIRECTORY_VARIABLE} to the directory that holds the file.",
        )
    return str(Path(directory) / name)
