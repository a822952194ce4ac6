"""The JSON Schema says yes and no where the loader does, as far as a schema can."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml

from ferryman.config.schema import schema

GOLDEN = Path(__file__).parents[2] / "golden" / "native"
EXAMPLES = Path(__file__).parents[3] / "examples"


@pytest.fixture(scope="module")
def validator() -> jsonschema.Draft202012Validator:
    made = schema()
    jsonschema.Draft202012Validator.check_schema(made)
    return jsonschema.Draft202012Validator(made)


def fits(validator: jsonschema.Draft202012Validator, text: str) -> bool:
    return bool(validator.is_valid(yaml.safe_load(text)))


@pytest.mark.parametrize(
    "name", ["shortest", "routes_by_name", "computed_backend", "warnings", "references_and_conflicts", "explicit_proxy"]
)
def test_golden_configurations_fit(validator: jsonschema.Draft202012Validator, name: str) -> None:
    text = (GOLDEN / f"{name}.yaml").read_text().partition("-" * 40)[0]
    validator.validate(yaml.safe_load(text))


def test_native_examples_fit(validator: jsonschema.Draft202012Validator) -> None:
    data = [yaml.safe_load(file.read_text()) for file in sorted(EXAMPLES.rglob("*.yaml"))]
    assert all(validator.is_valid(each) for each in data if isinstance(each, dict) and "listeners" in each)


@pytest.mark.parametrize(
    "body",
    [
        "{bind: '*:1'}",
        "{bind: ['*:1', {address: '[::]:1', v6only: true}]}",
        "{bind: '*:1', servers: 'a:1'}",
        "{bind: '*:1', servers: ['a:1', {address: 'a:1', check: true}, {address: 'a:1', check: {rise: 2}}]}",
        "{bind: '*:1', log: stdout}",
        "{bind: '*:1', log: [stdout, {target: stderr}]}",
        "{bind: '*:1', client_timeout: 5, inspect_timeout: 1m30s}",
        "{bind: '*:1', backend: {redispatch: 3}}",
        "{bind: '*:1', connect: {users: /x, max_head: 8KiB, egress_allow: '::1', protocols: [http]}}",
        "{bind: '*:1', connect: {via: [{through: direct}, {through: ['http://a:1', ['http://b:1', {url: 'http://c:1'}]]}]}}",
        "{bind: '*:1', tls: {certificates: /a, alpn: h2, min_version: 1.2, clients: {ca: /b}}}",
        "{bind: '*:1', tls: [{when: {sni: a}, terminate: false}, {certificates: [/a, {file: /b, names: c}]}]}",
        "{bind: '*:1', backend: {tls: true, servers: {address: 'a:1', tls: {alpn: received, certificate: /a}}}}",
        "{bind: '*:1', backend: {via: [direct, {url: 'http://a:1', except: x}]}}",
    ],
)
def test_short_forms_fit(validator: jsonschema.Draft202012Validator, body: str) -> None:
    validator.validate(yaml.safe_load(f"x-room: 5\nlisteners: {{web: {body}}}"))


@pytest.mark.parametrize(
    "text",
    [
        "{}",
        "{listeners: {web: {}}}",
        "{listeners: {web: {bind: 5}}}",
        "{listeners: {web: {bind: '*:1', srevers: []}}}",
        "{listeners: {web: {bind: '*:1', client_timeout: soon}}}",
        "{listeners: {web: {bind: '*:1', mode: udp}}}",
        "{listeners: {'a b': {bind: '*:1'}}}",
        "{listeners: {}, global: {workers: 0}}",
        "{listeners: {}, settings: {}}",
    ],
)
def test_what_is_wrong_does_not_fit(validator: jsonschema.Draft202012Validator, text: str) -> None:
    assert not fits(validator, text)


def test_every_key_is_described() -> None:
    made: dict[str, Any] = schema()
    for name, section in {"": made, **made["$defs"]}.items():
        for key, value in section["properties"].items():
            assert value.get("description"), f"{name}.{key}"
