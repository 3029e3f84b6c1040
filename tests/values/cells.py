"""Runs the cells of the table of values, in one sandbox for each isolation."""

from __future__ import annotations

from typing import Any

from agex import ContractError, Sandbox, SandboxOutcome
from tests.values import fingerprint
from tests.values.fingerprint import HELD
from tests.values.names import made
from tests.values.table import SECTIONS, Cells, Refusal, Row

ROWS = [row for rows in SECTIONS.values() for row in rows]
MODULES = ["numpy", "pandas", "pyarrow", "polars", "PIL.Image", "plotly.graph_objects", "tests.values.classes"]


class Cellar:
    """One sandbox; it holds a host function for each row, which notes what it is given."""

    def __init__(self, isolation: str) -> None:
        self.isolation = isolation
        self._noted: list[Any] = []
        functions = {f"take_{place}": self._taker(row.declared) for place, row in enumerate(ROWS)}
        modules = [*MODULES, "tests.values.fingerprint"]
        self._sandbox = Sandbox(isolation=isolation, policy="dataframes", modules=modules, functions=functions)

    def close(self) -> None:
        self._sandbox.close()

    def cells(self, row: Row) -> Cells:
        """What comes of the row's value in each direction."""
        value, declared = made(row.value), made(row.declared)
        HELD[:] = [value]
        return Cells(
            self._given(value),
            self._compared(self._run("x", value, declared), value),
            self._compared(self._run("{'k': [x]}", value, dict[str, list[declared]]), value, lambda out: out["k"][0]),  # type: ignore[valid-type]  # made of the table
            self._argument(row, value),
        )

    def told(self, refusal: Refusal) -> str:
        """The words with which a value is refused, "" where it is accepted."""
        outcome = self._run("x", made(refusal.value), made(refusal.declared))
        return "" if outcome.error is None else outcome.error.message

    def told_at_once(self, declared: str) -> str:
        """The words with which a declared type is refused before anything runs, "" where it is accepted."""
        try:
            self._run("1", None, made(declared))
        except ContractError as error:
            return str(error)
        return ""

    def _given(self, value: object) -> str:
        code = "import tests.values.fingerprint as look\n[look.is_held(x), look.fingerprint(x)]"
        held, seen = self._run(code, value, list[bool | str]).unwrap()
        return "same" if held and self.isolation == "none" else fingerprint.outcome(seen, value)

    def _argument(self, row: Row, value: object) -> str:
        self._noted.clear()
        outcome = self._run(f"take_{ROWS.index(row)}(x)", value, None)
        if outcome.error is not None:
            return outcome.error.message
        (noted,) = self._noted
        return self._like(noted, value)

    def _compared(self, outcome: SandboxOutcome, value: object, part: Any = lambda out: out) -> str:
        return outcome.error.message if outcome.error is not None else self._like(part(outcome.value), value)

    def _like(self, back: object, value: object) -> str:
        # Small ints and the like are one object in every process, however they came there.
        return (
            "same"
            if back is value and self.isolation == "none"
            else fingerprint.outcome(fingerprint.fingerprint(back), value)
        )

    def _run(self, code: str, value: object, returns: Any) -> SandboxOutcome:
        return self._sandbox.run(code, inputs={"x": value}, returns=returns)

    def _taker(self, declared: str) -> Any:
        def take(value: Any) -> None:
            self._noted.append(value)

        take.__annotations__ = {"value": made(declared), "return": None}
        return take
