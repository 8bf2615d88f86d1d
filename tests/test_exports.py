"""What a package offers is what its ``__all__`` says: no more, no less."""

from __future__ import annotations
import __future__

from importlib import import_module
from types import ModuleType

import pytest


def public_names(module: ModuleType) -> set[str]:
    """Everything a reader would take for public: no underscore, no module, no feature."""
    return {
        name
        for name, value in vars(module).items()
        if not name.startswith("_") and not isinstance(value, ModuleType | __future__._Feature)
    }


@pytest.mark.parametrize("package", ["ipc", "pinning"])
def test_a_package_exports_exactly_its_public_names(package: str) -> None:
    module = import_module(package)
    assert set(module.__all__) == public_names(module)


@pytest.mark.parametrize("package", ["ipc", "pinning"])
def test_every_export_exists_once(package: str) -> None:
    module = import_module(package)
    assert len(module.__all__) == len(set(module.__all__))
    assert all(hasattr(module, name) for name in module.__all__)
