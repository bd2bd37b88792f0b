"""What the environment may change."""

from __future__ import annotations

import os
from pathlib import Path

import attrs

from .rule import Rule


@attrs.frozen
class Settings:
    """Where the data is, where the page is, and what is worth an alert."""

    database: Path
    port: int
    rules: tuple[Rule, ...]

    @classmethod
    def read(cls) -> Settings:
        """Read TELEMETRY_DB, TELEMETRY_PORT and TELEMETRY_RULES."""
        data = Path(os.environ.get("XDG_DATA_HOME") or Path.home() / ".local" / "share")
        rules = os.environ.get("TELEMETRY_RULES", "cpu>85/15 memory>90/15 disk>90/60")
        return cls(
            database=Path(os.environ.get("TELEMETRY_DB") or data / "telemetry" / "telemetry.db"),
            port=int(os.environ.get("TELEMETRY_PORT", "8321")),
            rules=tuple(Rule.parse(rule) for rule in rules.split()),
        )
