"""SessionStore: one session's versions. A commit has files, cache entries and events together, or is not there at all.

Each has one parent. Who commits on top of something that another process has committed meanwhile has its own change put on
top of that: both logs are kept, in the order of the commits; files and entries are taken from whoever changed them; where
both changed the same one, the later commit stands, says so in an event, and the other's version stays in the history.
"""

from __future__ import annotations

import random
import re
import threading
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from agex_supervisor.display import display
from agex_supervisor.errors import StateError
from agex_supervisor.events import NoteEvent
from agex_supervisor.state_change import CACHE, FILE, StateChange, state_change
from agex_supervisor.state_store import StateStore
from agex_supervisor.stored_entries import StoredEntries
from agex_supervisor.stored_paths import folders_of
from agex_supervisor.versions import Changes, Commit, Diff, StoredEvent

if TYPE_CHECKING:
    from kvgit import Commit as Record
    from kvgit import Worktree

COMMIT_HASH = re.compile(r"[0-9a-f]{40}")

# On a server, somebody else may be faster again and again; elsewhere one attempt is enough.
_ATTEMPTS = 50
_UNREADABLE = 10
_NAMED = 10


class SessionStore:
    """Safe to use from many threads. `base` is what the next commit builds on: the head when this was made, or the last
    commit made here; `refresh()` takes the head of now."""

    def __init__(self, store: StateStore, session: str) -> None:
        self.store = store
        self.session = session
        self._lock = threading.RLock()
        self._tree: Worktree | None = None
        self._folders: set[str] | None = None
        self._log: tuple[str, list[StoredEvent]] | None = None
        self._own: set[str] = set()  # known to be of this session, with none between them left out
        self._below: str | None = None  # the first that is not known
        self._base = self.head

    # --- where it stands ---

    @property
    def head(self) -> str | None:
        """The newest commit, whoever made it; None before the first."""
        for attempt in range(_UNREADABLE + 1):
            try:
                with self.store.reading(self.session):
                    return _unless_root(self.store.repo.branches.get(self.session))
            except StateError as error:
                if attempt == _UNREADABLE or not _is_unreadable(error):
                    raise
            time.sleep(0.002 * attempt)
        raise AssertionError

    @property
    def base(self) -> str | None:
        return self._base

    def refresh(self) -> str | None:
        """Build the next commit on the head of now, which is returned."""
        with self._lock:
            self._base = self.head
            return self._base

    def begin(self) -> None:
        """Build the next commit on nothing: what is there by then, somebody else has made."""
        with self._lock:
            self._base = None

    # --- a new version ---

    def commit(
        self,
        *,
        files: Mapping[str, bytes] | None = None,
        removed: Iterable[str] = (),
        cache: Mapping[str, bytes | None] | None = None,
        events: Sequence[str] = (),
        message: str = "",
        note: NoteEvent | None = None,
    ) -> str:
        """Store what changed since `base`, and return the hash of the new commit. StateError: nothing was stored.

        files: new contents by path. cache: new entries by key, None for one that is gone. events: each as JSON text. note:
        what is stored beside them, with words of its own, where somebody else changed the same.
        """
        change = state_change(files or {}, removed, cache or {}, events, message)
        change = replace(change, note=note or NoteEvent(session=self.session, message=""))
        with self._lock:
            try:
                self._base = self._committed(change)
            except BaseException:
                # kvgit's picture of the branch may be ahead of the store.
                self._tree = None
                raise
            return self._base

    # --- what versions hold; `commit` of None is the head ---

    def files(self, commit: str | None = None) -> Mapping[str, bytes]:
        return StoredEntries(self.store, self._at(commit), FILE)

    def cache(self, commit: str | None = None) -> Mapping[str, bytes]:
        return StoredEntries(self.store, self._at(commit), CACHE)

    def events(self, commit: str | None = None) -> list[StoredEvent]:
        """All events up to a commit, oldest first."""
        target = self._at(commit)
        if target is None:
            return []
        with self._lock:
            known, before = self._log or ("", [])
            found: list[StoredEvent] = []
            for record in self._records(target):
                if record.hash == known:
                    break
                found += reversed([StoredEvent(text, record.hash) for text in _said(record)[1]])
            else:
                before = []
            events = [*before, *reversed(found)]
            self._log = target, events
            return list(events)

    def said(self, commit: str) -> list[str]:
        """The events that a commit brought itself, as JSON texts."""
        return _said(next(self._records(commit)))[1]

    def history(self, commit: str | None = None) -> list[Commit]:
        """The commits up to one, newest first."""
        target = self._at(commit)
        return [] if target is None else [_commit(record) for record in self._records(target)]

    def require(self, commit: str) -> None:
        """StateError unless the commit is one of this session: up to where it stands, also from before it was forked."""
        self._at(commit)
        with self._lock:
            if commit not in self._own and not self._is_found(commit):
                raise StateError(
                    f"session {self.session!r} of {self.store.name} has no commit {commit}, or no more; an event's `session`"
                    " says whose its commit is"
                )

    def _is_found(self, commit: str) -> bool:
        """Look among those that are not known to be of this session: what is new on top, and then what lies below."""
        if not self._own:
            self._below = self.head
        for record in self._records(self.head) if self._own else ():
            if record.hash in self._own:
                break
            self._own.add(record.hash)
        if commit in self._own:
            return True
        for record in self._records(self._below):
            self._own.add(record.hash)
            self._below = _commit(record).parent
            if record.hash == commit:
                return True
        return False

    def resolve(self, prefix: str) -> str:
        """The one commit of this session whose hash begins so, with six characters or more."""
        if COMMIT_HASH.fullmatch(prefix):
            return prefix
        found = [record.hash for record in self.history() if record.hash.startswith(prefix)] if len(prefix) >= 6 else []
        if len(found) != 1:
            shown = display(prefix, limit=80, one_line=True)
            how = "no commit" if not found else f"{len(found)} commits"
            raise StateError(
                f"{how} of session {self.session!r} begins with '{shown}'; give six characters of one, or more"
            )
        return found[0]

    def diff(self, a: str, b: str) -> Diff:
        """What changes from one commit to another."""
        first, second = self._at(a), self._at(b)
        assert first is not None and second is not None
        with self.store.reading():
            found = self.store.repo.diff(first, second)
        return Diff(
            Changes(*(_names(part, FILE) for part in (found.added, found.removed, found.modified))),
            Changes(*(_names(part, CACHE) for part in (found.added, found.removed, found.modified))),
        )

    def fork(self, commit: str, session: str) -> SessionStore:
        """A new session that begins at a commit. StateError if there is one of that name."""
        made = self.store.session(session)
        at = self._at(commit)
        with self.store.writing(session):
            self.store.repo.branches.create(session, at)
        made.refresh()
        return made

    def parent(self, commit: str) -> str | None:
        """The commit before this one; None for the first."""
        return _commit(next(self._records(commit))).parent

    def collect(self) -> int:
        """`StateStore.collect`: of all sessions."""
        return self.store.collect()

    # --- within ---

    def _at(self, commit: str | None) -> str | None:
        if commit is None:
            return self.head
        if not COMMIT_HASH.fullmatch(commit):
            raise StateError(
                f"'{display(commit, limit=80, one_line=True)}' is no hash of a commit, which is 40 of 0-9 a-f"
            )
        return commit

    def _records(self, commit: str | None) -> Iterator[Record]:
        """The commits up to one, newest first, without the empty one that kvgit begins with."""
        from kvgit import ROOT_COMMIT

        if commit is None:
            return
        with self.store.reading():
            for record in self.store.repo.log(commit=commit, first_parent=True):
                if record.hash == ROOT_COMMIT:
                    return
                _check(record)  # here, where damage is told
                yield record

    def _committed(self, change: StateChange) -> str:
        from kvgit import BranchMovedError

        unreadable = 0
        for attempt in range(_ATTEMPTS):
            if attempt:
                time.sleep(random.uniform(0, 0.002 * attempt))
            try:
                with self.store.writing(self.session):
                    return self._attempted(change)
            except StateError as error:
                self._tree = None
                unreadable += _is_unreadable(error)
                if unreadable > _UNREADABLE or not (
                    isinstance(error.__cause__, BranchMovedError) or _is_unreadable(error)
                ):
                    raise
        raise StateError(f"session {self.session!r} of {self.store.name}: others commit to it all the time; try again")

    def _attempted(self, change: StateChange) -> str:
        from kvgit import ROOT_COMMIT, BranchMovedError

        base = self._base or ROOT_COMMIT
        tree = self._tree
        if tree is None or tree.head != base:
            tree = self._tree = self._newest()
        if tree.head == base:
            try:
                return self._published(tree, change)
            except BranchMovedError:
                tree = self._tree = self._newest()
        stored = self._stored_already(change, base, tree.head)
        return stored or self._published(tree, self._on_top(change, base, tree.head))

    def _stored_already(self, change: StateChange, base: str, head: str) -> str | None:
        """The commit of this very change, whose answer a server that died still owes. An event is stored once."""
        for record in self._records(head) if change.events else ():
            if record.hash == base:
                break
            if set(change.events).issubset(_said(record)[1]) and not self._differing(change, change.keys, record.hash):
                return record.hash
        return None

    def _differing(self, change: StateChange, keys: Iterable[str], commit: str) -> list[str]:
        """Of these keys, those that a commit holds otherwise than the change has them."""
        named = sorted(keys)
        now = self.store.repo.snapshot(commit=commit).get_many(*named) if named else {}
        return [key for key in named if change.written.get(key) != now.get(key)]

    def _newest(self) -> Worktree:
        self._folders = None
        # A session that was removed is not made again by somebody who still writes to it.
        return self.store.repo.worktree(self.session, create=self._base is None)

    def _published(self, tree: Worktree, change: StateChange) -> str:
        removed = change.removed | self._in_the_way(tree, change)
        for key, value in change.written.items():
            tree[key] = value
        for key in removed:
            if key in tree:
                del tree[key]
        said = {"message": change.message, "events": list(change.events)}
        commit = tree.commit(info=said, on_moved="raise").commit
        assert commit is not None
        return commit

    def _on_top(self, change: StateChange, base: str, head: str) -> StateChange:
        """The change as it is on top of what others did since `base`: with an event for what both changed."""
        theirs = self.store.repo.diff(base, head)
        both = self._differing(change, change.keys & (theirs.added | theirs.removed | theirs.modified), head)
        if not both:
            return change
        named = ", ".join(_named(key) for key in both[:_NAMED])
        more = f" and {len(both) - _NAMED} more" if len(both) > _NAMED else ""
        text = (
            f"changed by somebody else at the same time: {named}{more}. What stands is the version of this commit;"
            f" the other one is in commit {head}."
        )
        note = replace(change.note, message=text).to_json()
        # What ends a task stays the last of it.
        return replace(change, events=(*change.events[:-1], note, *change.events[-1:]))

    def _in_the_way(self, tree: Worktree, change: StateChange) -> set[str]:
        """Stored files that cannot be there beside new ones: a file where a folder is to be, or below where a file is."""
        new = [key for key in change.written if key.startswith(FILE) and key not in tree]
        if not new:
            return set()
        if self._folders is None:
            self._folders = {folder for key in tree.keys() for folder in _folders(key)}
        found: set[str] = set()
        for key in new:
            found.update(folder for folder in _folders(key) if folder in tree)
            if key in self._folders:
                found.update(each for each in tree.keys() if each.startswith(f"{key}/"))
            self._folders.update(_folders(key))
        return found - change.written.keys()


