"""Data analysis: a frame goes in, a frame and a figure come out, as the objects that they are.

With a real model:   OPENAI_API_KEY=... AGEX_MODEL=openai:gpt-5-mini python examples/analysis.py
Any other server:    OPENAI_BASE_URL=http://localhost:8000/v1 AGEX_MODEL=openai:NAME python examples/analysis.py
With neither, a scripted model stands in, and says so. It needs pandas and plotly.
"""

from __future__ import annotations

import os
from dataclasses import dataclass

import pandas as pd
import plotly.graph_objects as go

import agex

SCRIPT = [
    # A look at the data first; what is printed is the model's next observation.
    "print(inputs.orders.dtypes)\nprint(inputs.orders.isna().sum())",
    "import pandas as pd\n"
    "import plotly.graph_objects as go\n"
    "orders = inputs.orders.dropna()\n"
    "orders = orders.assign(month=orders.day.dt.strftime('%Y-%m'), revenue=orders.pieces * orders.price)\n"
    "table = orders.pivot_table(index='month', columns='region', values='revenue', aggfunc='sum', fill_value=0)\n"
    "figure = go.Figure([go.Bar(name=name, x=list(table.index), y=table[name]) for name in table])\n"
    "figure.update_layout(title='Revenue by month', barmode='stack')\n"
    "task_success(Analysis(table=table, figure=figure, left_out=len(inputs.orders) - len(orders)))",
]


@dataclass
class Analysis:
    """What is handed over: a table of months and regions, a picture of it, and how many rows could not be used."""

    table: pd.DataFrame
    figure: go.Figure
    left_out: int


def orders() -> pd.DataFrame:
    days = pd.date_range("2026-01-15", periods=6, freq="14D")
    frame = pd.DataFrame({"day": days, "region": ["north", "south"] * 3, "pieces": [3, 1, 4, 1, 5, 9], "price": 2.5})
    frame.loc[3, "price"] = None
    return frame


def main() -> None:
    scripted = "AGEX_MODEL" not in os.environ
    if scripted:
        print("AGEX_MODEL is not set: the model is scripted")
    agent = agex.Agent(isolation="kernel", llm=agex.llm.Scripted(SCRIPT) if scripted else None)
    agex.helpers.register_pandas(agent)
    agex.helpers.register_plotly(agent)

    @agent.task
    def analyse(orders: pd.DataFrame) -> Analysis:
        """Revenue (pieces times price) by month (as "2026-01") and region: a table with a row a month, and a stacked bar
        chart. Leave out rows in which something is missing, and say how many."""
        raise NotImplementedError

    with agent:
        found = analyse(orders())
    print(found.table.to_csv(), end="")
    print(f"left out: {found.left_out}; figure: {found.figure.layout.title.text!r} of {len(found.figure.data)} traces")


if __name__ == "__main__":
    main()
