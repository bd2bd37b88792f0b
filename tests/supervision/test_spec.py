from __future__ import annotations

import math
from typing import Any, Generic, TypeVar

import attrs
import pytest
import trio

from trouper.actors.definition import actor
from trouper.actors.options import Options
from trouper.errors import DefinitionError, DuplicateChild, SpecError
from trouper.mailbox.mailbox import Mailbox
from trouper.supervision.place import place
from trouper.supervision.spec import Limit, Supervisor, child, one_for_all, one_for_one, rest_for_one

T = TypeVar("T")
HERE = __name__


@actor(flavour=trio)
class Web:
    port: int = 80

    def receive(self, message: int) -> None: ...


@actor(flavour=trio, restart="transient", shutdown=1.0)
class HTTPServer2Go(Generic[T]):
    value: T

    def receive(self, message: T) -> None: ...


@actor(flavour=trio)
class Service:
    async def run(self) -> None: ...


anyhow: Any = child
"""For calls that a type checker refuses as well."""


def paths(tree: Any) -> list[str]:
    return [node.path for node in place(tree).walk()]


def refusal(make: Any, *args: Any, **kwargs: Any) -> str:
    with pytest.raises(SpecError) as caught:
        make(*args, **kwargs)
    error = caught.value
    assert str(error).startswith(f"{error.path}: {error.field}: given ")
    assert str(error).endswith(f", allowed: {error.allowed}")
    return str(error)


# -- children ----------------------------------------------------------------------------------------------------------
def test_a_child_keeps_its_class_its_arguments_and_the_options_of_its_class() -> None:
    web = child(Web, port=81)
    assert (web.definition.cls, web.args, dict(web.kwargs)) == (Web, (), {"port": 81})
    assert web.choice == Options()
    assert child(HTTPServer2Go[int], 3).choice == Options(restart="transient", shutdown=1.0)
    assert child(Service).args == ()


def test_children_are_small_where_nothing_is_said() -> None:
    one, two = child(Web), child(Web)
    assert one.choice is two.choice
    assert one.kwargs is two.kwargs


def test_each_child_has_an_address_of_its_own_which_its_options_leave_alone() -> None:
    web = child(Web)
    assert web.options(name="web", mailbox=Mailbox(3)).ref is web.ref
    assert child(Web).ref is not web.ref


def test_options_change_what_they_name_and_remember_it() -> None:
    choice = child(HTTPServer2Go[int], 3).options(name="web", drain=True).options(name="www").choice
    assert choice == Options(name="www", restart="transient", shutdown=1.0, drain=True)
    assert choice.given == {"name", "restart", "shutdown", "drain"}


def test_a_default_that_is_spelled_out_counts_as_given() -> None:
    assert child(Web).choice.given == frozenset()
    assert child(Web).options(restart="permanent").choice.given == {"restart"}
    assert Options(restart="temporary").given == {"restart"}


def test_a_child_is_immutable_and_compared_by_identity() -> None:
    web: Any = child(Web)
    with pytest.raises(AttributeError, match="immutable"):
        web.args = (1,)
    assert web != child(Web)
    assert len({web, child(Web)}) == 2


def test_a_child_names_itself() -> None:
    assert repr(child(Web)) == f"child({HERE}.Web)"
    assert repr(child(Web).options(name="w")) == f"child({HERE}.Web).options(name='w')"


def test_a_child_of_what_is_no_actor_class_is_refused() -> None:
    with pytest.raises(DefinitionError, match="int: found a class without @actor"):
        anyhow(int)


def test_wrong_constructor_arguments_are_refused_where_they_are_written() -> None:
    told = f"child({HERE}.Web): arguments: given (path=...): got an unexpected keyword argument 'path', allowed: "
    assert refusal(anyhow, Web, path="/") == f"{told}Web(port: 'int' = 80)"
    assert refusal(anyhow, Service, 1).startswith(f"child({HERE}.Service): arguments: given (...): too many positional")


