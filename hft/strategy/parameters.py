"""Documentation of a plug-in's parameters, drawn from their declaration.

Type, default and range come from the annotation, the meaning from ``Meta(description=…)`` or from
the text that stands below the field.
"""

from __future__ import annotations

import ast
import inspect
import textwrap
from typing import Any, Final

import msgspec

from hft.strategy.base import DecimalText, StrategyParameters
from hft.strategy.sizing import SignedDecimalText

_BOUNDS: Final = {
    "minimum": "≥ {}",
    "exclusiveMinimum": "> {}",
    "maximum": "≤ {}",
    "exclusiveMaximum": "< {}",
    "minLength": "at least {} characters",
    "maxLength": "at most {} characters",
}
_DECIMALS: Final = {
    msgspec.json.schema(DecimalText)["pattern"]: "decimal",
    msgspec.json.schema(SignedDecimalText)["pattern"]: "decimal, with sign",
}


class ParameterDoc(msgspec.Struct, frozen=True):
    """One parameter, for a person to read."""

    name: str
    type: str
    default: str
    """Empty: it is required."""
    range: str
    meaning: str


def describe_parameters(plugin_class: type[Any]) -> list[ParameterDoc]:
    """Every parameter of a plug-in, in the order of declaration."""
    parameters: type[StrategyParameters] = plugin_class.Parameters
    schema = msgspec.json.schema(parameters, ref_template="{name}")
    fields = schema["$defs"][parameters.__name__]["properties"]
    texts = _texts_below_fields(parameters)
    found = []
    for field in msgspec.structs.fields(parameters):
        facts = fields[field.encode_name]
        found.append(
            ParameterDoc(
                field.name,
                _type_text(facts),
                "" if field.required else _value_text(facts.get("default", field.default)),
                _range_text(facts),
                facts.get("description") or texts.get(field.name, ""),
            )
        )
    return found


def _type_text(facts: dict[str, Any]) -> str:
    if "enum" in facts:
        return "one of " + ", ".join(map(_value_text, facts["enum"]))
    if facts.get("pattern") in _DECIMALS:
        return _DECIMALS[facts["pattern"]]
    names = {"string": "text", "number": "number", "integer": "integer", "boolean": "true or false"}
    return names.get(str(facts.get("type")), str(facts.get("type", "any")))


def _range_text(facts: dict[str, Any]) -> str:
    bounds = [text.format(facts[key]) for key, text in _BOUNDS.items() if key in facts]
    if "pattern" in facts and facts["pattern"] not in _DECIMALS:
        bounds.append(f"like {facts['pattern']}")
    return ", ".join(bounds)


def _value_text(value: object) -> str:
    return msgspec.json.encode(value).decode()


def _texts_below_fields(parameters: type[Any]) -> dict[str, str]:
    """The strings that follow a field's declaration, by field; none where there is no source."""
    found: dict[str, str] = {}
    for one in reversed(parameters.__mro__):
        try:
            body = ast.parse(textwrap.dedent(inspect.getsource(one))).body[0]
        except (OSError, TypeError, SyntaxError, IndexError):
            continue
        if not isinstance(body, ast.ClassDef):
            continue
        name = ""
        for node in body.body:
            if isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name):
                name = node.target.id
            elif (
                name
                and isinstance(node, ast.Expr)
                and isinstance(node.value, ast.Constant)
                and isinstance(node.value.value, str)
            ):
                found[name] = " ".join(node.value.value.split())
                name = ""
            else:
                name = ""
    return found
