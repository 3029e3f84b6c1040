"""One attack in a file: a header of `# ax-` lines, then Python, perhaps in two parts for two tenants."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

HERE = Path(__file__).parent
FOLDERS = (HERE / "payloads", HERE / "own")
SECOND_TENANT = "# ---TASK2---"

# These ask for one call into C, or one value, without an end; `none` ends code between two of its bytecodes only.
BOMBS = frozenset(
    {
        "L1-74-c-call-hang",
        "L1-75-regex-hang",
        "L1-76-mem-bomb",
        "L1-77-deep-recursion",
        "L1-78-stdout-flood",
        "L1-79-result-bomb-repr",
    }
)

# Said here, because these files are kept as they came. Without a file system of a fixed size, the watch may look too late.
NEEDS = {"L2-155-res-disk-manyfiles": "namespaces"}


@dataclass(frozen=True)
class Payload:
    """level: "L1" attacks the inner sandbox, "L2" has native Python. needs: a layer without which nothing stops it."""

    id: str
    level: str
    category: str
    needs: str
    tasks: tuple[str, ...]

    @property
    def only_the_second_speaks(self) -> bool:
        """Whether a marker counts in the second tenant's output alone: the first prints it to itself."""
        return self.category == "cross-task"


def read_all() -> dict[str, Payload]:
    """Every payload by its id, in the order of ids."""
    found = [_read(path) for folder in FOLDERS for path in sorted(folder.glob("*.py"))]
    return {payload.id: payload for payload in found}


def _read(path: Path) -> Payload:
    text = path.read_text(encoding="utf-8")
    header = dict(re.findall(r"^# ax-([a-z]+): (.*)$", text, re.MULTILINE))
    assert header["id"] == path.stem, f"{path.name} says that it is {header['id']}"
    return Payload(
        id=header["id"],
        level=header["layer"].split()[0],
        category=header["class"],
        needs=header.get("needs", NEEDS.get(path.stem, "")),
        tasks=tuple(text.split(SECOND_TENANT)),
    )
