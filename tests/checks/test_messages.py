"""What people see leads to a check that there is."""

from __future__ import annotations

import dataclasses

import pytest

from pytest_gpuready.checks.catalogue import catalogue
from pytest_gpuready.checks.messages import Message, messages


def test_every_message_names_a_check_of_the_catalogue() -> None:
    assert {message.check for message in messages()} <= set(catalogue())


def test_no_message_of_one_check_is_there_twice() -> None:
    keys = [(message.text, message.check) for message in messages()]
    assert sorted(keys) == sorted(set(keys))


def test_a_message_is_one_line_of_text() -> None:
    for message in messages():
        assert message.text.strip() == message.text
        assert "\n" not in message.text + message.note


def test_a_message_cannot_be_changed() -> None:
    with pytest.raises(dataclasses.FrozenInstanceError):
        Message("a", "b").text = "c"  # type: ignore[misc]
