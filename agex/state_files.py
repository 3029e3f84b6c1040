"""The files of a session, read and written by the application. What is written, the agent finds in its workspace."""

from __future__ import annotations

from collections.abc import Collection

from agex.errors import StateError
from agex_protocol.messages import FOLDERS_DEEP
from agex_supervisor.display import display
from agex_supervisor.events import FileEvent
from agex_supervisor.path_pattern import like
from agex_supervisor.session_store import SessionStore
from agex_supervisor.stored_paths import folders_of, why_unfit


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
        _require_fit(path)
        self._store.refresh()
        there = self._store.files(self._store.base)
        _require_room(path, there)
        is_there = path in there
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
        fits = like(pattern)
        return [path for path in self._store.files(self._commit) if fits(path)]

    def list(self, folder: str = "") -> list[str]:
        """The paths of all files below a folder, or of all that there are, sorted."""
        folder = folder.removeprefix("./").rstrip("/")
        above = "" if folder in ("", ".") else f"{folder}/"
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


def _require_fit(path: object) -> None:
    """StateError for a path that no workspace could have; TypeError for what is no text."""
    if not isinstance(path, str):
        raise TypeError(f"a path is a str, relative to the workspace, not {type(path).__name__}")
    if (fault := why_unfit(path)) is not None:
        raise StateError(f"the file {_plain(path)} cannot be stored: {fault}")
    if path.count("/") > FOLDERS_DEEP:
        raise StateError(
            f"the file {_plain(path)} cannot be stored: more than {FOLDERS_DEEP} folders within one another"
        )


def _require_room(path: str, there: Collection[str]) -> None:
    """StateError where other files would have to go for this one."""
    for folder in folders_of(path):
        if folder in there:
            raise StateError(f"the file {_plain(path)} cannot be stored: {_shown(folder)} is a file; remove() it first")
    if any(each.startswith(f"{path}/") for each in there):
        raise StateError(f"the file {_plain(path)} cannot be stored: a folder with files has that name")


def _shown(path: str) -> str:
    return f"'{_plain(path)}'"


def _plain(path: str) -> str:
    return display(path, limit=200, one_line=True)
