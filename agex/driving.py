"""A call of a task from its beginning to its end, in code that waits and in code that awaits."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from agex.outcome import TaskOutcome
from agex_supervisor.bridge import on_thread
from agex_supervisor.drive import adrive, drive
from agex_supervisor.loop import loop
from agex_supervisor.seats import lending

if TYPE_CHECKING:
    from agex.call import Call


def run(call: Call) -> TaskOutcome:
    """How it ended; raises only for what the caller or the machine lacks."""
    with call, lending(call):
        call.begin()
        return call.end(call.early or drive(loop(call.brief, call.budget), call))


async def arun(call: Call) -> TaskOutcome:
    """The same, awaited."""
    try:
        await on_thread(call.__enter__, call.cancel)
        with lending(call):
            await call.abegin()
            return await call.aend(call.early or await adrive(loop(call.brief, call.budget), call))
    finally:
        await on_thread(call.__exit__)


async def avalue(call: Call) -> Any:
    """The value, or the error for which there is none, awaited."""
    return (await arun(call)).unwrap()
