"""agex demo: a typed task over a CSV of orders, a scripted model over real HTTP, pandas in a kernel-locked worker.

The model is a script: what it "writes" is fixed below, mistakes included, so that the loop can be seen without a key.
Everything else is real: the HTTP server and client, the worker and its lockdown, the code that runs, the result.
"""

from __future__ import annotations

from importlib.resources import files
from typing import Any

from pydantic import BaseModel

from agex.agent import Agent
from agex.doctor import layer_table, report_table
from agex.errors import ConfigurationError
from agex.llm import OpenAI, scripted_server
from agex_supervisor.display import display
from agex_supervisor.events import ActionEvent, Event, OutputEvent
from agex_supervisor.model import PythonAction


class Region(BaseModel):
    """One region's share of the revenue."""

    region: str
    orders: int
    revenue: float


SCRIPT = [
    # The first turn looks at the data, and trips over a column that is not there.
    "print(inputs.orders.head(3))\nprint(inputs.orders['revenue'].sum())",
    # The second has read the traceback; its result is of the wrong type.
    "orders = inputs.orders.assign(revenue=inputs.orders['quantity'] * inputs.orders['unit_price'])\n"
    "by_region = orders.groupby('region')['revenue'].agg(['count', 'sum']).sort_values('sum', ascending=False)\n"
    "print(by_region)\n"
    "task_success(by_region)",
    # The third gives what the contract asks for.
    "orders = inputs.orders.assign(revenue=inputs.orders['quantity'] * inputs.orders['unit_price'])\n"
    "by_region = orders.groupby('region')['revenue'].agg(['count', 'sum']).sort_values('sum', ascending=False)\n"
    "task_success([\n"
    "    Region(region=name, orders=int(row['count']), revenue=round(float(row['sum']), 2))\n"
    "    for name, row in by_region.head(inputs.top).iterrows()\n"
    "])",
]


def show() -> None:
    """Run it and print what happens. ConfigurationError where pandas is missing, IsolationUnavailable where the kernel is."""
    try:
        import pandas as pd
    except ImportError as error:
        raise ConfigurationError("the demo needs pandas: pip install 'agex-kernel[demo]'") from error
    from rich.console import Console
    from rich.markup import escape

    console = Console(highlight=False)
    frame = pd.read_csv(str(files("agex.demo") / "orders.csv"))
    console.print(f"[bold]agex demo[/]: {len(frame)} orders, one typed task, code in a kernel-locked worker.")
    console.print("[yellow]The model is SCRIPTED: it is no AI, its three answers are fixed. All else is real.[/]\n")

    def follow(event: Event) -> None:
        match event:
            case ActionEvent(number=number, action=PythonAction(code)):
                console.print(f"[bold cyan]action {number}: the model wrote[/]")
                console.print(escape(display(code, limit=3000)) + "\n")
            case OutputEvent(text=text):
                console.print("[bold cyan]it observed[/]")
                console.print(escape(display(text, limit=3000)) + "\n")
            case _:
                pass

    with scripted_server(SCRIPT) as url:
        agent = Agent(name="demo", llm=OpenAI("scripted", base_url=url, api_key="none"), isolation="kernel")
        agent.module(pd)

        @agent.task
        def best_regions(orders: pd.DataFrame, top: int) -> list[Region]:
            """Compute the revenue of each region and return the `top` largest, best first."""
            raise NotImplementedError

        outcome = best_regions.with_options(on_event=follow).run(frame, 3)
        agent.close()
    regions: list[Any] = outcome.unwrap()
    console.print("[bold green]the validated result, as real objects[/]")
    for region in regions:
        console.print(escape(repr(region)))
    console.print()
    console.print(report_table(outcome.lockdown))
    console.print(layer_table(outcome.lockdown))
    console.print(
        f"\nmodel over HTTP at {escape(str(url))} (scripted), {outcome.usage.input_tokens} tokens in (counted by it)."
    )
