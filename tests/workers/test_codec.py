"""What can travel and what is refused, with the place named; and that two processes see alike what they mean."""

from __future__ import annotations

import datetime as dt
import decimal
import subprocess
import sys
import uuid
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Generic, Literal, Never, TypeVar

import attrs
import msgspec
import pytest
import trio

from tests.workers.mail import Batch, Colour, Mean, Place, Pointer, Pointing, Sample, Taker
from trouper import (
    Inbox,
    Message,
    ReceiveTimeout,
    Ref,
    RemoteError,
    ReplyTo,
    Request,
    SpecError,
    StartFailed,
    Terminated,
    actor,
    child,
)
from trouper.actors.definition import definition_of
from trouper.reasons import Reason, crashed
from trouper.workers.codec import ENCODER, MailboxTypes, Reader
from trouper.workers.peer import class_named
from trouper.workers.schema import schema_of
from trouper.workers.told import Told, ToldReason, rebuild, rebuild_reason, tell, tell_reason

T = TypeVar("T")


class Odd:
    """A class of nobody."""


@attrs.define
class Attrs:
    number: int


@dataclass
class Line:
    left: Place
    right: Place


class Everything(Message):
    nothing: None = None
    yes: bool = True
    number: int = -(2**63)
    large: int = 2**64 - 1
    real: float = 0.1
    text: str = "ü"
    data: bytes = b"\x00"
    when: dt.datetime = dt.datetime(2026, 1, 1, tzinfo=dt.UTC)
    price: decimal.Decimal = decimal.Decimal("1.10")
    name: uuid.UUID = uuid.UUID(int=5)
    colour: Colour = Colour.RED
    letter: Literal["a", 1] = 1
    pairs: dict[str, tuple[int, ...]] = msgspec.field(default_factory=lambda: {"a": (1, 2)})
    names: frozenset[str] = frozenset({"a"})
    attrs: Attrs = msgspec.field(default_factory=lambda: Attrs(3))
    line: Line = msgspec.field(default_factory=lambda: Line(Place(1), Place(2, Place(3))))
    either: int | str | None = "x"


class Box(Message, Generic[T]):
    value: T


class WithFunction(Message):
    name: str
    call: Callable[[], int]


class WithClass(Message):
    items: list[dict[str, Odd]]


class WithReply(Message):
    to: ReplyTo[int]


class WithRaw(Message):
    raw: msgspec.Raw


class Nested(Message):
    inner: WithClass


class AskFor(Request[Odd]):
    """Its reply cannot travel."""


class AskForMany(Request["list[Place] | None"]):
    """Its reply can."""


def taking(annotation: Any) -> Any:
    """An actor class that takes this."""

    @actor(flavour=trio, accepts=annotation)
    class Takes:
        async def receive(self, message: Any) -> Any: ...

    return definition_of(Takes)


def nobody(path: str, cls: str) -> Ref[Any]:
    raise ValueError(f"nobody is at {path}")


@pytest.mark.parametrize(
    "message",
    [Everything(), Sample("a", 1.0), Batch([1], {"a": [None]}, place=Place(1)), Mean("x")],
)
def test_what_can_travel_arrives_equal_and_of_the_same_type(message: Any) -> None:
    types = MailboxTypes(taking((Everything, Sample, Batch, Mean)), "/x")
    one, many = types.readers(nobody, "/there")
    body = ENCODER.encode(message)
    assert one.decode(body) == message
    assert many.decode(ENCODER.encode([message, message])) == [message, message]
    assert type(one.decode(body)) is type(message)


@pytest.mark.parametrize(
    ("annotation", "value"),
    [(int, 5), (list[int], [1, 2]), (dict[str, float], {"a": 1.5}), (Place, Place(1)), (Box[int], Box(3))],
)
def test_mailboxes_of_plain_types_travel_and_are_read_to_their_last_element(annotation: Any, value: Any) -> None:
    one, _ = MailboxTypes(taking(annotation), "/x").readers(nobody, "/there")
    assert one.decode(ENCODER.encode(value)) == value
    with pytest.raises(msgspec.ValidationError):
        one.decode(ENCODER.encode([["wrong"], {"a": ["wrong"]}, {"x": "wrong"}]))


