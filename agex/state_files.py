"""The files of a session, read and written by the application. What is written, the agent finds in its workspace."""

from __future__ import annotations

import re

from agex.errors import StateError
from agex_supervisor.display import display
from agex_supervisor.events import FileEvent
from agex_supervisor.session_store import SessionStore


class StateFiles:
    """Paths are relative to the workspace, as the agent sees them. Contents are bytes, chosen by whoever wrote them."""

    def __init__(self, store: SessionStore, commit: str | None = None) -> None:
        self._store = store
        self._commit = commit

    def read(self, path: str) -> bytes:
        """A file's content. StateError if there is no such file."""
        try:
            return self._store.files(self._commit)[path]
        except KeyError:
            raise StateError(f"there is no file {_shown(path)} in session {self._store.session!r}") from None

    def write(self, path: str, content: bytes | str) -> None:
        """Make a file, or write it anew, in a commit of its own with an event that the agent sees. Text becomes UTF-8."""
        data = content.encode() if isinstance(content, str) else content
        self._require_writable()
        self._store.refresh()
        is_there = path in self._store.files(self._store.base)
        added, modified = ((), (path,)) if is_there else ((path,), ())
        event = FileEvent(session=self._store.session, source="user", added=added, modified=modified)
        self._store.commit(files={path: data}, events=[event.to_json()], message=f"write {path}")

    def remove(self, path: str) -> None:
        """Remove a file, likewise. StateError if there is no such file."""
        self._require_writable()
        self._store.refresh()
        if path not in self._store.files(self._store.base):
            raise StateError(f"there is no file {_shown(path)} in session {self._store.session!r}")
        event = FileEvent(session=self._store.session, source="user", removed=(path,))
        self._store.commit(removed=[path], events=[event.to_json()], message=f"remove {path}")

    def glob(self, pattern: str) -> list[str]:
        """The paths that a pattern fits, sorted: `*` and `?` within a name, `**` for any folders: "reports/**/*.csv"."""
        fits = re.compile(_regular(pattern), re.DOTALL).fullmatch
        return [path for path in self._store.files(self._commit) if fits(path)]

    def list(self, folder: str = "") -> list[str]:
        """The paths of all files below a folder, or of all that there are, sorted."""
        above = f"{folder.rstrip('/')}/" if folder.rstrip("/") else ""
        return [path for path in self._store.files(self._commit) if path.startswith(above)]

    def __contains__(self, path: object) -> bool:
        return path in self._store.files(self._commit)

    def __repr__(self) -> str:
        return f"<StateFiles of session {self._store.session!r}>"

    def _require_writable(self) -> None:
        require_writable(self._commit)


def require_writable(commit: str | None) -> None:
    """StateError for what stands at one commit."""
    if commit is not None:
        raise StateError(f"the state at commit {commit} is past and cannot be changed; fork() it to go on from there")


def _regular(pattern: str) -> str:
    pieces = re.split(r"(\*\*/|\*\*|\*|\?)", pattern)
    special = {"**/": r"(?:[^/]+/)*", "**": r".*", "*": r"[^/]*", "?": r"[^/]"}
    return "".join(special.get(piece) or re.escape(piece) for piece in pieces)


def _shown(path: str) -> str:
    return f"'{display(path, limit=200, one_line=True)}'"
