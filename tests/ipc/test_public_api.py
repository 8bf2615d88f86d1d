"""What the package offers, and what it must not know."""

from __future__ import annotations

import re
from pathlib import Path

import ipc
from ipc import errors


def test_all_names_exactly_the_public_names() -> None:
    modules = {path.stem for path in Path(ipc.__file__).parent.iterdir()}
    public = {name for name in vars(ipc) if not name.startswith("_")} - modules
    assert set(ipc.__all__) == public
    assert len(ipc.__all__) == len(set(ipc.__all__))


def test_every_error_is_public_drawn_and_below_ipc_error() -> None:
    classes = {name: one for name, one in vars(errors).items() if isinstance(one, type)}
    assert errors.__doc__ is not None
    for name, one in classes.items():
        assert issubclass(one, errors.IpcError)
        assert getattr(ipc, name) is one
        assert name in errors.__doc__
        assert one.__doc__


def test_the_package_knows_nothing_above_it() -> None:
    """Also in compiled sources, which the import contracts do not read."""
    sources = [
        path
        for path in Path(ipc.__file__).parent.iterdir()
        if path.suffix in {".py", ".pyx", ".pxd", ".pyi"}
    ]
    assert len(sources) > 20
    for path in sources:
        imported = re.findall(r"^\s*(?:from|c?import)\s+(\w+)", path.read_text(), re.MULTILINE)
        assert not {"hft", "pinning", "tools"} & set(imported), path
