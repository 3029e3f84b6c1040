"""What a plotly figure shows, drawn by matplotlib. plotly's own pictures take a browser, which no worker can start.

Common kinds of traces, their names, colours and axes; not plotly's look, nor what one does with a mouse. What cannot be drawn is
refused by its name: a picture in which something is missing would tell the model wrong things.
"""

from __future__ import annotations

import inspect
import re
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import Any, cast

import matplotlib
import matplotlib.figure
import numpy as np
from matplotlib.colors import is_color_like

Tree = Mapping[str, Any]

_DPI = 100
_SIZE = (700, 450)  # as plotly's own, in pixels
_MOST = 2000
_MARGIN = {"left": 0.1, "bottom": 0.12, "width": 0.86, "height": 0.76}
_CYCLE = ("#636efa", "#EF553B", "#00cc96", "#ab63fa", "#FFA15A", "#19d3f3", "#FF6692", "#B6E880", "#FF97FF", "#FECB52")
_RGB = re.compile(r"rgba?\((\d+),\s*(\d+),\s*(\d+)(?:,\s*([\d.]+))?\)")
_DASHES = {"dash": "--", "dot": ":", "dashdot": "-.", "longdash": "--", "longdashdot": "-."}


def figure_of(figure: Any) -> Any:
    """A matplotlib figure of the same data. TypeError names a kind of trace that is not drawn here."""
    traces = [trace.to_plotly_json() for trace in figure.data]
    layout = figure.layout.to_plotly_json()
    if others := sorted({_kind(trace) for trace in traces} - set(_DRAWN)):
        raise TypeError(
            f"a plotly figure is drawn by matplotlib here, which draws {', '.join(_DRAWN)}, and not {', '.join(others)}; draw the"
            " same with matplotlib, or return the figure as the result"
        )
    size = [
        min(max(float(layout.get(name) or usual), 50.0), _MOST)
        for name, usual in zip(("width", "height"), _SIZE, strict=True)
    ]
    drawing = matplotlib.figure.Figure(figsize=(size[0] / _DPI, size[1] / _DPI), dpi=_DPI)
    panels = _Panels(drawing, layout)
    _arrange(traces, layout)
    for place, trace in enumerate(traces):
        if trace.get("visible") in (None, True):
            _DRAWN[_kind(trace)](panels.of(trace), trace, _color(_main_color(trace)) or _CYCLE[place % len(_CYCLE)])
    panels.finish()
    for told in layout.get("annotations") or ():  # titles of subplots are such
        if told.get("xref") == told.get("yref") == "paper":
            left, low, width, height = _place(None, None)
            at = left + float(told.get("x", 0.5)) * width, low + float(told.get("y", 1)) * height
            drawing.text(*at, _text(told.get("text")), ha="center", va="bottom", fontsize="small")
    if title := _text(layout.get("title")):
        drawing.suptitle(title)
    return drawing


def _kind(trace: Tree) -> str:
    kind = str(trace.get("type", "scatter"))
    return {"scattergl": "scatter", "heatmapgl": "heatmap"}.get(kind, kind)


class _Panels:
    """The axes of a figure, by plotly's names for them."""

    def __init__(self, drawing: Any, layout: Tree) -> None:
        self._drawing = drawing
        self._layout = layout
        self._axes: dict[tuple[str, str], Any] = {}

    def of(self, trace: Tree) -> Any:
        if _kind(trace) == "pie":
            domain = trace.get("domain") or {}
            return self._drawing.add_axes(_place(domain.get("x"), domain.get("y")))
        names = str(trace.get("xaxis", "x")), str(trace.get("yaxis", "y"))
        if names not in self._axes:
            self._axes[names] = self._made(*names)
        return self._axes[names]

    def finish(self) -> None:
        for shape in self._layout.get("shapes") or ():
            self._line(shape)
        for (x, y), axes in self._axes.items():
            _set(axes, "x", self._options(x))
            _set(axes, "y", self._options(y))
            if len(axes.get_legend_handles_labels()[1]) > 1 and self._layout.get("showlegend") is not False:
                axes.legend(fontsize="small")

    def _made(self, x: str, y: str) -> Any:
        below = self._options(y).get("overlaying")
        if below and (x, below) in self._axes:
            return self._axes[x, below].twinx()
        return self._drawing.add_axes(_place(self._options(x).get("domain"), self._options(y).get("domain")))

    def _line(self, shape: Tree) -> None:
        """One across the whole of an axis, as add_hline and add_vline make them; other shapes are decoration."""
        x, y = str(shape.get("xref", "x")), str(shape.get("yref", "y"))
        axes = self._axes.get((x.partition(" ")[0], y.partition(" ")[0]))
        if axes is not None and shape.get("type") == "line":
            line = shape.get("line") or {}
            style = {
                "color": _color(line.get("color")) or "black",
                "linestyle": _DASHES.get(str(line.get("dash")), "-"),
            }
            if x.endswith(" domain"):
                axes.axhline(shape.get("y0"), **style)
            elif y.endswith(" domain"):
                axes.axvline(shape.get("x0"), **style)

    def _options(self, name: str) -> Tree:
        return cast(Tree, self._layout.get(f"{name[0]}axis{name[1:]}") or {})


