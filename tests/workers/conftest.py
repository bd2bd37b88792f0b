"""Fixtures of the tests of what is between processes."""

from __future__ import annotations

import logging

import pytest


@pytest.fixture
def no_log(monkeypatch: pytest.MonkeyPatch) -> None:
    """For a test of thousands of refusals, each of which is logged."""
    monkeypatch.setattr(logging.getLogger("trouper"), "disabled", True)
