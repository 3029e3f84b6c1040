"""Whether this user can make the namespaces that a worker would have: tried in a program of its own, which then ends."""

from __future__ import annotations

import subprocess
import sys

_TIMEOUT_S = 10.0

# Each step is one that a machine may refuse: making them, mapping the user, using the privileges that come with them.
# Ubuntu's AppArmor lets the first two pass and refuses the third.
_PROGRAM = """
import ctypes, os, sys
libc = ctypes.CDLL(None, use_errno=True)
uid, gid = os.geteuid(), os.getegid()

def step(name, result):
    if result:
        sys.exit(f"{name} is refused: {os.strerror(ctypes.get_errno())}")

def write(path, text):
    try:
        with open(path, "w") as file:
            file.write(text)
    except OSError as error:
        sys.exit(f"writing {path} is refused: {error.strerror}")

# NEWNS NEWUTS NEWIPC NEWUSER NEWPID NEWNET
step("unshare", libc.unshare(0x20000 | 0x4000000 | 0x8000000 | 0x10000000 | 0x20000000 | 0x40000000))
write("/proc/self/setgroups", "deny")
write("/proc/self/uid_map", f"{uid} {uid} 1")
write("/proc/self/gid_map", f"{gid} {gid} 1")
# MS_REC | MS_PRIVATE
step("mount", libc.mount(b"none", b"/", None, 0x4000 | 0x40000, None))
step("mounting a tmpfs", libc.mount(b"tmpfs", b"/tmp", b"tmpfs", 0, None))
"""


def try_namespaces() -> str:
    """What stops this user, in the kernel's words; empty where nothing does."""
    try:
        done = subprocess.run(
            [sys.executable, "-I", "-c", _PROGRAM],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=_TIMEOUT_S,
            check=False,
        )
    except subprocess.TimeoutExpired:
        return f"trying it took more than {_TIMEOUT_S:g} s"
    if done.returncode == 0:
        return ""
    return done.stderr.strip() or f"the program that tried it ended with status {done.returncode}"
