"""ferryman schema: what editors read."""

from __future__ import annotations

import json

import jsonschema

from .conftest import Ferryman


def test_it_is_a_schema_that_takes_a_configuration(ferryman: Ferryman) -> None:
    schema = json.loads(ferryman("schema").stdout)
    jsonschema.Draft202012Validator.check_schema(schema)
    jsonschema.validate({"listeners": {"web": {"bind": "*:80", "servers": "192.0.2.7:80"}}}, schema)