# -- options -----------------------------------------------------------------------------------------------------------
NAME = 'a printable string that is not empty, has no "/" and no space around it; None for the default name'
SHUTDOWN = "seconds: a number of 0 (at once) or more, or math.inf"
START = "seconds: a number above 0, or math.inf"

WRONG: list[tuple[str, object, str]] = [
    *[("name", name, NAME) for name in ("", "a/b", "/", " a", "a\n", 3)],
    *[("restart", restart, "'permanent' | 'transient' | 'temporary'") for restart in ("always", None, True)],
    *[("shutdown", seconds, SHUTDOWN) for seconds in (-1, -0.1, math.nan, "5", None, True)],
    *[("reload_timeout", seconds, START) for seconds in (0, math.nan, "1")],
    *[("start_timeout", seconds, START) for seconds in (0, -1, math.nan, None, False)],
    *[("significant", flag, "True | False") for flag in (1, None, "yes")],
    *[("mailbox", mailbox, "a Mailbox(capacity=..., overflow=...)") for mailbox in (None, 100)],
    *[("drain", flag, "True | False") for flag in (0, None)],
]


@pytest.mark.parametrize(("name", "value", "allowed"), WRONG)
def test_each_option_refuses_what_it_does_not_allow(name: str, value: object, allowed: str) -> None:
    web: Any = child(Web)
    told = f"{name}: given {value!r}, allowed: {allowed}"
    assert refusal(web.options, **{name: value}) == f"child({HERE}.Web): {told}"
    assert refusal(Options, **{name: value}) == f"Options: {told}"


@pytest.mark.parametrize(
    ("name", "value"),
    [("shutdown", 0), ("shutdown", math.inf), ("start_timeout", math.inf), ("start_timeout", 1), ("name", None)],
)
def test_the_limits_of_an_option_are_allowed(name: str, value: object) -> None:
    web: Any = child(Web)
    assert getattr(web.options(**{name: value}).choice, name) == value


def test_an_option_that_does_not_exist_is_refused_with_those_that_do() -> None:
    web: Any = child(Web)
    names = "name, restart, shutdown, start_timeout, reload_timeout, significant, mailbox, drain, backoff, "
    names += "readiness, optional, abandon"
    assert refusal(web.options, nam="x") == f"child({HERE}.Web): nam: given 'x', allowed: the options {names}"


# -- supervisors -------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("make", [one_for_one, one_for_all, rest_for_one])
def test_a_supervisor_is_its_strategy_its_children_and_its_limit(make: Any) -> None:
    web, group = child(Web), one_for_one()
    tree = make(web, group, name="top", restarts=Limit(1, within=2), auto_shutdown="any_significant")
    assert (tree.strategy, tree.children, tree.name) == (make.__name__, (web, group), "top")
    assert (tree.limit, tree.auto_shutdown) == (Limit(1, 2.0), "any_significant")
    assert (tree.restart, tree.significant, tree.shutdown) == ("permanent", False, math.inf)


def test_a_supervisor_allows_three_restarts_in_thirty_seconds() -> None:
    assert one_for_one().limit == Limit(3, within=30.0)


def test_the_place_of_a_supervisor_has_options() -> None:
    group = one_for_all(child(Web))
    other = group.options(name="group", restart="temporary", significant=True, shutdown=9.0)
    assert (other.name, other.restart, other.significant, other.shutdown) == ("group", "temporary", True, 9.0)
    assert (other.strategy, other.children) == ("one_for_all", group.children)


def test_a_supervisor_is_immutable_and_names_itself() -> None:
    tree: Any = one_for_one(child(Web), name="top")
    with pytest.raises(attrs.exceptions.FrozenInstanceError):
        tree.children = ()
    assert repr(tree) == "one_for_one(1 child).options(name='top')"
    assert repr(one_for_one()) == "one_for_one(0 children)"


LIMIT = "a Limit(n, within=seconds), or None for the default"
AUTO = "'never' | 'any_significant' | 'all_significant'"


