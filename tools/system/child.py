"""Python programs started beside this one, on the same code wherever they are started from."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import hft


def python_command(module: str, *arguments: str) -> list[str]:
    """Command line that runs a module with this interpreter."""
    return [sys.executable, "-m", module, *arguments]


def python_environment() -> dict[str, str]:
    """Our environment, with the place this code was imported from on the module path."""
    root = str(Path(hft.__path__[0]).resolve().parent)
    inherited = os.environ.get("PYTHONPATH", "")
    return {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, (root, inherited)))}
