"""Writes docs/values.md from the table of values: `python -m tests.values.document`."""

from __future__ import annotations

from pathlib import Path

from tests.values.table import OBJECTS, REFUSALS, SECTIONS, UNDECLARABLE, Cells, ObjectRow, Row

INTRODUCTION = """# Values

What comes of a value of each declared type. This file is written by `python -m tests.values.document` from
`tests/values/table.py`, of which the tests run every cell.

- **same** is the object itself, **equal** is another one of the same type and content: dtypes, order, names, frequencies, time
  zones, the bits of a NaN.
- The four directions: an **input**; a **result**; a result **nested** in `dict[str, list[T]]`; the **argument** of a host
  function that declares the type. Where one word stands, it is that of all four.
- `process` and `kernel` are alike. What goes to a worker is pickled by your process; what comes from one is plain data and
  raw buffers, read by the type that you declared, never unpickled.
"""

OBJECTS_TITLE = """
## Objects that are not data

Each cell is one task, so an input is declared here, too. For a Handle and an Opaque the input is what such a result gave.

- **Handle** and **Opaque** are what you get in the object's place, **host handle** is what the code gets in the place of an object
  that stays in your process. Here **same** as an argument is the very object that you passed to the task, also from a worker.
- A Handle is the very object for code in its own worker, such as that of a later run of one Sandbox, and sealed for any other.
- `Plain` stands for any class that is neither a dataclass nor a model; `Desk` is registered with `runs="host"`.

| declared | value | in `none` | in `process` and `kernel` |
|---|---|---|---|
"""

NOTES = """
## What is not in the tables

- Names: `pd` pandas, `np` numpy, `npt` numpy.typing, `pa` pyarrow, `pl` polars, `go` plotly.graph_objects, `Image` PIL.Image;
  the classes stand in `tests/values/classes.py`.
- Where nothing is declared (`Any`, or no annotation), all plain data crosses, and all types of the standard library, numpy,
  pandas, pyarrow, polars, Pillow and plotly above. A subclass of a plain type crosses as what it extends there: a Counter as
  a dict, a namedtuple as a tuple. Classes and enums of your own have to be declared.
- A model is made again from its fields, so validators run again. Fields that nobody set stay unset if they are as they were by
  default. A mapping may name a field or its alias; keys that are neither are treated as the model's
  `extra` says, and are refused by a dataclass or TypedDict that says nothing of it.
- Chunks of Arrow's columns are kept up to 16, then joined. Metadata of schemas and fields does not cross, and extension types,
  unions and views are refused.
- polars: Enum and Categorical cross as columns; within lists and structs they are refused. polars starts a thread when it is imported,
  so each worker imports it when it first needs it, which takes about a quarter of a second.
- Of an image its mode, size, pixels, palette and transparency cross: an image from a file is one in memory afterwards. Metadata
  such as EXIF does not. A figure's grid for `add_trace(row=, col=)` does not cross either; what it laid out does.
- What can be done with a Handle, and what ends it: [architecture.md](architecture.md#objects-that-are-not-data).
"""


OUTCOMES = ("same", "equal", "Handle", "Opaque", "host handle")


def document() -> str:
    """The whole text."""
    parts = [INTRODUCTION]
    for title, rows in SECTIONS.items():
        parts.append(
            f"\n## {title}\n\n| declared | value | in `none` | in `process` and `kernel` |\n|---|---|---|---|\n"
        )
        parts += map(_row, rows)
    parts += [OBJECTS_TITLE, *map(_row, OBJECTS)]
    parts.append(
        "\n## What the agent is told\n\nThe same words in every isolation. What only cannot cross is accepted in `none`.\n\n"
        "| declared | value | told | in `none` |\n|---|---|---|---|\n"
    )
    for refusal in REFUSALS:
        accepted = "accepted" if refusal.accepted_in_none else "the same"
        parts.append(f"| {_code(refusal.declared)} | {_code(refusal.value)} | {_text(refusal.told)} | {accepted} |\n")
    parts.append(
        "\n## What cannot be declared\n\nIn `process` and `kernel` these are refused when the task is decorated, with "
        '`agex.Handle[T]`, `agex.Opaque[T]`, `trust="unpickle"` and `isolation="none"` named as the choices. In `none` any class '
        "may be declared.\n\n| declared | declare instead |\n|---|---|\n"
    )
    parts += [f"| {_code(each.declared)} | {_text(each.instead)} |\n" for each in UNDECLARABLE]
    return "".join([*parts, NOTES])


def _row(row: Row) -> str:
    trust = f', `trust="{row.trust}"`' if isinstance(row, ObjectRow) and row.trust else ""
    return f"| {_code(row.declared)}{trust} | {_code(row.value)} | {_cells(row.none)} | {_cells(row.apart)} |\n"


def _cells(cells: Cells) -> str:
    if len(set(cells)) == 1:
        return cells.given
    return ", ".join(
        f"{name} {_outcome(word)}" for name, word in zip(("input", "result", "nested", "argument"), cells, strict=True)
    )


def _outcome(word: str) -> str:
    """The word, or of an error its first sentence."""
    return word if word in OUTCOMES else f'refused ("{_text(word.partition(". ")[0])}")'


def _code(text: str) -> str:
    return f"`{text.replace('|', chr(92) + '|')}`"


def _text(text: str) -> str:
    return text.replace("|", "\\|").replace("<", "\\<")


if __name__ == "__main__":
    Path("docs/values.md").write_text(document(), encoding="utf-8")