@pytest.mark.parametrize(
    ("keywords", "told"),
    [
        ({"name": "a/b"}, f"one_for_one(name='a/b'): name: given 'a/b', allowed: {NAME}"),
        ({"restarts": 3}, f"one_for_one(): restarts: given 3, allowed: {LIMIT}"),
        ({"name": "g", "auto_shutdown": 1}, f"one_for_one(name='g'): auto_shutdown: given 1, allowed: {AUTO}"),
    ],
)
def test_a_supervisor_refuses_what_it_does_not_allow(keywords: dict[str, Any], told: str) -> None:
    assert refusal(one_for_one, **keywords) == told


@pytest.mark.parametrize(
    ("keywords", "told"),
    [
        ({"name": ""}, f"one_for_one(name=''): name: given '', allowed: {NAME}"),
        ({"restart": "no"}, "one_for_one(): restart: given 'no', allowed: 'permanent' | 'transient' | 'temporary'"),
        ({"significant": 1}, "one_for_one(): significant: given 1, allowed: True | False"),
        ({"shutdown": -1}, f"one_for_one(): shutdown: given -1, allowed: {SHUTDOWN}"),
        (
            {"drain": 1},
            (
                "one_for_one(): drain: given 1, allowed: the options "
                "name, restart, significant, shutdown, backoff, optional"
            ),
        ),
    ],
)
def test_the_options_of_a_supervisor_refuse_what_they_do_not_allow(keywords: dict[str, Any], told: str) -> None:
    assert refusal(one_for_one().options, **keywords) == told


@pytest.mark.parametrize(
    ("node", "given"),
    [
        (Web, f"the class {HERE}.Web, allowed: child(...) or a supervisor; write child(Web, ...)"),
        (Web(), "Web(port=80), allowed: child(...) or a supervisor"),
        (None, "None, allowed: child(...) or a supervisor"),
    ],
)
def test_a_supervisor_takes_children_and_supervisors_only(node: Any, given: str) -> None:
    assert refusal(one_for_all, child(Web), node) == f"one_for_all(): child 2: given {given}"


def test_an_unknown_strategy_is_refused() -> None:
    strategy: Any = "all_for_one"
    allowed = "'one_for_one' | 'one_for_all' | 'rest_for_one'"
    assert refusal(Supervisor, strategy, ()) == f"Supervisor(): strategy: given 'all_for_one', allowed: {allowed}"


@pytest.mark.parametrize(
    ("n", "within", "told"),
    [
        (-1, 30.0, "n: given -1, allowed: an int of 0 or more (restarts)"),
        (1.5, 30.0, "n: given 1.5, allowed: an int of 0 or more (restarts)"),
        (True, 30.0, "n: given True, allowed: an int of 0 or more (restarts)"),
        (3, 0, f"within: given 0, allowed: {START}"),
        (3, math.nan, f"within: given nan, allowed: {START}"),
        (3, "30", f"within: given '30', allowed: {START}"),
    ],
)
def test_a_limit_refuses_what_it_does_not_allow(n: Any, within: Any, told: str) -> None:
    assert refusal(Limit, n, within) == f"Limit: {told}"


# -- places ------------------------------------------------------------------------------------------------------------
def test_paths_are_made_of_names() -> None:
    web = child(Web).options(name="web")
    tree = one_for_all(web, one_for_one(child(Web), name="group"), name="the root has no name in paths")
    placed = place(tree)
    assert paths(tree) == ["/", "/web", "/group", "/group/web"]
    assert [node.name for node in placed.walk()] == ["", "web", "group", "web"]
    assert placed.spec is tree
    assert placed.children[0].spec is web
    assert placed.children[0].children == ()


def test_a_bare_child_is_a_tree() -> None:
    web = child(Web)
    placed = place(web)
    assert paths(web) == ["/", "/web"]
    assert isinstance(placed.spec, Supervisor)
    assert placed.spec.strategy == "one_for_one"
    assert placed.spec.children == (web,)


def test_default_names_are_in_snake_case() -> None:
    tree = one_for_one(child(HTTPServer2Go[int], 1), child(Service), rest_for_one(one_for_all()))
    assert paths(tree) == ["/", "/http_server2_go", "/service", "/rest_for_one", "/rest_for_one/one_for_all"]