@pytest.mark.parametrize(
    ("annotation", "says"),
    [
        (WithFunction, "/x: WithFunction.call: given collections.abc.Callable, allowed: what msgspec can decode"),
        (WithClass, "/x: WithClass.items: given tests.workers.test_codec.Odd, allowed"),
        (Nested, "/x: Nested.inner -> WithClass.items: given tests.workers.test_codec.Odd, allowed"),
        (WithReply, "/x: WithReply.to: given trouper.actors.ask.ReplyTo, allowed"),
        (WithRaw, "/x: WithRaw.raw: given raw, allowed"),
        (Sample | Odd, "/x: message: given"),
        (AskFor, "/x: the reply to AskFor: given tests.workers.test_codec.Odd, allowed"),
        (Any, "/x: mailbox: given any message, allowed: types that are known"),
        (Line | Attrs, "/x: message: given"),
    ],
)
def test_what_cannot_travel_is_refused_with_the_actor_the_message_and_the_field(annotation: Any, says: str) -> None:
    with pytest.raises(SpecError) as caught:
        MailboxTypes(taking(annotation), "/x")
    assert says in str(caught.value)


def test_what_the_runtime_puts_into_a_mailbox_is_no_hindrance_and_takes_no_part() -> None:
    types = MailboxTypes(taking((Sample, Terminated, ReceiveTimeout)), "/x")
    assert types.exact == {Sample}
    assert types.schema == MailboxTypes(taking(Sample), "/y").schema


def test_an_actor_without_messages_takes_none_from_elsewhere() -> None:
    @actor(flavour=trio)
    class Alone:
        async def run(self) -> None: ...

    for definition in (definition_of(Alone), taking(Never)):
        types = MailboxTypes(definition, "/x")
        assert types.exact == frozenset()
        one, _ = types.readers(nobody, "/there")
        values: list[Any] = [None, {}, [], 5, {"type": "Sample", "name": "a", "value": 1.0}]
        for value in values:
            with pytest.raises(msgspec.ValidationError):
                one.decode(ENCODER.encode(value))


def test_the_annotation_of_an_inbox_and_names_of_a_function_are_read_too() -> None:
    class Local(Message):
        size: int

    @actor(flavour=trio)
    class Loops:
        async def run(self, inbox: Inbox[list[int] | None]) -> None: ...

    @actor(flavour=trio)
    class Inside:
        async def receive(self, message: Local) -> None: ...

    assert MailboxTypes(definition_of(Loops), "/x").schema.text == "list[int]|none"
    assert MailboxTypes(definition_of(Inside), "/x").schema.text == "Local(size: int)"


# -- schemas -----------------------------------------------------------------------------------------------------------
PRINT = """
from tests.workers.test_codec import taking, Everything, Box, AskForMany, Batch, Mean, Pointing
from trouper.workers.codec import MailboxTypes
print(MailboxTypes(taking((Everything, Box[int], AskForMany, Batch, Mean, Pointing)), "/x").schema)
"""


@pytest.mark.once
def test_the_fingerprint_is_the_same_in_every_process() -> None:
    here = MailboxTypes(taking((Everything, Box[int], AskForMany, Batch, Mean, Pointing)), "/elsewhere").schema
    for seed in ("1", "2"):
        root = Path(__file__).parents[2]
        ran = subprocess.run(
            [sys.executable, "-c", PRINT],
            cwd=root,
            env={"PYTHONHASHSEED": seed, "PYTHONPATH": f"{root / 'src'}:{root}"},
            capture_output=True,
            text=True,
            check=False,
        )
        assert ran.stdout.strip() == str(here), ran.stderr
    assert here.fingerprint == "af5c992588d3642e"  # of every version of Python


def other(**fields: Any) -> Any:
    return msgspec.defstruct("Thing", [*fields.items()], bases=(Message,), tag=True, frozen=True)


@pytest.mark.parametrize(
    ("one", "two"),
    [
        (other(size=int), other(size=float)),
        (other(size=int), other(length=int)),
        (other(size=int), other(size=int | None)),
        (other(size=int), other(size=int, colour=str)),
        (other(inner=Place), other(inner=Attrs)),
        (other(items=list[int]), other(items=set[int])),
        (int, str),
        (Sample, Mean),
        (Box[int], Box[str]),
    ],
)
def test_another_type_has_another_fingerprint(one: Any, two: Any) -> None:
    assert schema_of(one).fingerprint != schema_of(two).fingerprint


