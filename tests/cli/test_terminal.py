"""What commands share: what ends in a sentence."""

import pytest
from pydantic import BaseModel, Field, TypeAdapter
from typer import Exit

from app.cli.terminal import errors_as_sentences


class Set(BaseModel):
    port: int = Field(gt=0)
    rate: int


def said(capsys: pytest.CaptureFixture[str]) -> str:
    return " ".join(capsys.readouterr().err.split())


def test_a_setting_is_named_by_its_variable(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(Exit), errors_as_sentences():
        Set.model_validate({"port": 0, "rate": "fast"})
    sentence = said(capsys)
    assert "LOOKALIKE_PORT: Input should be greater than 0; LOOKALIKE_RATE: Input should be" in sentence


def test_what_is_wrong_with_no_setting_in_particular_is_said_too(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(Exit), errors_as_sentences():
        TypeAdapter(int).validate_json("<html>")
    assert said(capsys).startswith("Invalid JSON")
