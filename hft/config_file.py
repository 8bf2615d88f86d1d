"""From a TOML file to a ``Config``: every problem at once, each with its line and its remedy.

Each value is converted on its own, so that one mistake does not hide the next; what is wrong is
left out, and the rest is checked for contradictions all the same.
"""

from __future__ import annotations

import json
import re
import tomllib
from collections import Counter
from collections.abc import Iterator, Mapping
from difflib import get_close_matches
from pathlib import Path
from typing import Any, Final

import msgspec
from msgspec import inspect

from hft.config import Config
from hft.config_checks import KeyPath, Problem, contradictions, shown
from hft.core.policy_text import parse_policy
from hft.credentials import PREFIX as CREDENTIAL
from hft.errors import ConfigError, UsageError

_HEADER: Final = re.compile(r"^\s*(\[\[?)\s*([^\[\]]+?)\s*\]")
_KEY: Final = re.compile(r"^\s*([A-Za-z0-9_.\-\"' ]+?)\s*=")
_PATH_SETTINGS: Final = (
    ("venue", "key_file"),
    ("venue", "private_key_file"),
    ("system", "run_dir"),
    ("system", "state_dir"),
)


def find(explicit: str | None) -> Path:
    """The settings file to use: the one asked for, ``./hft.toml`` or ``/etc/hft/hft.toml``.

    Raises:
        UsageError: there is none.
    """
    places = [Path(explicit)] if explicit else [Path("hft.toml"), Path("/etc/hft/hft.toml")]
    for place in places:
        if place.is_file():
            return place
    if explicit:
        raise UsageError(f"there is no settings file {explicit}.", remedy="Check the path.")
    raise UsageError(
        "no settings file: neither ./hft.toml nor /etc/hft/hft.toml exists.",
        remedy="Name one (hft up my.toml), or see the system at work with `hft demo`.",
    )