def _place(x: Any, y: Any) -> tuple[float, float, float, float]:
    (left, right), (low, high) = x or (0, 1), y or (0, 1)
    return (
        _MARGIN["left"] + left * _MARGIN["width"],
        _MARGIN["bottom"] + low * _MARGIN["height"],
        max((right - left) * _MARGIN["width"] * (0.92 if x else 1), 0.01),
        max((high - low) * _MARGIN["height"] * (0.9 if y else 1), 0.01),
    )


def _set(axes: Any, which: str, options: Tree) -> None:
    if title := _text(options.get("title")):
        axes.set(**{f"{which}label": title})
    if options.get("type") == "log":
        axes.set(**{f"{which}scale": "log"})
    ends = options.get("range")
    if ends is not None and len(ends) == 2 and None not in ends and not isinstance(ends[0], str):
        axes.set(**{f"{which}lim": [10.0**end for end in ends] if options.get("type") == "log" else list(ends)})
    elif options.get("autorange") == "reversed":
        getattr(axes, f"invert_{which}axis")()


# --- traces ---


def _scatter(axes: Any, trace: Tree, color: Any) -> None:
    x, y = _xy(trace)
    mode = str(trace.get("mode") or ("lines+markers" if len(y) < 20 else "lines"))
    line, marker = trace.get("line") or {}, trace.get("marker") or {}
    named = _named(trace)
    if "lines" in mode:
        style = _DASHES.get(str(line.get("dash")), "-")
        axes.plot(x, y, style, color=color, linewidth=float(line.get("width") or 1.5), **named)
        named = {}
    if "markers" in mode:
        shades = marker.get("color")
        many = _values(shades) if isinstance(shades, list | tuple | np.ndarray) and len(shades) == len(y) else None
        sizes = marker.get("size")
        wide = np.asarray(sizes, float) if isinstance(sizes, list | tuple | np.ndarray) else float(sizes or 6)
        areas = wide**2 if np.ndim(wide) == 0 else 400 * wide / max(float(np.max(wide)), 1e-9)
        axes.scatter(x, y, s=areas, c=_shades(many, color), **named)
    for name in ("error_x", "error_y"):
        if (array := (trace.get(name) or {}).get("array")) is not None:
            axes.errorbar(x, y, fmt="none", ecolor=color, **{f"{name[-1]}err": np.asarray(array, float)})
    if "text" in mode and trace.get("text") is not None:
        texts = trace["text"]
        for at, told in enumerate([texts] * len(y) if isinstance(texts, str) else list(texts)[: len(y)]):
            axes.annotate(str(told), (x[at], y[at]), fontsize="small")
    if trace.get("fill") in ("tozeroy", "tonexty") or trace.get("stackgroup"):
        axes.fill_between(x, trace.get("base", 0), y, color=color, alpha=0.3)


def _bar(axes: Any, trace: Tree, color: Any) -> None:
    x, y = _xy(trace)
    lies = trace.get("orientation") == "h"
    places, lengths = (y, x) if lies else (x, y)
    axis = axes.yaxis if lies else axes.xaxis
    axis.update_units(places)
    at = np.asarray(axis.convert_units(places), float)
    apart = np.diff(np.unique(at))
    unit = float(apart.min()) if len(apart) and _is_numeric(places) else 1.0
    shades = (trace.get("marker") or {}).get("color")
    many = _values(shades) if isinstance(shades, list | tuple | np.ndarray) else None
    colors = _shades(many, color)
    thick, at = trace["_thick"] * unit, at + trace["_shift"] * unit
    base = trace["_base"]
    if lies:
        axes.barh(at, lengths, height=thick, left=base, color=colors, **_named(trace))
    else:
        axes.bar(at, lengths, width=thick, bottom=base, color=colors, **_named(trace))


