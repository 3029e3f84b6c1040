"""What editors are given: every key described, right files accepted, the common mistakes marked."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterator
from typing import Any

import pytest

from agex_policies.load import PACKAGED, packaged_names
from agex_policies.narrowing import WITHIN
from agex_policies.schema import Policy, values

SCHEMA: dict[str, Any] = Policy.model_json_schema()

TYPES: dict[str, tuple[type, ...]] = {
    "object": (dict,),
    "array": (list,),
    "string": (str,),
    "integer": (int,),
    "boolean": (bool,),
    "null": (type(None),),
}
# What this file knows to check, and what checks nothing. A keyword beyond these would go unchecked in silence.
CHECKED = {
    *("$ref", "anyOf", "type", "enum", "const", "pattern", "minimum", "maximum", "minItems", "maxItems", "items"),
    *("properties", "required", "additionalProperties"),
}
ANNOTATIONS = {"$schema", "$defs", "title", "description", "default", "examples"}


def wrong(value: Any, schema: dict[str, Any], place: str = "") -> Iterator[str]:
    """The places where a value is not what the schema says."""
    assert set(schema) <= CHECKED | ANNOTATIONS, schema
    if "$ref" in schema:
        yield from wrong(value, SCHEMA["$defs"][schema["$ref"].removeprefix("#/$defs/")], place)
    if "anyOf" in schema and all(list(wrong(value, choice, place)) for choice in schema["anyOf"]):
        yield place
    kind = schema.get("type")
    if kind is not None and not (isinstance(value, TYPES[kind]) and isinstance(value, bool) == (kind == "boolean")):
        yield place
        return
    if value not in schema.get("enum", [value]) or value != schema.get("const", value):
        yield place
    if isinstance(value, str) and "pattern" in schema and not re.search(schema["pattern"], value):
        yield place
    if isinstance(value, int) and not schema.get("minimum", value) <= value <= schema.get("maximum", value):
        yield place
    if isinstance(value, list):
        if not schema.get("minItems", 0) <= len(value) <= schema.get("maxItems", len(value)):
            yield place
        for item in value:
            yield from wrong(item, schema.get("items", {}), place)
    if isinstance(value, dict):
        yield from (f"{place}.{key}" for key in schema.get("required", []) if key not in value)
        for key, inner in value.items():
            known = schema.get("properties", {})
            if key in known:
                yield from wrong(inner, known[key], f"{place}.{key}" if place else key)
            elif schema.get("additionalProperties") is False:
                yield f"{place}.{key}" if place else key


def wrong_in(text: str) -> list[str]:
    return list(wrong(tomllib.loads(text), SCHEMA))


def test_every_key_is_described_and_there_are_no_others() -> None:
    leaves = {key: leaf for key, leaf in SCHEMA["properties"].items() if "$ref" not in leaf}
    for table, section in SCHEMA["properties"].items():
        if "$ref" in section:
            keys = SCHEMA["$defs"][section["$ref"].removeprefix("#/$defs/")]["properties"]
            leaves |= {f"{table}.{key}": leaf for key, leaf in keys.items()}
    assert set(leaves) == {"extends", "widen", "description", *values(Policy())}
    assert [key for key, leaf in leaves.items() if not leaf.get("description")] == []


def test_what_may_be_widened_is_offered_by_name() -> None:
    assert SCHEMA["properties"]["widen"]["items"]["enum"] == list(WITHIN)


@pytest.mark.parametrize("name", packaged_names())
def test_the_packaged_files_are_right_by_the_schema(name: str) -> None:
    assert wrong_in((PACKAGED / f"{name}.toml").read_text()) == []


@pytest.mark.parametrize("name", packaged_names())
def test_a_policy_written_out_is_right_by_the_schema(name: str) -> None:
    assert wrong_in(Policy.load(name).to_toml()) == []


@pytest.mark.parametrize(
    ("text", "place"),
    [
        ("[limits]\nmemroy = '1GiB'", "limits.memroy"),
        ("[limit]", "limit"),
        ("[limits]\nmemory = '512'", "limits.memory"),
        ("[limits]\nmemory = 512", "limits.memory"),
        ("[limits]\nwall_time = '3m'", "limits.wall_time"),
        ("[limits]\nthreads = 0", "limits.threads"),
        ("[limits]\nopen_files = 4", "limits.open_files"),
        ("[python]\nmode = 'ful'", "python.mode"),
        ("[host_calls]\nmax_rate = '100'", "host_calls.max_rate"),
        ("[network]\nallow = ['api.example.com']", "network.allow"),
        ("[network]\nallow = [{ to = 'a.example:1', tls = 'maybe' }]", "network.allow"),
        ("[filesystem]\nread = '/data'", "filesystem.read"),
        ("widen = ['limits.memry']", "widen"),
    ],
)
def test_a_mistake_is_marked_where_it_is(text: str, place: str) -> None:
    assert wrong_in(text) == [place]
