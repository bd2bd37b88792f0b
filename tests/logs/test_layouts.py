"""What a record looks like: as text, as JSON and as an entry of the journal."""

from __future__ import annotations

import json
import logging
import re
from typing import Any

import pytest

from trouper import ActorFilter
from trouper.logs.json_layout import as_json
from trouper.logs.layouts import journal, text


def record(message: str = "hello %s", *args: object, level: int = logging.INFO, **more: Any) -> logging.LogRecord:
    made = logging.getLogger("app").makeRecord("app", level, "/app/web.py", 7, message, args, more.pop("exc", None))
    made.__dict__.update(more)
    ActorFilter().filter(made)
    return made


def failed() -> Any:
    with pytest.raises(ValueError, match="way") as caught:
        raise ValueError("no\nway")
    return caught._excinfo


def fields_of(entry: bytes) -> dict[str, str]:
    """An entry in the journal's protocol, read as journald reads it."""
    fields: dict[str, str] = {}
    while entry:
        line, entry = entry.split(b"\n", 1)
        name, equals, value = line.partition(b"=")
        if not equals:
            size = int.from_bytes(entry[:8], "little")
            value, entry = entry[8 : 8 + size], entry[8 + size + 1 :]
        fields[name.decode()] = value.decode()
    return fields


def test_text_is_one_line_that_names_the_actor() -> None:
    line = text(record("hello %s", "you", path="/web", generation=2, lane="trio")).decode()
    assert re.fullmatch(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d,\d{3} INFO     app \[/web 2 trio\]: hello you\n", line)


def test_text_of_nobody_names_nobody_and_the_runtime_names_its_actors_itself() -> None:
    assert text(record("hello")).endswith(b" app: hello\n")
    ours = record("/web: dead letter", path="/web", generation=1, lane="trio")
    ours.name = "trouper"
    assert text(ours).endswith(b" trouper: /web: dead letter\n")


def test_text_has_the_traceback_below() -> None:
    shown = text(record("failed", level=logging.ERROR, exc=failed())).decode()
    assert "app: failed\nTraceback (most recent call last):\n" in shown
    assert shown.endswith("ValueError: no\nway\n")


def test_what_cannot_be_encoded_is_escaped() -> None:
    assert text(record("\udcff")).endswith(rb"\udcff" + b"\n")
    assert json.loads(as_json(record("\udcff")))["message"] == "\udcff"
    assert fields_of(journal(record("\udcff")))["MESSAGE"] == r"\udcff"


def test_json_is_one_object_in_a_line() -> None:
    line = as_json(record("hello %s", "you", path="/web", generation=2, lane="trio", level=logging.WARNING))
    assert line.count(b"\n") == 1
    fields = json.loads(line)
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}\+00:00", fields.pop("time"))
    assert fields == {
        "level": "warning",
        "logger": "app",
        "message": "hello you",
        "path": "/web",
        "generation": 2,
        "lane": "trio",
    }


def test_json_has_the_traceback_and_what_was_given_with_the_record() -> None:
    fields = json.loads(as_json(record("failed", exc=failed(), user=42, level_="x", where=object)))
    assert fields["exception"].endswith("ValueError: no\nway")
    assert fields["extra"] == {"user": 42, "level_": "x", "where": "<class 'object'>"}
    assert "path" not in fields


@pytest.mark.parametrize("odd", [float("nan"), {(1, 2): 3}, b"\xff"])
def test_json_shows_what_it_does_not_have_as_python_does(odd: object) -> None:
    assert json.loads(as_json(record("odd", given=odd)))["extra"] == {"given": repr(odd)}


def test_json_survives_a_cycle() -> None:
    cycle: list[Any] = []
    cycle.append(cycle)
    assert json.loads(as_json(record("odd", given=cycle)))["extra"] == {"given": "[[...]]"}


def test_an_entry_of_the_journal_has_fields() -> None:
    fields = fields_of(journal(record("hello", path="/web", generation=2, lane="trio", request_id="a\nb")))
    assert fields["MESSAGE"] == "hello"
    assert fields["PRIORITY"] == "6"
    assert fields["LOGGER"] == "app"
    assert (fields["CODE_FILE"], fields["CODE_LINE"]) == ("/app/web.py", "7")
    assert (fields["TROUPER_PATH"], fields["TROUPER_GENERATION"], fields["TROUPER_LANE"]) == ("/web", "2", "trio")
    assert fields["EXTRA_REQUEST_ID"] == "a\nb"


def test_an_entry_of_the_journal_has_the_traceback_in_its_message() -> None:
    message = fields_of(journal(record("failed", exc=failed())))["MESSAGE"]
    assert message.startswith("failed\nTraceback (most recent call last):\n")
    assert message.endswith("ValueError: no\nway")


@pytest.mark.parametrize(
    ("level", "priority"), [(10, "7"), (15, "7"), (20, "6"), (30, "4"), (35, "4"), (40, "3"), (50, "2"), (60, "2")]
)
def test_levels_are_priorities_of_syslog(level: int, priority: str) -> None:
    assert fields_of(journal(record("hello", level=level)))["PRIORITY"] == priority


def test_a_name_that_the_journal_does_not_have_is_made_one() -> None:
    fields = fields_of(journal(record("hello", **{"_ünder score": 1, "9": 2, "***": 3})))
    extras = {name: value for name, value in fields.items() if name.startswith("EXTRA")}
    assert extras == {"EXTRA_NDER_SCORE": "1"}