def _histogram(axes: Any, trace: Tree, color: Any) -> None:
    lies = trace.get("x") is None
    values = _values(trace.get("y") if lies else trace.get("x"))
    if not _is_numeric(values):
        counts = Counter(map(str, values))
        draw = axes.barh if lies else axes.bar
        draw(list(counts), list(counts.values()), color=color, alpha=0.8, **_named(trace))
        return
    bins = trace.get("nbinsy" if lies else "nbinsx") or ("auto" if _is_numeric(values) else max(len(set(values)), 1))
    how = "horizontal" if lies else "vertical"
    axes.hist(
        values,
        bins=bins,
        orientation=how,
        color=color,
        alpha=0.8,
        density="density" in str(trace.get("histnorm")),
        **_named(trace),
    )


def _box(axes: Any, trace: Tree, color: Any) -> None:
    lies = trace.get("y") is None
    values = np.asarray(_values(trace.get("x") if lies else trace.get("y")), float)
    groups = trace.get("y") if lies else trace.get("x")
    if groups is None or len(groups) != len(values):
        groups = [trace.get("name") or ""] * len(values)
    named = {name: values[[each == name for each in groups]] for name in dict.fromkeys(groups)}
    places = [trace["_first"] + place for place in range(len(named))]
    # Of matplotlib 3.10 on; `vert` is about to go.
    knows = "orientation" in inspect.signature(axes.boxplot).parameters
    how: dict[str, Any] = {"orientation": "horizontal" if lies else "vertical"} if knows else {"vert": not lies}
    columns = [each[~np.isnan(each)] for each in named.values()]
    parts = axes.boxplot(columns, positions=places, patch_artist=True, widths=0.6, **how)
    for part in parts["boxes"]:
        part.set(facecolor=color, alpha=0.5)
    axis = axes.yaxis if lies else axes.xaxis
    axis.set_ticks([*trace["_ticks"], *places], [*trace["_labels"], *map(str, named)])