def test_a_class_of_underscores_is_called_actor() -> None:
    class __:  # noqa: N801 - that is the point
        def receive(self, message: int) -> None: ...

    nameless: Any = actor(flavour=trio)(__)
    assert paths(child(nameless)) == ["/", "/actor"]


def test_siblings_without_a_name_are_numbered_around_the_chosen_ones() -> None:
    named = child(Web).options(name="web-2")
    tree = one_for_one(child(Web), child(Web), named, child(Web), one_for_one(child(Web)), one_for_one())
    names = [node.name for node in place(tree).children]
    assert names == ["web", "web-3", "web-2", "web-4", "one_for_one", "one_for_one-2"]


def test_a_chosen_name_is_never_changed_by_a_default() -> None:
    assert paths(one_for_one(child(Web), child(Service).options(name="web"))) == ["/", "/web-2", "/web"]


def test_two_siblings_cannot_choose_one_name() -> None:
    group = one_for_one(child(Web).options(name="x"), one_for_all(name="x"), name="group")
    assert refusal(place, one_for_one(group)) == (
        "/group: name: given 'x' for one_for_all(0 children).options(name='x'),"
        f" which child({HERE}.Web).options(name='x') has already, allowed: different names for siblings"
    )


def test_cousins_can_choose_one_name() -> None:
    tree = one_for_one(one_for_one(child(Web), name="a"), one_for_one(child(Web), name="b"))
    assert paths(tree) == ["/", "/a", "/a/web", "/b", "/b/web"]


@pytest.mark.parametrize("options", [{}, {"name": "other"}])
def test_a_child_stands_in_one_place(options: Any) -> None:
    web = child(Web).options(name="web")
    group = one_for_one(web.options(**options), name="group")
    with pytest.raises(DuplicateChild) as caught:
        place(one_for_one(web, group))
    name = options.get("name", "web")
    assert str(caught.value) == (
        f"/group/{name}: child: given child({HERE}.Web).options(name='{name}'), which stands at /web already,"
        " allowed: one place in one tree for each child(...); call child(...) again for another actor"
    )


def test_a_child_stands_once_among_its_siblings() -> None:
    web = child(Web).options(name="web")
    with pytest.raises(DuplicateChild, match=r"^/web: child: given .* which stands at /web already"):
        place(one_for_one(web, web))


def test_a_supervisor_stands_in_one_place() -> None:
    group = one_for_one(child(Web))
    with pytest.raises(DuplicateChild) as caught:
        place(one_for_all(group, group))
    assert str(caught.value) == (
        "/one_for_one-2: supervisor: given one_for_one(1 child), which stands at /one_for_one already,"
        " allowed: one place in one tree for each supervisor"
    )


def test_a_significant_child_must_not_be_permanent() -> None:
    tree = one_for_one(child(Web).options(significant=True), auto_shutdown="any_significant")
    assert refusal(place, tree) == (
        '/web: significant: given significant=True with restart="permanent",'
        ' allowed: restart="transient" or "temporary" for a significant child'
    )


def test_a_significant_child_needs_a_supervisor_that_heeds_it() -> None:
    group = one_for_one(child(Web)).options(significant=True, restart="temporary", name="group")
    assert refusal(place, one_for_one(group)) == (
        '/group: significant: given significant=True below one_for_one(1 child) with auto_shutdown="never",'
        ' allowed: a supervisor with auto_shutdown="any_significant" or "all_significant"'
    )


@pytest.mark.parametrize("restart", ["transient", "temporary"])
@pytest.mark.parametrize("auto_shutdown", ["any_significant", "all_significant"])
def test_a_significant_child_is_allowed_where_its_end_can_end_its_supervisor(restart: Any, auto_shutdown: Any) -> None:
    web = child(Web).options(significant=True, restart=restart)
    assert paths(one_for_one(web, auto_shutdown=auto_shutdown)) == ["/", "/web"]


def test_a_tree_is_a_supervisor_or_a_child() -> None:
    tree: Any = Web
    assert refusal(place, tree) == f"/: tree: given <class '{HERE}.Web'>, allowed: a supervisor or a child(...)"
