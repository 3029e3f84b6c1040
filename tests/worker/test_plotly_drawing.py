"""What a plotly figure shows is what matplotlib draws of it."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import plotly.express as px
import plotly.graph_objects as go
import pytest
from plotly.subplots import make_subplots

from agex_worker.plotly_drawing import figure_of

FRAME = pd.DataFrame({"place": ["n", "s"] * 3, "year": [1, 1, 2, 2, 3, 3], "sold": [1.0, 2, 3, 4, 5, 6]})


def axes_of(figure: Any) -> Any:
    return figure_of(figure).axes[0]


def bars(figure: Any) -> list[tuple[float, float]]:
    """Foot and head of each."""
    return [(bar.get_y(), bar.get_y() + bar.get_height()) for bar in axes_of(figure).patches]


def test_lines_have_their_points_their_gaps_and_their_names() -> None:
    axes = axes_of(px.line(FRAME, x="year", y="sold", color="place", title="Sold"))
    assert [line.get_xydata().tolist() for line in axes.lines] == [[[1, 1], [2, 3], [3, 5]], [[1, 2], [2, 4], [3, 6]]]
    assert [text.get_text() for text in axes.get_legend().get_texts()] == ["n", "s"]
    assert (axes.get_xlabel(), axes.get_ylabel(), axes.figure._suptitle.get_text()) == ("year", "sold", "Sold")
    gap = axes_of(go.Figure(go.Scatter(y=[1, None, 3]))).lines[0].get_ydata()
    assert np.isnan(np.asarray(gap, float)[1])


def test_dollars_are_dollars() -> None:
    figure = px.line(FRAME, x="year", y="sold", title="from $5 to $6_")
    assert figure_of(figure)._suptitle.get_text() == r"from \$5 to \$6_"


def test_points_have_their_places_and_colours_by_value() -> None:
    points = axes_of(px.scatter(FRAME, x="year", y="sold", color="sold")).collections[0]
    assert points.get_offsets().tolist() == [[x, y] for x, y in zip(FRAME.year, FRAME.sold, strict=True)]
    assert len(np.unique(points.get_facecolors(), axis=0)) == 6


def test_bars_lie_upon_each_other_or_beside_each_other_as_the_figure_says() -> None:
    assert bars(px.bar(FRAME, x="place", y="sold")) == [(0, 1), (0, 2), (1, 4), (2, 6), (4, 9), (6, 12)]
    assert bars(px.bar(FRAME[:4], x="year", y="sold", color="place")) == [(0, 1), (0, 3), (1, 3), (3, 7)]
    grouped = axes_of(px.bar(FRAME[:4], x="year", y="sold", color="place", barmode="group"))
    assert [round(bar.get_x(), 3) for bar in grouped.patches] == [0.6, 1.6, 1.0, 2.0]
    lying = axes_of(px.bar(FRAME[:2], y="place", x="sold", orientation="h"))
    assert [bar.get_width() for bar in lying.patches] == [1, 2]


def test_histograms_and_pies_count_what_is_alike_together() -> None:
    assert [head for _, head in bars(px.histogram(FRAME[:5], x="place"))] == [3, 2]
    pie = axes_of(px.pie(FRAME, names="place", values="sold"))
    assert {text.get_text() for text in pie.texts} == {"n", "42.9%", "s", "57.1%"}


def test_boxes_are_one_for_each_group_with_its_name() -> None:
    for figure in (
        px.box(FRAME, x="place", y="sold"),
        px.box(FRAME, y="sold", color="place"),
        px.violin(FRAME, y="sold"),
    ):
        axes = axes_of(figure)
        names = [label.get_text() for label in axes.get_xticklabels()]
        assert names == (["n", "s"] if len(names) > 1 else [""])
        assert len(axes.patches) == len(names)


def test_fields_of_numbers_are_drawn_with_their_scale() -> None:
    z = np.arange(6.0).reshape(2, 3)
    heat, scale = figure_of(px.imshow(z)).axes
    assert heat.images[0].get_array().tolist() == z.tolist() and scale is not None
    assert len(figure_of(go.Figure(go.Contour(z=z))).axes) == 2
    assert len(figure_of(px.density_heatmap(FRAME, x="year", y="sold")).axes) == 2


def test_panels_second_axes_scales_and_lines_across() -> None:
    panels = make_subplots(rows=1, cols=2, subplot_titles=("left", "right"))
    panels.add_trace(go.Scatter(y=[1, 2]), 1, 1)
    panels.add_trace(go.Bar(x=["p"], y=[3]), 1, 2)
    drawing = figure_of(panels)
    left, right = drawing.axes
    assert left.get_position().x1 < right.get_position().x0
    assert [text.get_text() for text in drawing.texts] == ["left", "right"]
    two = make_subplots(specs=[[{"secondary_y": True}]])
    two.add_trace(go.Scatter(y=[1, 2]))
    two.add_trace(go.Scatter(y=[100, 200]), secondary_y=True)
    first, second = figure_of(two).axes
    assert first.get_position().bounds == second.get_position().bounds
    lines = px.line(FRAME, x="year", y="sold", log_y=True)
    lines.add_hline(y=3)
    axes = axes_of(lines)
    assert axes.get_yscale() == "log" and axes.lines[-1].get_ydata() == [3, 3]


@pytest.mark.parametrize("trace", [go.Sankey(), go.Scatter3d(x=[1], y=[1], z=[1]), go.Candlestick()])
def test_what_is_not_drawn_is_refused_by_its_name(trace: Any) -> None:
    with pytest.raises(TypeError, match=f"and not {trace.type}; draw the same with matplotlib"):
        figure_of(go.Figure(trace))


def test_a_trace_that_is_hidden_is_not_seen_and_a_figure_of_nothing_is_empty() -> None:
    assert figure_of(go.Figure(go.Scatter(y=[1], visible="legendonly"))).axes == []
    assert figure_of(go.Figure()).axes == []
