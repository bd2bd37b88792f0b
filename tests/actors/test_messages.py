from __future__ import annotations

import collections.abc
import copy
import pickle
import typing
from decimal import Decimal
from typing import (
    Annotated,
    Any,
    Generic,
    Literal,
    Never,
    NewType,
    Optional,
    Protocol,
    TypedDict,
    TypeVar,
    Union,
    runtime_checkable,
)

import msgspec
import pytest
import typing_extensions

from trouper import errors
from trouper.errors import (
    AskError,
    AskTimeout,
    DaemonFailed,
    Declined,
    DefinitionError,
    Failure,
    MailboxFull,
    MessageTypeError,
    ReplyTypeError,
    RestartLimitExceeded,
    Shutdown,
    SpecError,
    Stopping,
    TrouperError,
    UnknownPath,
    Words,
    show,
)
from trouper.messages import Message, Request, reply_types, runtime_types

R = TypeVar("R")
Free = TypeVar("Free")
Bound = TypeVar("Bound", bound="Sample")
Either = TypeVar("Either", int, str)
UserId = NewType("UserId", int)
Alias = typing_extensions.TypeAliasType("Alias", int | str)


class Sample(Message):
    value: float


class Box(Message, Generic[R]):
    content: R


class Row(TypedDict):
    key: str


class Named(Protocol):
    name: str


@runtime_checkable
class Closable(Protocol):
    def close(self) -> None: ...


# -- messages ----------------------------------------------------------------------------------------------------------
def test_a_message_is_frozen_tagged_and_compares_by_value_without_saying_so() -> None:
    sample: Any = Sample(1.5)
    assert sample == Sample(1.5)
    assert hash(sample) == hash(Sample(1.5))
    assert msgspec.to_builtins(sample) == {"type": "Sample", "value": 1.5}
    with pytest.raises(AttributeError, match="immutable"):
        sample.value = 2.0


# -- annotations at run time -------------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("annotation", "types"),
    [
        (Sample, (Sample,)),
        (int, (int,)),
        (None, (type(None),)),
        (Never, ()),
        (typing.NoReturn, ()),
        (Any, None),
        (object, None),
        (float, (float, int)),
        (complex, (complex, float, int)),
        (Sample | int, (Sample, int)),
        (Optional[Sample], (Sample, type(None))),  # noqa: UP045 - the old spelling is what is tested
        (Union[int, float], (int, float)),  # noqa: UP007 - the same
        (Union[int, Any], None),  # noqa: UP007 - the same
        (list[int], (list,)),
        (dict[str, int] | None, (dict, type(None))),
        (typing.List[int], (list,)),  # noqa: UP006 - the same
        (collections.abc.Callable[[int], str], (collections.abc.Callable,)),
        (Box[int], (Box,)),
        (type[int], (type,)),
        (Literal["a", 1, "b"], (str, int)),
        (Annotated[int, "metres"], (int,)),
        (UserId, (int,)),
        (Alias, (int, str)),
        (Free, None),
        (Bound, (Sample,)),
        (Either, (int, str)),
        (Row, (dict,)),
        (Closable, (Closable,)),
        ("Sample | None", (Sample, type(None))),
        (Optional["Sample"], (Sample, type(None))),
    ],
    ids=str,
)
def test_an_annotation_becomes_classes_for_isinstance(annotation: object, types: object) -> None:
    assert runtime_types(annotation, globals()) == types


@pytest.mark.parametrize(
    ("annotation", "told"),
    [
        (3, "3 is not a type that a value can be held against"),
        (typing.ClassVar, "is not a type that a value can be held against"),
        (Named, "Named cannot be checked; make it @runtime_checkable"),
        (int | Named, "Named cannot be checked; make it @runtime_checkable"),
    ],
    ids=str,
)
def test_an_annotation_that_no_value_can_be_held_against_is_refused(annotation: object, told: str) -> None:
    with pytest.raises(TypeError, match=told):
        runtime_types(annotation)


def test_an_unknown_name_in_an_annotation_is_a_name_error() -> None:
    with pytest.raises(NameError, match="Nowhere"):
        runtime_types("int | Nowhere", globals())


# -- replies -----------------------------------------------------------------------------------------------------------
class Mean(Request[float]): ...


class Old(Mean): ...


class Get(Request[R]): ...


class GetText(Get[str]): ...


class Find(Request[R | None], Generic[R]): ...


class FindRow(Find[Decimal]): ...


class FindNothing(Request[None]): ...


class Ahead(Request["Later | None"]): ...


class Later(Message): ...


class Wrong(Request["Nowhere"]):  # type: ignore[name-defined]  # pyright: ignore[reportUndefinedVariable]
    ...