def load(path: Path, overrides: Mapping[tuple[str, str], object] | None = None) -> Config:
    """Read and check a settings file.

    Args:
        path: the TOML file; relative paths in it are taken from its directory.
        overrides: values from the command line that win over the file's, by (section, key).

    Raises:
        ConfigError: with every problem found.
        UsageError: the file cannot be read.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "not UTF-8 text"
        raise UsageError(f"cannot read {path}: {reason}.", remedy="Check the path.") from None
    return parse(text, source=path.name, base=path.resolve().parent, overrides=overrides)


def parse(
    text: str,
    *,
    source: str,
    base: Path,
    overrides: Mapping[tuple[str, str], object] | None = None,
) -> Config:
    """Check settings text; ``source`` names it in messages (see ``load``)."""
    try:
        raw = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise ConfigError([_syntax_problem(error, source)]) from None
    for (section, key), value in (overrides or {}).items():
        table = raw.setdefault(section, {})
        if isinstance(table, dict):
            table[key] = value
    config, problems = _convert(raw)
    if config is not None:
        config, more = _take_policy_file(_resolve_paths(config, base), base)
        problems += more
        wrong = {problem.path for problem in problems}
        problems += [found for found in contradictions(config) if found.path not in wrong]
    if config is None or problems:
        lines = line_numbers(text)
        problems.sort(key=lambda problem: _line_of(problem.path, lines) or 0)
        raise ConfigError([_sentence(problem, source, lines) for problem in problems])
    return config


def line_numbers(text: str) -> dict[KeyPath, int]:
    """Line of every table header and key, by path."""
    lines: dict[KeyPath, int] = {}
    lists: Counter[KeyPath] = Counter()
    table: KeyPath = ()
    for number, line in enumerate(text.splitlines(), start=1):
        if header := _HEADER.match(line):
            table = ()
            parts = _split_key(header[2])
            for depth, part in enumerate(parts, start=1):
                table = (*table, part)
                if depth == len(parts) and header[1] == "[[":
                    lists[table] += 1
                if lists[table]:
                    table = (*table, lists[table] - 1)
            lines.setdefault(table, number)
        elif key := _KEY.match(line):
            path = (*table, *_split_key(key[1]))
            for depth in range(len(table) + 1, len(path) + 1):
                lines.setdefault(path[:depth], number)
    return lines


def _split_key(text: str) -> list[str]:
    return [part.strip().strip("\"'") for part in text.split(".")]


def _syntax_problem(error: tomllib.TOMLDecodeError, source: str) -> str:
    message = str(error)
    where = re.search(r" \(at (?:line (\d+), column \d+|end of document)\)$", message)
    text = message[: where.start()] if where else message
    place = f" line {where[1]}" if where and where[1] else ""
    return (
        f"{source}{place}: this is not TOML: {text[:1].lower()}{text[1:]}.\n"
        'A line is [section], or key = value with text in quotes, for example name = "default".'
    )


def _line_of(path: KeyPath, lines: Mapping[KeyPath, int]) -> int | None:
    for depth in range(len(path), 0, -1):
        if path[:depth] in lines:
            return lines[path[:depth]]
    return None


def _label(path: KeyPath) -> str:
    text = ""
    for part in path:
        text += f"[{part}]" if isinstance(part, int) else f".{part}" if text else part
    return text


def _sentence(problem: Problem, source: str, lines: Mapping[KeyPath, int]) -> str:
    line = _line_of(problem.path, lines)
    place = f"{source} line {line}" if line else source
    return f"{place}: {_label(problem.path)} {problem.message}.\n{problem.remedy}".rstrip()


# --- one value at a time --------------------------------------------------------------------------


def _convert(raw: dict[str, Any]) -> tuple[Config | None, list[Problem]]:
    """The settings without what is wrong (None when something required is), and what is wrong."""
    problems: list[Problem] = []
    info = inspect.type_info(Config)
    assert isinstance(info, inspect.StructType)
    kept = _keep_struct(info, raw, (), problems)
    for attempt in (kept, {**kept, "strategies": []}):
        try:
            return msgspec.convert(attempt, Config), problems
        except msgspec.ValidationError:
            continue  # a required value is missing or wrong, and already noted
    return None, problems


def _keep_struct(
    info: inspect.StructType, raw: dict[str, Any], path: KeyPath, problems: list[Problem]
) -> dict[str, Any]:
    fields = {field.name: field for field in info.fields}
    kept: dict[str, Any] = {}
    for key, value in raw.items():
        if key not in fields:
            problems.append(_unknown_key(key, fields, path))
        else:
            found = list(_keep(fields[key].type, value, (*path, key), problems))
            if found:
                kept[key] = found[0]
    for name, field in fields.items():
        if field.required and name not in raw:
            example = f"Add {name} = {_example(field.type, name)}."
            problems.append(Problem((*path, name), "is missing", example))
    return kept


def _keep(kind: inspect.Type, value: Any, path: KeyPath, problems: list[Problem]) -> Iterator[Any]:
    """Yields the value when it is right; otherwise notes the problem and yields nothing."""
    kind, wanted = _plain(kind)
    if isinstance(kind, inspect.StructType) and isinstance(value, dict):
        yield _keep_struct(kind, value, path, problems)
    elif isinstance(kind, inspect.VarTupleType) and isinstance(value, list):
        count = len(problems)
        items = [
            kept
            for index, item in enumerate(value)
            for kept in _keep(kind.item_type, item, (*path, index), problems)
        ]
        # A list of sections keeps those that are right; a list of values is right or wrong.
        if count == len(problems) or isinstance(kind.item_type, inspect.StructType):
            yield items
    elif isinstance(kind, inspect.DictType) and isinstance(value, dict):
        kept = {key: one for key in value for one in
                _keep(kind.value_type, value[key], (*path, key), problems)}  # fmt: skip
        if len(kept) == len(value):
            yield kept
    elif _fits(kind, value):
        yield value
    else:
        problems.append(_wrong_value(kind, wanted, value, path))


def _plain(kind: inspect.Type) -> tuple[inspect.Type, str]:
    """A type without None and description, and the description (what is wanted, in words)."""
    wanted = ""
    if isinstance(kind, inspect.UnionType):
        types = [one for one in kind.types if not isinstance(one, inspect.NoneType)]
        if len(types) == 1:
            kind = types[0]
    if isinstance(kind, inspect.Metadata):
        wanted = str((kind.extra_json_schema or {}).get("description", ""))
        kind = kind.type
    return kind, wanted


def _fits(kind: inspect.Type, value: Any) -> bool:
    """Whether one plain value is of the type and in its range."""
    match kind:
        case inspect.StrType(pattern=pattern):
            return isinstance(value, str) and (
                pattern is None or re.search(pattern, value) is not None
            )
        case inspect.LiteralType(values=values):
            return value in values
        case inspect.BoolType():
            return isinstance(value, bool)
        case inspect.IntType():
            return isinstance(value, int) and not isinstance(value, bool) and _in_range(kind, value)
        case inspect.FloatType():
            return (
                isinstance(value, int | float)
                and not isinstance(value, bool)
                and _in_range(kind, value)
            )
        case inspect.UnionType(types=types):
            return any(_fits(one, value) for one in types)
        case _:
            return False


def _in_range(kind: inspect.IntType | inspect.FloatType, value: float) -> bool:
    return (
        (kind.gt is None or value > kind.gt)
        and (kind.ge is None or value >= kind.ge)
        and (kind.lt is None or value < kind.lt)
        and (kind.le is None or value <= kind.le)
    )


def _wrong_value(kind: inspect.Type, wanted: str, value: Any, path: KeyPath) -> Problem:
    name = next(part for part in reversed(path) if isinstance(part, str))
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    example = f", for example {name} = {_example(kind, name, wanted)}"
    fault = ""
    match kind:
        case inspect.StrType() if is_number:
            return Problem(path, f"is {value}, without quotes", f'Write {name} = "{value}".')
        case inspect.StrType():
            wanted = wanted or "text in quotes"
        case inspect.LiteralType(values=values):
            fault, example = "no such choice", ""
            wanted = "one of " + ", ".join(shown(one) for one in values)
        case inspect.BoolType():
            wanted, example = "true or false", ""
        case inspect.IntType() | inspect.FloatType():
            number = "a whole number" if isinstance(kind, inspect.IntType) else "a number"
            is_of_kind = is_number and (number == "a number" or isinstance(value, int))
            fault = "out of range" if is_of_kind else f"not {number}"
            wanted, example = number + _range_text(kind), ""
        case inspect.VarTupleType():
            wanted = "a list"
        case inspect.StructType() | inspect.DictType():
            fault, example = "not a section", ""
            wanted = f"[{_label(path)}] on a line of its own and its settings below it"
        case _:
            wanted, example = "text, a number, or true or false", ""
    return Problem(
        path, f"is {shown(value)}: {fault or f'not {wanted}'}", f"Write {wanted}{example}."
    )


def _range_text(kind: inspect.IntType | inspect.FloatType) -> str:
    low = f" above {kind.gt}" if kind.gt is not None else ""
    low = f" of at least {kind.ge}" if kind.ge is not None else low
    high = f"at most {kind.le}" if kind.le is not None else ""
    return f"{low} and {high}" if low and high else low or (f" of {high}" if high else "")


def _example(kind: inspect.Type, name: str, wanted: str = "") -> str:
    kind, described = _plain(kind)
    wanted = wanted or described
    match kind:
        case inspect.VarTupleType(item_type=item):
            return f"[{_example(item, name)}]"
        case inspect.IntType() | inspect.FloatType():
            return "1"
        case inspect.BoolType():
            return "true"
        case inspect.LiteralType(values=values):
            return shown(values[0])
        case _ if name == "symbols":
            return '"BTCUSDT"'
        case _ if name == "plugin":
            return '"hft.strategy.maker:Maker"'
        case _ if "decimal" in wanted:
            return '"500"'
        case _:
            return '"main"'


def _unknown_key(key: str, fields: Mapping[str, inspect.Field], path: KeyPath) -> Problem:
    if nearest := _nearest(key, list(fields)):
        return Problem((*path, key), "is not a setting", f"Did you mean {nearest}?")
    elsewhere = dict(reversed(list(_settings(inspect.type_info(Config), ()))))  # the first wins
    if nearest := _nearest(key, list(elsewhere)):
        home = f"in [{elsewhere[nearest]}]" if elsewhere[nearest] else "at the top of the file"
        return Problem((*path, key), "is not a setting", f"Did you mean {nearest} {home}?")
    place = f"in [{_label(path)}]" if path else "at the top of the file"
    return Problem((*path, key), "is not a setting", f"Known {place}: {', '.join(fields)}.")


def _settings(kind: inspect.Type, path: KeyPath) -> Iterator[tuple[str, str]]:
    """Name and section of every setting there is."""
    if isinstance(kind, inspect.StructType):
        for field in kind.fields:
            yield field.name, _label(path)
            yield from _settings(_plain(field.type)[0], (*path, field.name))


def _nearest(key: str, names: list[str]) -> str | None:
    """The name most like ``key``; the order of its words does not count."""
    by_words = {"_".join(sorted(name.split("_"))): name for name in names}
    found = get_close_matches("_".join(sorted(key.lower().split("_"))), by_words, n=1, cutoff=0.6)
    direct = get_close_matches(key.lower(), names, n=1, cutoff=0.6)
    return direct[0] if direct else by_words[found[0]] if found else None


# --- the settings as a whole ----------------------------------------------------------------------


def _take_policy_file(config: Config, base: Path) -> tuple[Config, list[Problem]]:
    """The settings with what their policy file says: from here on no role reads it again."""
    if not config.risk.policy.endswith(".toml"):
        return config, []
    path = base / Path(config.risk.policy).expanduser()
    where: KeyPath = ("risk", "policy")
    try:
        policy = parse_policy(path.read_text(encoding="utf-8"), path.name)
    except ConfigError as error:
        found = (text.removesuffix(".").partition(". ") for text in error.problems)
        return config, [
            Problem(
                where,
                f"does not hold: {what}",
                remedy if not remedy or remedy.endswith("?") else f"{remedy}.",
            )
            for what, _, remedy in found
        ]
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "not UTF-8 text"
        return config, [Problem(where, f"cannot be read: {reason}", "Check the path.")]
    risk = msgspec.structs.replace(
        config.risk, policy=policy.base, policy_file=str(path), policy_limits=policy.limits
    )
    return msgspec.structs.replace(config, risk=risk), []


def _resolve_paths(config: Config, base: Path) -> Config:
    """The same settings with paths that do not depend on the working directory."""

    def absolute(text: str) -> str:
        if text.startswith(CREDENTIAL):
            return text
        return str(base / Path(text).expanduser()) if text else ""

    sections: dict[str, dict[str, str]] = {}
    for section, key in _PATH_SETTINGS:
        sections.setdefault(section, {})[key] = absolute(getattr(getattr(config, section), key))
    strategies = []
    for strategy in config.strategies:
        module, separator, attribute = strategy.plugin.rpartition(":")
        if module.endswith(".py"):
            plugin = f"{absolute(module)}{separator}{attribute}"
            strategy = msgspec.structs.replace(strategy, plugin=plugin)
        strategies.append(strategy)
    return msgspec.structs.replace(
        config,
        strategies=tuple(strategies),
        venue=msgspec.structs.replace(config.venue, **sections["venue"]),
        system=msgspec.structs.replace(config.system, **sections["system"]),
    )


def to_toml(config: Config) -> str:
    """The effective settings, defaults included, as a file that ``load`` reads."""
    data = msgspec.to_builtins(config)
    out: list[str] = []
    _emit(data, (), out)
    return "\n".join(out).strip() + "\n"


def _emit(table: dict[str, Any], path: tuple[str, ...], out: list[str]) -> None:
    nested = {k: v for k, v in table.items() if isinstance(v, dict) and v}
    lists = {k: v for k, v in table.items()
             if isinstance(v, list | tuple) and v and isinstance(v[0], dict)}  # fmt: skip
    if path:
        out += ["", f"[{'.'.join(path)}]"] if not out or out[-1] != f"[[{'.'.join(path)}]]" else []
    for key, value in table.items():
        if (key not in nested and key not in lists and value not in (None, {}, [])) or value == []:
            out.append(f"{key} = {json.dumps(value, ensure_ascii=False)}")
    for key, value in nested.items():
        _emit(value, (*path, key), out)
    for key, items in lists.items():
        for item in items:
            out += ["", f"[[{'.'.join((*path, key))}]]"]
            _emit(item, (*path, key), out)
