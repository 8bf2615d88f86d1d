"""Plug-ins by name: ``module:Class`` or ``path/to/file.py:Class``.

Everything that can be wrong with one is found here, before anything trades, and said with the file
and line where Python knows them.
"""

from __future__ import annotations

import difflib
import importlib
import importlib.util
import inspect
import sys
import traceback
from collections.abc import Mapping
from pathlib import Path
from types import ModuleType
from typing import Any, Final

import msgspec

from hft.core.instruments import InstrumentRules
from hft.errors import HftError
from hft.strategy.base import OPTIONAL_CALLBACKS, Strategy, StrategyParameters
from hft.strategy.errors import StrategyLoadError

_REQUIRED: Final = {"on_top_of_book": 4, "on_timer": 2}
"""Callbacks that every plug-in has, and how many arguments each is called with."""
_OPTIONAL_ARGUMENTS: Final = 4


def load_class(plugin: str) -> type[Any]:
    """The class that a setting names.

    Raises:
        StrategyLoadError: no such file, module or class, an error in it, or no plug-in at all.
    """
    place, separator, class_name = plugin.rpartition(":")
    if not separator or not place or not class_name.isidentifier():
        raise StrategyLoadError(
            f"plugin = {plugin!r} names no class",
            remedy='Write "module:Class" or "path/to/file.py:Class".',
        )
    module = _load_file(place) if place.endswith(".py") else _load_module(place)
    found = getattr(module, class_name, None)
    if not inspect.isclass(found):
        classes = ", ".join(sorted(_plugin_classes(module))) or "none"
        raise StrategyLoadError(
            f"{place} has no class {class_name}", remedy=f"Plug-ins in it: {classes}."
        )
    _check(found, plugin)
    return found


def load_parameters(
    plugin_class: type[Any], values: Mapping[str, object], plugin: str
) -> StrategyParameters:
    """The typed parameters of a plug-in.

    Raises:
        StrategyLoadError: an unknown parameter, a wrong type, a value out of range.
    """
    parameters: type[StrategyParameters] = plugin_class.Parameters
    known = [field.name for field in msgspec.structs.fields(parameters)]
    for name in values:
        if name not in known:
            near = difflib.get_close_matches(name, known, n=1)
            hint = f"Did you mean {near[0]}? " if near else ""
            raise StrategyLoadError(
                f"{plugin} has no parameter {name}",
                remedy=f"{hint}It has {_describe(parameters)}.",
            )
    try:
        return msgspec.convert(dict(values), parameters)
    except msgspec.ValidationError as error:
        what, _, place = str(error).partition(" - at `$.")
        name = place.rstrip("`")
        if name in values:
            what = f"{name} is {values[name]!r}: {_in_words(what)}"
        raise StrategyLoadError(
            f"parameters of {plugin}: {what}", remedy=f"It has {_describe(parameters)}."
        ) from None


def load_strategy(
    plugin: str, values: Mapping[str, object], instrument: InstrumentRules
) -> Strategy:
    """A plug-in with its parameters, for one instrument.

    Raises:
        StrategyLoadError: the plug-in or its parameters do not hold.
    """
    plugin_class = load_class(plugin)
    parameters = load_parameters(plugin_class, values, plugin)
    try:
        strategy: Strategy = plugin_class(parameters, instrument)
    except HftError as error:
        raise StrategyLoadError(
            f"{plugin} on {instrument.symbol}: {error.message}", remedy=error.remedy
        ) from error
    except Exception as error:
        raise StrategyLoadError(
            f"{plugin} on {instrument.symbol}: {_where(error)}",
            remedy="Mend the plug-in's __init__.",
        ) from error
    return strategy


def _in_words(what: str) -> str:
    """The validator's words, without its patterns."""
    return 'not a decimal number, as in "1.5"' if "regex" in what else what.lower()


def _load_module(name: str) -> ModuleType:
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        if error.name is not None and (name == error.name or name.startswith(f"{error.name}.")):
            raise StrategyLoadError(
                f"there is no module {name}",
                remedy="Install it, or name the plug-in by its file: path/to/file.py:Class.",
            ) from None
        raise StrategyLoadError(
            f"{name} cannot be imported: {_where(error)}",
            remedy=f"Install {error.name}, which it needs.",
        ) from error
    except Exception as error:
        raise StrategyLoadError(
            f"{name} cannot be imported: {_where(error)}", remedy="Mend the plug-in."
        ) from error


def _load_file(place: str) -> ModuleType:
    path = Path(place).expanduser().absolute()
    if not path.is_file():
        raise StrategyLoadError(
            f"there is no plug-in file {place}",
            remedy=f"Relative paths are taken from the working directory, {Path.cwd()}.",
        )
    name = f"hft_plugin_{path.stem}"
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    # Known by its name while it is executed: annotations of its structs are looked up there.
    sys.modules[name] = module
    try:
        spec.loader.exec_module(module)
    except Exception as error:
        del sys.modules[name]
        raise StrategyLoadError(
            f"{place} cannot be loaded: {_where(error)}", remedy="Mend the plug-in."
        ) from error
    return module


def _check(found: type[Any], plugin: str) -> None:
    """Is it a plug-in: parameters, callbacks, numbers of arguments?"""
    parameters = getattr(found, "Parameters", None)
    if not (inspect.isclass(parameters) and issubclass(parameters, StrategyParameters)):
        raise StrategyLoadError(
            f"{plugin} has no Parameters",
            remedy="Give it a class Parameters(StrategyParameters, frozen=True), empty if need be.",
        )
    for name, count in _REQUIRED.items():
        if not callable(getattr(found, name, None)):
            raise StrategyLoadError(
                f"{plugin} has no method {name}",
                remedy="Every plug-in has on_top_of_book and on_timer (hft.strategy.base).",
            )
        _check_arguments(found, name, count, plugin)
    for name in OPTIONAL_CALLBACKS:
        if callable(getattr(found, name, None)):
            _check_arguments(found, name, _OPTIONAL_ARGUMENTS, plugin)


def _check_arguments(found: type[Any], name: str, count: int, plugin: str) -> None:
    method = getattr(found, name)
    try:
        inspect.signature(method).bind(*range(count + 1))
    except TypeError:
        line = method.__code__.co_firstlineno if inspect.isfunction(method) else 0
        raise StrategyLoadError(
            f"{plugin}: {name} (line {line}) does not take {count} arguments beside self",
            remedy="hft.strategy.base names the arguments of each callback.",
        ) from None


def _plugin_classes(module: ModuleType) -> list[str]:
    return [
        name
        for name, value in vars(module).items()
        if inspect.isclass(value) and all(hasattr(value, method) for method in _REQUIRED)
    ]


def _describe(parameters: type[StrategyParameters]) -> str:
    fields = msgspec.structs.fields(parameters)
    if not fields:
        return "no parameters"
    return ", ".join(
        f"{field.name} (required)" if field.required else f"{field.name} = {field.default!r}"
        for field in fields
    )


def _where(error: BaseException) -> str:
    """What and where, in one line: the last place in the traceback that is the plug-in's."""
    kind = type(error).__name__
    if isinstance(error, SyntaxError):
        return f"{kind} in {error.filename}, line {error.lineno}: {error.msg}"
    frames = traceback.extract_tb(error.__traceback__)
    outside = [
        frame
        for frame in frames
        if frame.filename != __file__ and "importlib" not in frame.filename
    ]
    if not outside:
        return f"{kind}: {error}"
    return f"{kind} in {outside[-1].filename}, line {outside[-1].lineno}: {error}"
