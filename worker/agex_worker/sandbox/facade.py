"""A registered module as agent code holds it: an object with the members that the registration gives, and nothing else.

A member is decided on when it is first read and then lies in the instance dictionary, so `np.sqrt` in a loop is an
ordinary attribute access.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, NoReturn, cast

from agex_worker.sandbox.names import Refused


class Facade:
    """Made by `facade()` only; what stands behind it is in no attribute that code can name."""

    __slots__ = ("__dict__", "__list__", "__live__", "__vet__", "__weakref__")

    def __new__(cls) -> NoReturn:
        raise TypeError("modules are not made here; import one")

    def __getattr__(self, name: str) -> Any:
        vet = object.__getattribute__(self, "__vet__")
        value = vet(name)
        if object.__getattribute__(self, "__live__"):
            return value
        object.__getattribute__(self, "__dict__")[name] = value
        return value

    def __setattr__(self, name: str, value: object) -> NoReturn:
        raise Refused(f"{self!r} cannot be changed: the attribute {name} is shared by all that import it", name)

    def __delattr__(self, name: str) -> NoReturn:
        raise Refused(f"{self!r} cannot be changed: the attribute {name} is shared by all that import it", name)

    def __dir__(self) -> Iterable[str]:
        return cast("Iterable[str]", object.__getattribute__(self, "__list__")())

    def __copy__(self) -> Facade:
        return self

    def __deepcopy__(self, memo: object) -> Facade:
        return self

    def __reduce__(self) -> NoReturn:
        raise TypeError(f"{self!r} is no value that can be sent or stored; import it where it is used")

    def __repr__(self) -> str:
        return f"<module {self.__name__!r}>"


# As the type of a module tells it to code, to errors and to who is given its name.
Facade.__name__ = Facade.__qualname__ = "module"


def facade(
    name: str,
    vet: Callable[[str], Any],
    names: Callable[[], Iterable[str]],
    *,
    about: str | None = None,
    version: str | None = None,
    live: bool = False,
) -> Facade:
    """A facade whose members `vet(name)` gives, or refuses by an AttributeError; `names()` is for dir(). live: it is asked
    each time, since they change."""
    made: Facade = object.__new__(cast("type[Any]", Facade))
    object.__setattr__(made, "__vet__", vet)
    object.__setattr__(made, "__list__", names)
    object.__setattr__(made, "__live__", live)
    texts = {"__name__": name, "__doc__": about, "__version__": version}
    attach(made, {key: text for key, text in texts.items() if text is not None})
    return made


def attach(made: Facade, members: dict[str, Any]) -> None:
    """Members that need no vetting: submodules that were imported."""
    object.__getattribute__(made, "__dict__").update(members)
