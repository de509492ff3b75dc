"""Tables of what `--json` prints, from the schemas in the package."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from importlib import resources
from typing import Any

FILES = {
    file.name: json.loads(file.read_text("utf-8"))
    for file in (resources.files("cfamc_zoo.cli") / "schemas").iterdir()
}
WORDS = {
    "string": "text",
    "integer": "whole number",
    "number": "number",
    "boolean": "true or false",
    "null": "null",
    "object": "object",
}
BRANCHES = ("else", "then")  # the usual shape of an object, and one with a field of its own


def json_fields(commands: Mapping[str, object]) -> str:
    """A section for each of these commands that has `--json`."""
    named = [(name, f"{name}.json") for name in commands if f"{name}.json" in FILES]
    return "\n".join(line for name, file in named for line in _section(name, file))


def _section(name: str, file: str) -> Iterator[str]:
    schema = _inlined(FILES[file], file)
    yield f"## {name}\n\n{schema['description']}\n"
    shapes = [schema[branch] for branch in BRANCHES if "title" in schema.get(branch, {})]
    for shape in shapes or schema.get("oneOf") or [schema]:
        if shape is not schema:
            yield f"{shape['title'][0].upper()}{shape['title'][1:]}:\n"
        yield "| field | is | meaning |\n|---|---|---|"
        yield from (f"| `{path}` | {kind} | {text} |" for path, kind, text in _rows(shape, ""))
        yield ""


def _inlined(value: Any, file: str) -> Any:
    """A part of a file in which what references name stands in their place."""
    if isinstance(value, list):
        return [_inlined(one, file) for one in value]
    if not isinstance(value, dict):
        return value
    here = {k: _inlined(v, file) for k, v in value.items() if k not in ("$ref", "$defs")}
    if "$ref" not in value:
        return here
    other, _, name = value["$ref"].partition("#/$defs/")
    there = _inlined(FILES[other or file]["$defs"][name], other or file)
    both: dict[str, Any] = {**there, **here}
    if "properties" in there:
        both["properties"] = {**there["properties"], **here.get("properties", {})}
        both["required"] = [*there.get("required", []), *here.get("required", [])]
    return both


def _fields(schema: Mapping[str, Any]) -> Iterator[tuple[str, Any, bool]]:
    """Of an object: each field's name and schema, and whether it is always there."""
    for name, field in schema.get("properties", {}).items():
        yield name, field, name in schema.get("required", [])
    branches = [list(_fields(schema[b])) for b in BRANCHES if b in schema]
    here = [{name for name, _, always in branch if always} for branch in branches]
    always_there = set.intersection(*here) if len(here) == 2 else set()
    for part in (*map(_fields, schema.get("allOf", [])), *branches):
        yield from ((name, field, name in always_there) for name, field, _ in part if field)


def _rows(schema: Mapping[str, Any], prefix: str) -> Iterator[tuple[str, str, str]]:
    found: dict[str, tuple[Any, bool, dict[str, None]]] = {}
    for name, field, always in _fields(schema):
        _, _, texts = found.setdefault(name, (field, always, {}))
        if "description" in field:
            texts[field["description"]] = None
    for name, (field, always, texts) in found.items():
        path = f"{prefix}{name}"
        kind = _kind(field) if always else f"{_kind(field)}; may be absent"
        yield path, kind, " ".join(texts)
        inner = field
        while "items" in inner:
            inner, path = inner["items"], f"{path}[]"
        if isinstance(inner.get("additionalProperties"), dict):
            inner, path = inner["additionalProperties"], f"{path}.NAME"
        yield from _rows(inner, f"{path}.")


def _kind(field: Mapping[str, Any]) -> str:
    """In words, what a value may be."""
    if "enum" in field or "const" in field:
        return ", ".join(f"`{value}`" for value in field.get("enum", [field.get("const")]))
    if "anyOf" in field:
        return " or ".join(map(_kind, field["anyOf"]))
    kinds = field["type"] if isinstance(field["type"], list) else [field["type"]]
    if kinds == ["array"]:
        return f"list of {_kind(field['items'])}" if "type" in field["items"] else "list"
    return " or ".join(WORDS[kind] for kind in kinds)
