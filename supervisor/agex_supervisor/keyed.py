"""Mappings of the standard library that are more than a dict: their keys and values are checked, and they stay what they are."""

from __future__ import annotations

import types
from collections import Counter, OrderedDict, defaultdict
from typing import Annotated, Any

from pydantic import ValidatorFunctionWrapHandler, WrapValidator
from pydantic_core import PydanticCustomError

KEYED: tuple[Any, ...] = (OrderedDict, defaultdict, Counter)


def keyed_form(cls: Any, key: Any, value: Any) -> Any:
    """What pydantic is to check for an instance of `cls`, whose keys and values have these forms. It gives a new one."""

    def check(given: Any, checked: ValidatorFunctionWrapHandler) -> Any:
        if not isinstance(given, cls):
            raise PydanticCustomError("agex_keyed", "Input should be an instance of {name}", {"name": cls.__name__})
        items = checked(dict(given))
        made: Any = given.copy()  # with its default factory
        made.clear()
        made.update(items)
        return made

    return Annotated[types.GenericAlias(dict, (key, value)), WrapValidator(check)]