def _heatmap(axes: Any, trace: Tree, color: Any) -> None:
    z = np.asarray(trace.get("z"), float)
    shown = axes.imshow(z, aspect="auto", origin="lower", cmap="plasma", interpolation="nearest")
    for which, count in (("x", z.shape[1]), ("y", z.shape[0])):
        if (labels := trace.get(which)) is not None and len(labels) == count:
            chosen = range(0, count, -(-count // 20))
            axes.set(**{f"{which}ticks": list(chosen), f"{which}ticklabels": [str(labels[at]) for at in chosen]})
    if trace.get("showscale") is not False:
        axes.figure.colorbar(shown, ax=axes)


def _histogram2d(axes: Any, trace: Tree, color: Any) -> None:
    x, y = (np.asarray(each, float) for each in _xy(trace))
    *_, shown = axes.hist2d(x, y, bins=(trace.get("nbinsx") or 20, trace.get("nbinsy") or 20), cmap="plasma")
    axes.figure.colorbar(shown, ax=axes)


def _contour(axes: Any, trace: Tree, color: Any) -> None:
    z = np.asarray(trace.get("z"), float)
    x, y = (
        np.asarray(range(count) if trace.get(name) is None else trace[name])
        for name, count in (("x", z.shape[1]), ("y", z.shape[0]))
    )
    axes.figure.colorbar(axes.contourf(x, y, z, cmap="plasma"), ax=axes)


def _pie(axes: Any, trace: Tree, color: Any) -> None:
    labels = [str(each) for each in _values(trace.get("labels"))]
    values = [1.0] * len(labels) if trace.get("values") is None else [float(each) for each in _values(trace["values"])]
    if len(labels) == len(values):
        sums = dict.fromkeys(labels, 0.0)
        for label, value in zip(labels, values, strict=True):
            sums[label] += value
        labels, values = list(sums), list(sums.values())
    hole = float(trace.get("hole") or 0)
    axes.pie(
        values,
        labels=labels or None,
        autopct="%1.1f%%",
        colors=_CYCLE,
        wedgeprops={"width": 1 - hole} if hole else None,
    )


# --- what they have in common ---


def _arrange(traces: Sequence[dict[str, Any]], layout: Tree) -> None:
    """Give bars their place beside or upon each other, and boxes theirs in a row."""
    bars = [trace for trace in traces if _kind(trace) == "bar"]
    groups: dict[Any, list[dict[str, Any]]] = {}
    for bar in bars:
        groups.setdefault((bar.get("xaxis"), bar.get("yaxis")), []).append(bar)
    how = layout.get("barmode", "group")
    for group in groups.values():
        sums: dict[str, float] = {}
        for place, bar in enumerate(group):
            beside = len(group) if how == "group" else 1
            bar["_thick"] = 0.8 / beside
            bar["_shift"] = (place - (beside - 1) / 2) * bar["_thick"] if beside > 1 else 0.0
            x, y = _xy(bar)
            places, lengths = (y, x) if bar.get("orientation") == "h" else (x, y)
            bar["_base"] = [0.0] * len(places)
            for at, (where, length) in enumerate(zip(map(str, places), lengths, strict=False)):
                if how in ("stack", "relative"):  # also of one trace upon each other
                    bar["_base"][at] = sums.get(where, 0.0)
                    sums[where] = sums.get(where, 0.0) + float(length or 0)
    ticks: list[int] = []
    labels: list[str] = []
    for box in [trace for trace in traces if _kind(trace) in ("box", "violin")]:
        box.update(_first=len(ticks) + 1, _ticks=list(ticks), _labels=list(labels))
        names = box.get("y") if box.get("y") is not None and box.get("orientation") == "h" else box.get("x")
        values = box.get("y") if box.get("y") is not None else box.get("x")
        named = dict.fromkeys(names if names is not None and names is not values else [box.get("name") or ""])
        ticks += range(len(ticks) + 1, len(ticks) + 1 + len(named))
        labels += map(str, named)


def _xy(trace: Tree) -> tuple[Any, Any]:
    x, y = trace.get("x"), trace.get("y")
    x = range(0 if y is None else len(y)) if x is None else x
    return _values(x), _values(range(len(x)) if y is None else y)


def _values(values: Any) -> Any:
    if values is None:
        return []
    return values if isinstance(values, np.ndarray) and values.dtype != object else list(values)


def _is_numeric(values: Any) -> bool:
    return np.asarray(values).dtype.kind in "biufM"


def _named(trace: Tree) -> dict[str, str]:
    return {"label": _plain(str(trace["name"]))} if trace.get("name") and trace.get("showlegend") is not False else {}


def _main_color(trace: Tree) -> Any:
    return next(
        (part["color"] for name in ("line", "marker") if isinstance((part := trace.get(name) or {}).get("color"), str)),
        None,
    )


def _color(told: Any) -> Any:
    """As matplotlib takes it; None for what it does not know."""
    if isinstance(told, str) and (found := _RGB.fullmatch(told)):
        red, green, blue, alpha = found.groups()
        return (*(min(int(each), 255) / 255 for each in (red, green, blue)), min(float(alpha or 1), 1.0))
    return told if is_color_like(told) else None


def _shades(many: Any, one: Any) -> Any:
    """A colour for each, or one for all."""
    if many is None:
        return [one]
    if _is_numeric(many):
        numbers = np.asarray(many, float)
        low, high = np.nanmin(numbers), np.nanmax(numbers)
        return matplotlib.colormaps["plasma"]((numbers - low) / ((high - low) or 1))
    return [_color(each) or one for each in many]


def _text(title: Any) -> str:
    told = title.get("text") if isinstance(title, Mapping) else title
    return _plain(re.sub(r"<[^>]*>", " ", str(told))[:300]) if told else ""


def _plain(text: str) -> str:
    return text.replace("$", r"\$")  # else matplotlib takes what is between two of them for mathematics


_DRAWN: dict[str, Callable[[Any, Tree, Any], None]] = {
    "scatter": _scatter,
    "bar": _bar,
    "histogram": _histogram,
    "box": _box,
    "violin": _box,
    "heatmap": _heatmap,
    "histogram2d": _histogram2d,
    "contour": _contour,
    "pie": _pie,
}
