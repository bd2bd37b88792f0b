"""The fields of an actor class: attrs writes the constructor, and a few of its features are refused.

What type checkers misread without the attrs plugin has an alternative that they read right, and the error names it.
"""

from __future__ import annotations

import inspect
from typing import TYPE_CHECKING, Any, Final

import attrs

from trouper.errors import DefinitionError, type_name

if TYPE_CHECKING:
    from collections.abc import Iterator

_MADE_BY: Final = {
    "__trouper__": "a second @actor",
    "__attrs_attrs__": "an attrs class",
    "__dataclass_fields__": "a dataclass",
}


def make_attrs(cls: type) -> None:
    """Turn a class into an attrs class, in place, and check its fields.

    Raises:
        DefinitionError: naming the class, the field, what was found and what is allowed.
    """
    where = type_name(cls)
    body = dict(cls.__dict__)
    for mark, found in _MADE_BY.items():
        if mark in body:
            raise DefinitionError(where, found, "a plain class: @actor makes it an attrs class by itself")
    if hasattr(cls, "__struct_fields__"):
        raise DefinitionError(where, "a message class", "a plain class")
    if "__init__" in body:
        allowed = "fields, of which the constructor is written; `__attrs_post_init__` or `on_start` for more"
        raise DefinitionError(f"{where}.__init__", "a constructor by hand", allowed)
    try:
        attrs.define(cls, slots=False, eq=False)
    except (TypeError, ValueError, AttributeError) as error:
        raise DefinitionError(where, f"fields that attrs refuses ({error})", "the fields of an attrs class") from error
    for field in attrs.fields(cls):
        if not field.inherited:
            _check_field(field, body, f"{where}.{field.name}")


def _check_field(field: attrs.Attribute[Any], body: dict[str, Any], where: str) -> None:
    if field.init and field.name.startswith("_") and getattr(field, "alias_is_default", True):
        allowed = f"the name {field.name.lstrip('_')!r}, or attrs.field(init=False), or attrs.field(alias=...)"
        raise DefinitionError(where, "an underscore in the name of a constructor argument", allowed)
    validators = getattr(field.validator, "_validators", (field.validator,))
    if any(_decorated(validator, field.name, body) for validator in validators):
        allowed = f"attrs.field(validator=...) with a function defined before {field.name!r}"
        raise DefinitionError(where, f"a decorator @{field.name}.validator, which type checkers misread", allowed)
    if _decorated(getattr(field.default, "factory", None), field.name, body):
        allowed = "attrs.field(default=attrs.Factory(function, takes_self=True))"
        raise DefinitionError(where, f"a decorator @{field.name}.default, which type checkers misread", allowed)


def _decorated(function: object, field: str, body: dict[str, Any]) -> bool:
    """Whether a function stands in the class body after the field that has it: only a decorator can have done that."""
    after_field = list(_names_after(field, body))
    return inspect.isfunction(function) and any(body[name] is function for name in after_field)


def _names_after(field: str, body: dict[str, Any]) -> Iterator[str]:
    names = iter(body)
    for name in names:
        if name == field:
            yield from names
