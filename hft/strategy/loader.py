"""Plug-ins by name: ``module:Class``, ``path/to/file.py:Class``, or an entry point.

Everything that can be wrong with one is found here, before anything trades, and said with the file
and line where Python knows them.
"""

from __future__ import annotations

import difflib
import importlib
import importlib.util
import inspect
import re
import sys
import traceback
import zlib
from collections.abc import Mapping
from importlib import metadata
from pathlib import Path
from types import ModuleType
from typing import Any, Final

import msgspec

from hft.core.instruments import InstrumentRules
from hft.errors import HftError
from hft.strategy.base import HOOKS, OPTIONAL_CALLBACKS, Strategy, StrategyParameters
from hft.strategy.errors import StrategyLoadError
from hft.strategy.targets import QuoteRules

_REQUIRED: Final = {"on_top_of_book": 4, "on_timer": 2}
"""Callbacks that every plug-in has, and how many arguments each is called with."""
_OPTIONAL_ARGUMENTS: Final = 4
ENTRY_POINTS: Final = "hft.strategies"
"""Group of entry points under which an installed package offers its plug-ins."""


def load_class(plugin: str, *, is_anew: bool = False) -> type[Any]:
    """The class that a setting names.

    ``is_anew``: execute its source again; what it imports stays as it is. Whoever has the class
    of before keeps it, also when this fails.

    Raises:
        StrategyLoadError: no such file, module or class, an error in it, or no plug-in at all.
    """
    plugin = _resolve(plugin)
    place, separator, class_name = plugin.rpartition(":")
    if not separator or not place or not class_name.isidentifier():
        raise StrategyLoadError(
            f"plugin = {plugin!r} names no class",
            remedy='Write "module:Class", "path/to/file.py:Class", or an installed entry point of '
            f"the group {ENTRY_POINTS}: {_entry_points_text()}.",
        )
    if place.endswith(".py"):
        module = _load_file(place)
    else:
        module = _load_module(place)
        if is_anew and (path := source_path(plugin)) is not None:
            module = _execute(module.__name__, path, str(path))
    found = getattr(module, class_name, None)
    if not inspect.isclass(found):
        classes = ", ".join(sorted(_plugin_classes(module))) or "none"
        raise StrategyLoadError(
            f"{place} has no class {class_name}", remedy=f"Plug-ins in it: {classes}."
        )
    _check(found, plugin)
    return found


def load_anew(plugin: str) -> type[Any]:
    """``load_class`` from the source as it is now."""
    return load_class(plugin, is_anew=True)


def source_path(plugin: str) -> Path | None:
    """The file that a plug-in stands in, None: it is not Python source."""
    place = _resolve(plugin).rpartition(":")[0]
    if place.endswith(".py"):
        return Path(place).expanduser().absolute()
    file = getattr(sys.modules.get(place), "__file__", None)
    return Path(file) if file and file.endswith(".py") else None


def _resolve(plugin: str) -> str:
    """What an entry point stands for; everything else stands for itself."""
    if ":" in plugin:
        return plugin
    found = metadata.entry_points(group=ENTRY_POINTS, name=plugin)
    return next((point.value for point in found), plugin)


def _entry_points_text() -> str:
    names = sorted({point.name for point in metadata.entry_points(group=ENTRY_POINTS)})
    return ", ".join(names) or "there is none"


def load_parameters(
    plugin_class: type[Any],
    values: Mapping[str, object],
    plugin: str,
    *,
    is_strict: bool = True,
) -> StrategyParameters:
    """The typed parameters of a plug-in. Not strict: numbers may be given as text.

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
        return msgspec.convert(dict(values), parameters, strict=is_strict)
    except msgspec.ValidationError as error:
        what, _, place = str(error).partition(" - at `$.")
        name = place.rstrip("`")
        if name in values:
            what = f"{name} is {values[name]!r}: {_in_words(what, values[name])}"
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
    return make_strategy(
        plugin_class, load_parameters(plugin_class, values, plugin), instrument, plugin
    )


def make_strategy(
    plugin_class: type[Any],
    parameters: StrategyParameters,
    instrument: InstrumentRules,
    plugin: str,
) -> Strategy:
    """An object of a plug-in's class.

    Raises:
        StrategyLoadError: its ``__init__`` does not take the parameters, or its rules are none.
    """
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
    rules = getattr(strategy, "quote_rules", None)
    try:
        if rules is not None:
            msgspec.convert(msgspec.structs.asdict(rules), QuoteRules)
            assert min(map(int, msgspec.structs.astuple(rules))) >= 0
    except (msgspec.ValidationError, TypeError, AssertionError):
        raise StrategyLoadError(
            f"{plugin} on {instrument.symbol}: quote_rules is {rules!r}",
            remedy="It is a QuoteRules whose fields are integers from 0 (hft.strategy.targets).",
        ) from None
    return strategy


def _in_words(what: str, value: object) -> str:
    """The validator's words, without its patterns."""
    if "regex" in what and re.fullmatch(r"-\d+(\.\d+)?", str(value)):
        return "negative"
    if "regex" in what:
        return 'not a decimal number, as in "1.5"'
    if what in ("Expected `str`, got `float`", "Expected `str`, got `int`"):
        return 'written without quotes; a decimal is text, as in "1.5"'
    return what.lower()


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
    except (Exception, SystemExit) as error:
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
    return _execute(f"hft_plugin_{path.stem}_{zlib.crc32(str(path).encode()):08x}", path, place)


def _execute(name: str, path: Path, place: str) -> ModuleType:
    """Execute a source file as a module, from the text as it is now and never from a cache."""
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec is not None
    module = importlib.util.module_from_spec(spec)
    before = sys.modules.get(name)
    # Known by its name while it is executed: annotations of its structs are looked up there.
    sys.modules[name] = module
    try:
        exec(compile(path.read_bytes(), str(path), "exec"), module.__dict__)
    except BaseException as error:
        if before is None:
            del sys.modules[name]
        else:
            sys.modules[name] = before
        if not isinstance(error, Exception | SystemExit):
            raise
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
    for name, value in vars(parameters).items():
        if not name.startswith("_") and isinstance(value, bool | int | float | str):
            raise StrategyLoadError(
                f"{plugin}: Parameters has {name} = {value!r} without a type: it is no parameter",
                remedy=f"Declare it, for example {name}: DecimalText = {str(value)!r}.",
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
    for name, count in HOOKS.items():
        if callable(getattr(found, name, None)):
            _check_arguments(found, name, count, plugin)


def _check_arguments(found: type[Any], name: str, count: int, plugin: str) -> None:
    method = getattr(found, name)
    try:
        inspect.signature(method).bind(*range(count + 1))
    except TypeError:
        line = method.__code__.co_firstlineno if inspect.isfunction(method) else 0
        raise StrategyLoadError(
            f"{plugin}: {name} (line {line}) does not take {count} arguments beside self",
            remedy="See hft/strategy/base.py for the arguments of each callback.",
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
