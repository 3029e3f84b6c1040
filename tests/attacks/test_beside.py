"""What lies beside a registered package of the application, and was never imported, stays unreadable in every way."""

from __future__ import annotations

import json
import os
import secrets
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from tests.nobody import need_nobody

# Ways to a file by its path, and to a module by its name; `found` is what any of them gave.
LOOK = """
import ctypes, importlib, importlib.util, io, linecache, os, pkgutil, runpy, sys
import own_app
found = []
def attempt(look):
    try:
        found.append(repr(look()))
    except BaseException as error:
        found.append(type(error).__name__)
libc = ctypes.CDLL(None)
def natively(path):
    data = ctypes.create_string_buffer(200)
    libc.read(libc.open(path.encode(), 0), data, 200)
    return data.raw
paths = [f'{folder}/{name}' for name in ('.env', 'secrets.py', 'own_app/.env', 'own_app/secrets.py')]
for path in [*paths, *(os.path.relpath(path) for path in paths), *(folder + '/own_app/../' + name for name in ('.env', 'secrets.py'))]:
    for look in (lambda: open(path).read(), lambda: io.FileIO(path).read(), lambda: linecache.getlines(path), lambda: natively(path),
                 lambda: os.listdir(os.path.dirname(path)), lambda: runpy.run_path(path)):
        attempt(look)
    attempt(lambda: os.symlink(path, 'link') or open('link').read())
    attempt(lambda: os.unlink('link'))
    attempt(lambda: os.link(path, 'hard') or open('hard').read())
for look in (lambda: pkgutil.get_data('own_app', 'secrets.py'), lambda: pkgutil.get_data('own_app', '.env'),
             lambda: vars(importlib.import_module('own_app.secrets')), lambda: vars(importlib.import_module('own_secrets')),
             lambda: importlib.util.find_spec('own_app.secrets').loader.get_source('own_app.secrets'),
             lambda: sys.path.insert(0, folder) or vars(importlib.import_module('own_secrets'))):
    attempt(look)
print(own_app.VALUE)
print(found)
"""

HOST = """
import json, sys
folder, isolation, namespaces, look = sys.argv[1:]
sys.path.append(folder)  # last: a module called `secrets` lies there
import agex
policy = agex.Policy.load("full-python")
if namespaces == "off":
    policy = policy.extend({"widen": ["isolation.namespaces"], "isolation": {"namespaces": "off"}})
with agex.Sandbox(isolation, policy, modules=["own_app"]) as sandbox:
    outcome = sandbox.run(look, {"folder": folder})
print(json.dumps([outcome.status, outcome.stdout, outcome.stderr, str(outcome.error)]))
"""


@pytest.mark.parametrize("namespaces", ["auto", "off"])
@pytest.mark.parametrize("user", ["same user", "nobody"])
def test_an_env_file_and_an_unimported_module_stay_unreadable(user: str, namespaces: str) -> None:
    status, stdout, shown, secret = _look("kernel", user, namespaces)

    assert (status, stdout.splitlines()[0]) == ("ok", "imported"), shown
    assert secret not in shown


def test_the_same_looks_find_them_where_no_layer_stands() -> None:
    status, _, shown, secret = _look("process", "same user", "off")

    assert status == "ok", shown
    assert shown.count(secret) > 10


def _look(isolation: str, user: str, namespaces: str) -> tuple[str, str, str, str]:
    """Status, what was printed, all that was told, and the secret that must not be in it."""
    number = need_nobody() if user == "nobody" else None
    with tempfile.TemporaryDirectory(prefix="application-") as place:
        secret = _application(Path(place))
        for path in (Path(place), *Path(place).rglob("*")):
            os.chown(path, number or -1, number or -1)
        finished = subprocess.run(
            [sys.executable, "-c", HOST, place, isolation, namespaces, LOOK],
            env={
                "PATH": os.environ["PATH"],
                "HOME": place,
                "PYTHONPATH": os.pathsep.join(path for path in sys.path if path),
                "PYTHONDONTWRITEBYTECODE": "1",
            },
            cwd="/",
            user=number,
            group=number,
            extra_groups=None if number is None else [],
            capture_output=True,
            text=True,
            timeout=120,
        )
    assert finished.returncode == 0, finished.stderr
    status, stdout, stderr, error = json.loads(finished.stdout)
    return status, stdout, f"{stdout}{stderr}{error}", secret


def _application(folder: Path) -> str:
    secret = f"sk-{secrets.token_hex(12)}"
    (folder / "own_app").mkdir()
    for name in (".env", "secrets.py", "own_secrets.py", "own_app/.env", "own_app/secrets.py"):
        (folder / name).write_text(f"KEY = '{secret}'\n")
    (folder / "own_app" / "__init__.py").write_text("VALUE = 'imported'\n")
    return secret