def test_a_docstring_or_the_order_of_a_union_is_no_other_schema() -> None:
    class Thing(Message):
        """Told at length."""

        size: int

    assert schema_of(Thing) == schema_of(other(size=int))
    assert schema_of(Sample | Mean) == schema_of(Mean | Sample)


@pytest.mark.parametrize(("annotation", "deep"), [(Sample, False), (Batch, True), (Place, True), (list[Any], True)])
def test_it_is_known_whether_a_type_bounds_how_deep_its_values_are(annotation: Any, deep: bool) -> None:
    assert schema_of(annotation).deep is deep


# -- refs and errors ---------------------------------------------------------------------------------------------------
def test_a_ref_without_a_place_cannot_travel() -> None:
    with pytest.raises(ValueError, match="no place in a running tree"):
        ENCODER.encode(Pointing(child(Taker).ref))


def test_an_address_that_nobody_has_is_refused_where_it_arrives() -> None:
    reader = Reader(Pointing, nobody, "/there", deep=False)
    for to in (["/a", "x.Y"], ["/a"], "/a", 5, None, ["/a", 5]):
        with pytest.raises(msgspec.ValidationError):
            reader.decode(msgspec.msgpack.encode({"type": "Pointing", "to": to}))


def test_a_class_is_found_by_its_name_wherever_it_stands() -> None:
    assert class_named("tests.workers.mail.Pointer") is Pointer
    assert class_named("trouper.actors.ref.Ref") is Ref
    for name in ("tests.workers.mail.Nobody", "nowhere.at.All", "", "test.<locals>.Cls", "x"):
        with pytest.raises(ValueError, match="there is no class"):
            class_named(name)


def over(error: BaseException) -> BaseException:
    """An error, sent and received."""
    return rebuild(msgspec.msgpack.decode(msgspec.msgpack.encode(tell(error)), type=Told), "/there")


def test_an_error_is_told_with_what_caused_it_and_where() -> None:
    def fail() -> None:
        try:
            raise KeyError("inner")  # noqa: TRY301 - it is what is raised from
        except KeyError as inner:
            raise ValueError("outer", 3, b"x", [1, (2.5, None)], Odd) from inner

    with pytest.raises(ValueError, match="outer") as caught:
        fail()
    error = over(caught.value)
    assert isinstance(error, RemoteError)
    assert error.kind == "ValueError"
    assert error.arguments[:4] == ("outer", 3, b"x", (1, (2.5, None)))
    assert "Odd" in str(error.arguments[4])
    assert isinstance(error.__cause__, RemoteError)
    assert error.__cause__.arguments == ("inner",)
    assert "in fail" in error.__notes__[0]


def test_errors_of_trouper_arrive_as_themselves() -> None:
    error = over(StartFailed("/a", "too late"))
    assert type(error) is StartFailed
    assert (error.path, error.detail) == ("/a", "too late")


class Impolite(Exception):
    def __str__(self) -> str:
        raise RuntimeError("no text")

    __repr__ = __str__


def test_an_error_that_cannot_even_be_shown_arrives() -> None:
    error = over(Impolite(Impolite(), 10**30, "x" * 10))
    assert isinstance(error, RemoteError)
    assert error.kind.endswith("Impolite")
    assert error.arguments[1:] == (str(10**30), "x" * 10)


def test_a_chain_of_causes_is_told_up_to_an_end() -> None:
    error: BaseException = ValueError(0)
    for number in range(1, 30):
        following = ValueError(number)
        following.__cause__ = error
        error = following
    found: BaseException | None = over(error)
    length = 0
    while found is not None:
        found, length = found.__cause__, length + 1
    assert length == 9


@pytest.mark.parametrize("reason", [Reason("normal", None, "done"), Reason("shutdown"), crashed(ValueError("x"))])
def test_a_reason_arrives_with_its_kind_its_cause_and_what_was_said(reason: Reason) -> None:
    told = msgspec.msgpack.decode(msgspec.msgpack.encode(tell_reason(reason)), type=ToldReason)
    found = rebuild_reason(told, "/there")
    assert (found.kind, found.why) == (reason.kind, reason.why)
    assert (found.cause is None) is (reason.cause is None)