@pytest.mark.parametrize(
    ("request_class", "types"),
    [
        (Mean, (float, int)),
        (Old, (float, int)),
        (Get, None),
        (GetText, (str,)),
        (Find, None),
        (FindRow, (Decimal, type(None))),
        (FindNothing, (type(None),)),
        (Ahead, (Later, type(None))),
    ],
)
def test_the_reply_type_is_the_argument_of_request_however_deep(request_class: type, types: object) -> None:
    assert reply_types(request_class) == types
    assert reply_types(request_class) == types  # kept


def test_a_reply_type_that_does_not_exist_is_told_with_the_request() -> None:
    with pytest.raises(TypeError, match=r"Wrong: found the reply type .*Nowhere.*, allowed: the R of Request"):
        reply_types(Wrong)


@pytest.mark.parametrize("other", [Sample, int, Request])
def test_what_is_no_request_has_no_reply_type(other: type) -> None:
    with pytest.raises(TypeError, match="found no reply type, allowed: a subclass of Request"):
        reply_types(other)


# -- errors ------------------------------------------------------------------------------------------------------------
class Ref:
    def __repr__(self) -> str:
        return "Ref(/averages)"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Ref)

    __hash__ = object.__hash__


EXAMPLES: list[tuple[BaseException, str]] = [
    (DefinitionError("app.Web.run", "3", "a method"), "app.Web.run: found 3, allowed: a method"),
    (SpecError("/web", "shutdown", -1, "seconds"), "/web: shutdown: given -1, allowed: seconds"),
    (SpecError("/web", "name", Words("x y"), "words"), "/web: name: given x y, allowed: words"),
    (MessageTypeError(3, Ref(), (str, Sample)), f"Ref(/averages): given 3 (a int), allowed: str | {__name__}.Sample"),
    (MessageTypeError(3, Ref(), ()), "Ref(/averages): given 3 (a int), allowed: no message at all"),
    (MailboxFull(3, Ref(), 5), "Ref(/averages): given 3, but 5 messages wait already and its mailbox rejects more"),
    (AskTimeout(Mean()), "Mean(): no answer in time"),
    (AskTimeout(Mean(), "no answer in 5 s"), "Mean(): no answer in 5 s"),
    (ReplyTypeError(Mean()), "Mean(): the reply has the wrong type"),
    (errors.StartFailed("/web"), "/web: the start failed"),
    (errors.Unkillable("/web", "it sleeps"), "/web: it sleeps"),
    (RestartLimitExceeded("/web", ["a", "b"], 1, 30.0), "/web: more than 1 restarts in 30 s: a, b"),
    (RestartLimitExceeded("/web", [], 1, 0.5), "/web: more than 1 restarts in 0.5 s"),
    (DaemonFailed(), "the daemon failed (exit code 70): a failure reached the root"),
    (Shutdown(), "shutdown"),
    (Shutdown("done"), "shutdown: done"),
    (Declined(), "declined"),
    (Declined("no disk"), "declined: no disk"),
]


ERRORS = [thing for thing in vars(errors).values() if isinstance(thing, type) and issubclass(thing, BaseException)]


@pytest.mark.parametrize(("error", "told"), EXAMPLES, ids=lambda value: type(value).__name__)
def test_an_error_tells_its_story_and_survives_copy_and_pickle(error: BaseException, told: str) -> None:
    assert str(error).startswith(told)
    for twin in (copy.copy(error), pickle.loads(pickle.dumps(error))):  # noqa: S301 - our own
        assert type(twin) is type(error)
        assert str(twin) == str(error)


def test_errors_carry_what_they_are_about() -> None:
    timeout = AskTimeout(Mean())
    assert timeout.message == Mean()
    assert isinstance(timeout, AskError | TimeoutError)
    full = MailboxFull("m", "ref", 5)
    assert (full.message, full.ref, full.capacity) == ("m", "ref", 5)
    limit = RestartLimitExceeded("/web", ["a"], 1, 30.0)
    assert (limit.path, limit.history, limit.n, limit.within) == ("/web", ["a"], 1, 30.0)
    assert isinstance(limit, Failure)
    assert isinstance(UnknownPath("/x"), LookupError)
    assert DaemonFailed(78).exit_code == 78


def test_all_errors_but_stopping_have_one_root() -> None:
    assert [cls for cls in ERRORS if not issubclass(cls, TrouperError)] == [Stopping]
    assert not issubclass(Stopping, Exception)


def test_the_tree_in_the_docstring_names_every_error() -> None:
    told = errors.__doc__ or ""
    assert [cls.__name__ for cls in ERRORS if cls.__name__ not in told] == []


def test_a_long_or_broken_repr_cannot_harm_an_error() -> None:
    class Broken:
        def __repr__(self) -> str:
            raise RuntimeError

    assert show("x" * 1000) == f"'{'x' * 196}..."
    assert show(Broken()).endswith("Broken>")
    assert show("two\nlines") == r"'two\nlines'"
