"""The arenas of a pool, kept for the next use: to touch fresh shared memory for the first time takes longer than to copy.

An arena is handed out again only when nobody holds it, every worker that was given it is dead, and nothing that was lent of
it is looked at any more. To another tenant it goes only after all that was ever written in it was overwritten, and never
where a worker could have left a process behind.
"""

from __future__ import annotations

import contextlib
import os
import threading
import time
import weakref
from collections import deque
from typing import Any

from agex_supervisor.arena import Arena, Tenant, class_of
from agex_supervisor.private_memory import Block, is_pooled

# What lies idle takes at most so much of the machine's memory, for at most so long.
IDLE_BYTES = 1 << 30
IDLE_S = 30.0
# Each arena takes two descriptors of this process, and three while it is lent.
MAX_IDLE = 32
MAX_LENT = 64
# Below this a copy costs less than a mapping and a descriptor.
MIN_LENT_BYTES = 4 << 20
# How many times its own size a value may hold of memory, for as long as anything looks at it.
MOST_HELD = 4


class ArenaStock:
    """Safe to use from many threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._arenas: list[Arena] = []
        self._blocks: list[Block] = []
        self._lent: set[Arena | Block] = set()
        # What is looked at no more. A finalizer may run anywhere, also within a lock: it does no more than to put it here.
        self._returned: deque[Arena | Block] = deque()
        self._timer: threading.Timer | None = None
        self._closed = threading.Event()
        _stocks.add(self)

    def take(self, need_bytes: int, tenant: Tenant, *, inward: bool, most_bytes: int | None = None) -> Arena | None:
        """An arena of at least that size, claimed once for the caller, without a byte of any other tenant's.

        None where there are no arenas or there is no room for one: values are sent piece by piece then.
        """
        if not hasattr(os, "memfd_create"):
            return None
        with self._lock:
            self._gather()
            arena = self._found(need_bytes, tenant, inward, most_bytes)
        try:
            if arena is None:
                size = class_of(need_bytes)
                arena = Arena(size if most_bytes is None else min(size, most_bytes), inward=inward)
            elif arena.tenant is not tenant:
                arena.wipe()
        except OSError:
            return None  # one that could not be wiped goes with its last reference
        arena.tenant = tenant
        arena.claims = 1
        return arena

    def claim(self, arena: Arena) -> None:
        """One more holds it."""
        with self._lock:
            arena.claims += 1

    def release(self, arena: Arena, gone: threading.Event | None = None) -> None:
        """One holds it no more. gone: set when the worker that may still have it mapped is dead."""
        with self._lock:
            if gone is not None:
                arena.holders = {each for each in arena.holders if not each.is_set()} | {gone}
            self._let_go(arena)
            self._trim()

    def leave(self, tenant: Tenant) -> None:
        """The tenant is over. Where its arenas may go to nobody else they are freed, now or when they are released."""
        with self._lock:
            tenant.over = True
            for arena in [each for each in self._arenas if each.tenant is tenant and not tenant.confined]:
                self._drop(arena)

    def lend(self, arena: Arena, size: int) -> memoryview | None:
        """Its first bytes, for the caller to keep: held until nothing looks at them. None where a copy is better.

        That is where a worker may live that has it, or has left somebody behind; for little; and where much is lent.
        """
        tenant = arena.tenant
        if tenant is None or not tenant.confined or not arena.free or size < MIN_LENT_BYTES:
            return None
        with self._lock:
            self._gather()
            if sum(isinstance(each, Arena) for each in self._lent) >= MAX_LENT:
                return None
        try:
            memory = arena.lent(size)
        except OSError:
            return None  # there is no room to map it, or no descriptor left
        with self._lock:
            arena.claims += 1
        self._watch(memory, arena)
        return memoryview(memory)

    def private(self, size: int) -> memoryview:
        """Memory of this process to copy a value to, for the caller to keep."""
        if not is_pooled(size):
            return memoryview(bytearray(size))
        with self._lock:
            self._gather()
            fitting = [each for each in self._blocks if each.size >= size and each.resident_bytes <= size * MOST_HELD]
            block = min(fitting, key=lambda each: (each.size, -each.idle_since), default=None)
            if block is not None:
                self._blocks.remove(block)
        return (block or Block(size)).view(size, self._watch)

    def idle_bytes(self) -> int:
        """What lies idle, in bytes of the machine's memory."""
        with self._lock:
            self._gather()
            return sum(each.resident_bytes for each in self._idle())

    def free_idle(self, now: float) -> None:
        """Free what has been idle for IDLE_S at that time.monotonic()."""
        with self._lock:
            self._gather()
            for each in self._idle():
                if now - each.idle_since >= IDLE_S:
                    self._drop(each)

    def close(self) -> None:
        """Free everything that is idle; the rest goes when it is released."""
        with self._lock:
            self._closed.set()
            self._gather()
            for each in self._idle():
                self._drop(each)
            timer, self._timer = self._timer, None
        if timer is not None:
            timer.cancel()

    def spoil(self) -> None:
        """A process is being forked, and sees what is lent: that is never written again."""
        # Without the lock, which the thread that forks may hold. The copy is one step.
        for each in tuple(self._lent):
            if isinstance(each, Arena):
                each.spoiled = True

    # --- under the lock ---

    def _idle(self) -> list[Arena | Block]:
        return sorted((*self._arenas, *self._blocks), key=lambda each: each.idle_since)

    def _found(self, need_bytes: int, tenant: Tenant, inward: bool, most_bytes: int | None) -> Arena | None:
        """One that lies idle: the tenant's own before others', and the smallest of them.

        The tenant's own worker may still have its own mapped, and says that it does not look at it, or is being killed.
        """
        fitting = [
            each
            for each in self._arenas
            if each.inward == inward
            and need_bytes <= each.size <= (most_bytes or each.size)
            and (each.tenant is tenant or (each.free and (each.tenant is None or each.tenant.confined)))
        ]
        if not fitting:
            return None
        arena = min(fitting, key=lambda each: (each.tenant is not tenant, each.size, -each.idle_since))
        self._arenas.remove(arena)
        return arena

    def _gather(self) -> None:
        """Take back what is looked at no more."""
        while self._returned:
            each = self._returned.popleft()
            self._lent.discard(each)
            if isinstance(each, Arena):
                self._let_go(each)
            elif not self._closed.is_set():
                each.idle_since = time.monotonic()
                self._blocks.append(each)
        self._trim()

    def _let_go(self, arena: Arena) -> None:
        arena.claims -= 1
        if arena.claims:
            return
        tenant = arena.tenant
        if self._closed.is_set() or arena.spoiled or (tenant is not None and tenant.over and not tenant.confined):
            arena.close()
            return
        arena.idle_since = time.monotonic()
        self._arenas.append(arena)
        self._start_timer()

    def _trim(self) -> None:
        """Drop what was idle longest until the rest is within the bounds."""
        for surplus in sorted(self._arenas, key=lambda each: each.idle_since)[:-MAX_IDLE]:
            self._drop(surplus)
        idle = self._idle()
        total = sum(each.resident_bytes for each in idle)
        for each in idle:
            if total <= IDLE_BYTES:
                return
            total -= each.resident_bytes
            self._drop(each)

    def _drop(self, each: Arena | Block) -> None:
        if isinstance(each, Arena):
            self._arenas.remove(each)
        else:
            self._blocks.remove(each)
        each.close()

    # --- what is lent, and what is idle for long ---

    def _watch(self, memory: Any, each: Arena | Block) -> None:
        with self._lock:
            self._lent.add(each)
            self._start_timer()
        weakref.finalize(memory, _taken_back, self._returned, self._closed, each).atexit = False

    def _start_timer(self) -> None:
        if self._timer is not None or self._closed.is_set():
            return
        timer = threading.Timer(IDLE_S, _look, (weakref.ref(self),))
        timer.name, timer.daemon = "agex-arenas", True
        # The machine or the interpreter may have no room for another thread: then it is the next use that looks.
        with contextlib.suppress(RuntimeError):
            timer.start()
            self._timer = timer

    def look(self) -> None:
        """Free what is idle for long, and look again as long as there can be something to free."""
        self.free_idle(time.monotonic())
        with self._lock:
            self._timer = None
            if self._idle() or self._lent:
                self._start_timer()


def _taken_back(returned: deque[Arena | Block], closed: threading.Event, each: Arena | Block) -> None:
    if closed.is_set():
        each.close()
    else:
        returned.append(each)


def _look(stock: weakref.ref[ArenaStock]) -> None:
    if (found := stock()) is not None:
        found.look()


def _spoil_all() -> None:
    for stock in tuple(_stocks):
        stock.spoil()


_stocks: weakref.WeakSet[ArenaStock] = weakref.WeakSet()
# Twice, for what is lent just before, and for what comes back meanwhile.
os.register_at_fork(before=_spoil_all, after_in_parent=_spoil_all)
