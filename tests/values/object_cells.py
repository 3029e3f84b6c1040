"""Runs the rows of objects that are not data: each cell is a task, because it is tasks that declare what goes in."""

from __future__ import annotations

from collections.abc import Callable
from types import FunctionType
from typing import Any

import agex
from agex.llm import Scripted
from tests.values import classes, fingerprint
from tests.values.classes import Desk
from tests.values.fingerprint import HELD
from tests.values.names import made
from tests.values.table import Cells, ObjectRow

_LOOK = (
    "import tests.values.fingerprint as look\n"
    "task_success([look.is_held(inputs.x), look.stands_for_one_here(inputs.x), look.fingerprint(inputs.x)])"
)


class ObjectCellar:
    """The tasks of one isolation."""

    def __init__(self, isolation: str) -> None:
        self.isolation = isolation
        self._pool = agex.Pool(max_workers=8, spares=0)
        policy = {"results": {"trust_unpickle": True}, "widen": ["results.trust_unpickle"]}
        self._policy = agex.Policy.load("dataframes").extend(policy)

    def close(self) -> None:
        self._pool.close()

    def cells(self, row: ObjectRow) -> Cells:
        """What comes of the row's value in each direction."""
        value, declared = made(row.value), made(row.declared)
        HELD[:] = [value]
        noted: list[Any] = []

        def take(value: Any) -> None:
            noted.append(value)

        take.__annotations__ = {"value": declared, "return": None}
        back = self._run(Any, declared, "task_success(inputs.x)", value, trust=row.trust)
        nested = dict[str, list[declared]]  # type: ignore[valid-type]  # made of the table
        inner = self._run(Any, nested, "task_success({'k': [inputs.x]})", value, trust=row.trust)
        refused = self._run(Any, None, "take(inputs.x)\ntask_success(None)", value, host=take)
        cells = Cells(
            self._given(declared, back if isinstance(back, agex.Handle | agex.Opaque) else value, value),
            self._like(back, value),
            inner if isinstance(inner, str) else self._like(inner["k"][0], value),
            refused or self._like(noted[0], value),
        )
        for each in (back, *noted, *(inner["k"] if isinstance(inner, dict) else [])):
            if isinstance(each, agex.Handle):
                each.close()
        return cells

    def _given(self, declared: Any, goes: object, value: object) -> str:
        seen = self._run(declared, list[bool | str], _LOOK, goes)
        if isinstance(seen, str):
            return seen
        held, stands, text = seen
        if stands:
            return "host handle"
        return "same" if held and self.isolation == "none" else fingerprint.outcome(text, value)

    def _run(
        self,
        given: Any,
        returns: Any,
        code: str,
        value: object,
        *,
        trust: str | None = None,
        host: Callable[..., Any] | None = None,
    ) -> Any:
        """The task's value, or the words with which something of it is refused."""
        model = Scripted([code, "task_fail('refused')"])
        agent = agex.Agent(llm=model, isolation=self.isolation, policy=self._policy, pool=self._pool)
        agent.module(classes)
        agent.module(fingerprint)
        agent.cls(Desk, runs="host")
        if host is not None:
            agent.fn(host)

        def do(x: Any) -> Any:
            """Do."""
            raise NotImplementedError

        do.__annotations__ = {"x": given, "return": returns}
        try:
            outcome = agent.task(trust=trust)(do).run(value)
        except agex.ContractError as error:
            return str(error)
        if outcome.status == "success":
            return outcome.value
        (told,) = model.requests[1].messages[-1].texts
        return told.splitlines()[-1].partition(": ")[2]

    def _like(self, back: object, value: Any) -> str:
        match back:
            case str():
                return back
            case agex.Handle() if isinstance(value, FunctionType):
                return "Handle" if back(21) == value(21) else f"a Handle that gives {back(21)}"
            case agex.Handle():
                return "Handle" if repr(back) == f"<Handle of {type(value).__name__}: {value!r}>" else repr(back)
            case agex.Opaque():
                return "Opaque" if (back.type, back.repr) == (type(value).__name__, repr(value)) else repr(back)
            case _:
                # The object itself comes back where nothing crosses, and where it never left.
                return "same" if back is value else fingerprint.outcome(fingerprint.fingerprint(back), value)
