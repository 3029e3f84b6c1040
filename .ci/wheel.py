"""Checks a built wheel: only our five packages at its top level, and that it installs beside PyPI's `supervisor`."""

from __future__ import annotations

import subprocess
import sys
import venv
import zipfile
from pathlib import Path

PACKAGES = {"agex", "agex_policies", "agex_protocol", "agex_supervisor", "agex_worker"}


def main(wheel: Path, place: Path) -> None:
    names = {name.split("/", 1)[0] for name in zipfile.ZipFile(wheel).namelist()}
    top = {name for name in names if not name.endswith(".dist-info")}
    if top != PACKAGES:
        raise SystemExit(f"the wheel's top level is {sorted(top)}, not {sorted(PACKAGES)}")
    venv.create(place, with_pip=True)
    python = place / "bin" / "python"
    # supervisord still imports pkg_resources, which setuptools had until version 80.
    install = [python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    subprocess.run([*install, "supervisor", "setuptools<80", str(wheel)], check=True)
    both = "import supervisor.supervisord, agex, agex_supervisor, agex_worker; print(agex.__file__)"
    subprocess.run([python, "-W", "ignore", "-I", "-c", both], check=True, cwd=place)
    subprocess.run([place / "bin" / "agex", "policy", "list"], check=True, cwd=place)


main(Path(sys.argv[1]).resolve(), Path(sys.argv[2]))