def _is_unreadable(error: StateError) -> bool:
    """Whether a head looks damaged: as it also does, for a moment, to one who reads while another makes the branch."""
    from kvgit import CorruptHeadError

    return isinstance(error.__cause__, CorruptHeadError)


def _folders(key: str) -> Iterator[str]:
    return (FILE + folder for folder in folders_of(key.removeprefix(FILE))) if key.startswith(FILE) else iter(())


def _unless_root(commit: str | None) -> str | None:
    from kvgit import ROOT_COMMIT

    return None if commit == ROOT_COMMIT else commit


def _check(record: Record) -> None:
    """TypeError or ValueError if a commit's record is not the one that its hash was made of, or not one of ours."""
    from kvgit.versioned.kv import commit_hash

    if record.time is None or commit_hash(record.parents, record.root, record.time, record.info) != record.hash:
        raise ValueError("a commit is not what its hash says")
    said: Any = record.info
    if not isinstance(said["message"], str) or not all(isinstance(each, str) for each in said["events"]):
        raise TypeError("a commit's record is not one of ours")


def _said(record: Record) -> tuple[str, list[str]]:
    """A commit's message and events."""
    info: Any = record.info
    return info["message"], info["events"]


def _commit(record: Record) -> Commit:
    assert record.time is not None
    return Commit(record.hash, _unless_root(record.parents[0]), record.time, _said(record)[0])


def _names(keys: frozenset[str], kind: str) -> tuple[str, ...]:
    return tuple(sorted(key.removeprefix(kind) for key in keys if key.startswith(kind)))


def _named(key: str) -> str:
    kind = "the file" if key.startswith(FILE) else "the cache entry"
    return f"{kind} {display(key[2:], limit=100, one_line=True)}"
