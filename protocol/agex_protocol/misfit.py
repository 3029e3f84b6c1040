"""Why a value cannot cross, where in it, and what to do: words that an agent can act upon."""

from __future__ import annotations

from enum import Enum
from typing import Any

from agex_protocol.bulk import BARE
from agex_protocol.host_handle import HostHandle
from agex_protocol.shapes import Shape


class Misfit(ValueError):
    """`path` grows to the left as the error leaves each container: "['a']" before "[3]"."""

    def __init__(self, reason: str, path: str = "") -> None:
        super().__init__(reason)
        self.reason = reason
        self.path = path

    @classmethod
    def of(cls, error: Exception) -> Misfit:
        """Any error as one, keeping the path of one that is."""
        return error if isinstance(error, Misfit) else cls(str(error) or type(error).__name__)

    def below(self, step: str) -> Misfit:
        """The same, seen from the container."""
        return Misfit(self.reason, step + self.path)


def unlike(value: Any, shape: Shape, remedy: str = "") -> Misfit:
    """A value that is not of its shape."""
    return Misfit(f"{named(value)}, wanted {shape}{remedy or hint(value, shape)}")


def named(value: Any) -> str:
    """What a value is: "a str ('x')"."""
    if value is None:
        return "None"
    kind = type(value).__qualname__
    shown = f" ({short(value)})" if type(value) in (bool, int, float, str) else ""
    whose = " of the calling process" if isinstance(value, HostHandle) else ""
    return f"{'an' if kind[:1].lower() in 'aeiou' else 'a'} {kind}{shown}{whose}"


def short(value: object) -> str:
    """A plain value in a few characters; of anything else only the type, since its repr is its own code."""
    if type(value) is int and value.bit_length() > 200:
        return "a long int"
    text = (
        repr(value[:60] if isinstance(value, str | bytes) else value)
        if type(value) in BARE
        else type(value).__qualname__
    )
    return text if len(text) <= 60 else text[:57] + "..."


def hint(value: Any, shape: Shape | None = None) -> str:
    """What usually turns the one into the other."""
    if shape is not None and shape.kind == "record" and str(shape).startswith(f"{type(value).__name__}["):
        return f"; make it by {shape}(...)"
    remedy = _HINTS.get((type(value).__name__, shape.kind if shape else "any")) or _HINTS.get(
        (type(value).__name__, "")
    )
    remedy = remedy or _hint_by_nature(value)
    return f"; {remedy}" if remedy else ""


def _hint_by_nature(value: Any) -> str:
    """For classes of anybody: what most of their kind can be turned into."""
    if isinstance(value, HostHandle):
        return "only functions of that process take it; give what you read from it"
    if isinstance(value, Enum):
        return "use .value or .name"
    if isinstance(value, type) or callable(value):
        return "call it, and give what it returns"
    if isinstance(value, BaseException):
        return "use str(...)"
    if hasattr(type(value), "__dataclass_fields__") or hasattr(type(value), "model_fields"):
        return "give a dict of its fields"
    own, *bases = (base.__name__ for base in type(value).__mro__)
    remedies = [_LIBRARY_HINTS.get(own, ""), *(_LIBRARY_HINTS.get(base) or _SUBCLASS_HINTS.get(base) for base in bases)]
    return next(filter(None, remedies), "")


# By the name of the type that is there and the kind that is wanted; "" stands for any kind.
_HINTS = {
    ("Series", "dict"): "use .to_dict()",
    ("Series", "list"): "use .tolist()",
    ("Series", "ndarray"): "use .to_numpy()",
    ("Series", "frame"): "use .to_frame()",
    ("DataFrame", "list"): "use .to_dict('records')",
    ("DataFrame", "dict"): "use .to_dict()",
    ("DataFrame", "ndarray"): "use .to_numpy()",
    ("ndarray", "list"): "use .tolist()",
    ("ndarray", "series"): "use pandas.Series(...)",
    ("ndarray", "frame"): "use pandas.DataFrame(...)",
    ("Index", "list"): "use .tolist()",
    ("Index", "ndarray"): "use .to_numpy()",
    ("tuple", "list"): "use list(...)",
    ("range", "list"): "use list(...)",
    ("set", "list"): "use list(...) or sorted(...)",
    ("list", "tuple"): "use tuple(...)",
    ("list", "tuple_of"): "use tuple(...)",
    ("list", "set"): "use set(...)",
    ("list", "ndarray"): "use np.asarray(...)",
    ("list", "series"): "use pandas.Series(...)",
    ("list", "frame"): "use pandas.DataFrame(...)",
    ("dict", "series"): "use pandas.Series(...)",
    ("dict", "frame"): "use pandas.DataFrame(...)",
    ("str", "int"): "use int(...)",
    ("str", "float"): "use float(...)",
    ("float", "int"): "use int(...) or round(...)",
    ("longdouble", "float"): "use float(...)",
    ("NAType", ""): "use None",
    ("NaTType", ""): "use None",
    ("Timestamp", "date"): "use .date()",
    ("datetime", "date"): "use .date()",
    ("generator", ""): "use list(...)",
    ("dict_keys", ""): "use list(...)",
    ("dict_values", ""): "use list(...)",
    ("map", ""): "use list(...)",
    ("bytearray", ""): "use bytes(...)",
    ("memoryview", ""): "use bytes(...)",
    ("Table", "frame"): "use .to_pandas()",
    ("DataFrame", "polars_frame"): "use polars.from_pandas(...)",
    ("DataFrame", "table"): "use pyarrow.Table.from_pandas(...)",
    ("ndarray", "image"): "use PIL.Image.fromarray(...)",
}
# By the name of a class that others extend: of what is none of these itself.
_SUBCLASS_HINTS = {
    "ndarray": "use np.asarray(...)",
    "DataFrame": "a subclass would lose its type; use pandas.DataFrame(...)",
    "Series": "a subclass would lose its type; use pandas.Series(...)",
}
# By the name of a class or of one that it derives from.
_LIBRARY_HINTS = {
    "Period": "use .to_timestamp() or str(...)",
    "Interval": "give its ends, .left and .right",
    "BaseOffset": "use .freqstr",
    "ExtensionArray": "put it into a pandas.Series",
    "Scalar": "use .as_py()",
    "LazyFrame": "use .collect()",
    "Figure": "save it as PNG into io.BytesIO() and give the bytes, or open them with PIL.Image",
    "Artist": "save its figure as PNG into io.BytesIO() and give the bytes",
    "BaseFigure": "use plotly.graph_objects.Figure(...)",
}
