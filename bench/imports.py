"""What `import agex` costs beside `import pydantic`, which it cannot do without. Whole processes, interleaved.

Names are imported when they are first used, so the second line of a program pays what `import agex` did not.

    python bench/imports.py [ROUNDS]
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable

from timing import interleaved, show


def importing(statement: str) -> Callable[[], None]:
    return lambda: subprocess.run([sys.executable, "-c", statement], check=True) and None


def main(rounds: int) -> None:
    tasks = {
        "python -c pass": importing("pass"),
        "python -c 'import pydantic'": importing("import pydantic"),
        "python -c 'import agex'": importing("import agex"),
        "python -c 'from agex import Agent'": importing("from agex import Agent"),
    }
    show("import time, whole process", interleaved(rounds, tasks), "python -c 'import pydantic'")


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 15)
