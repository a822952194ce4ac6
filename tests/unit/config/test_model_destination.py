"""Short forms of `destination`."""

from __future__ import annotations

import pytest
from pydantic import ValidationError

from ferryman.config.model import BackendSettings


def test_plain_text() -> None:
    short = BackendSettings.model_validate({"destination": "{sni}:443"}).destination
    long = BackendSettings.model_validate({"destination": {"to": "{sni}:443"}}).destination
    assert short == long


def test_one_name_for_a_list() -> None:
    made = BackendSettings.model_validate({"destination": {"to": "{sni}:443", "names": "a.example"}}).destination
    assert made is not None
    assert made.names == ["a.example"]


def test_a_text_that_is_no_template() -> None:
    with pytest.raises(ValidationError, match="has no host and port"):
        BackendSettings.model_validate({"destination": "somewhere"})
