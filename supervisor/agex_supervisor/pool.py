"""The pool: one zygote for each kit, workers forked from it, spares forked and locked in advance. Workers are used once.

A worker belongs to one session until that lets go of it, and is then killed: there is nothing to reset.
"""

from __future__ import annotations

import contextlib
import os
import threading
import time
from collections import OrderedDict
from dataclasses import dataclass, field, replace
from pathlib import Path

from agex_protocol.errors import AgexError
from agex_protocol.plan import LockdownPlan
from agex_supervisor.arena_stock import ArenaStock
from agex_supervisor.cgroup import Group, Groups
from agex_supervisor.errors import PoolExhausted, WorkerFailed
from agex_supervisor.furnishing import Furniture
from agex_supervisor.homecoming import Homecomings
from agex_supervisor.keeping import Keeping
from agex_supervisor.own_code import own_extensions
from agex_supervisor.place import Place
from agex_supervisor.scratch import Scratch, remove_tree
from agex_supervisor.seats import Seats
from agex_supervisor.slot import FolderSlot, MemorySlot, Slot
from agex_supervisor.transfer import Late
from agex_supervisor.user_ids import user_ids
from agex_supervisor.worker import Worker
from agex_supervisor.zygote import Zygote, spawn

MAX_ZYGOTES = 16


@dataclass(frozen=True)
class Kit:
    """What makes two sessions' workers alike, so that they can come from one zygote.

    workspace: a directory of the caller's own that the workers write in; "" where the pool makes the workspaces.
    """

    plan: LockdownPlan
    preload: tuple[str, ...] = ()
    workspace: str = ""

    def key(self) -> tuple[object, ...]:
        return (repr(self.plan), self.preload, self.workspace)


@dataclass(frozen=True, slots=True)
class PoolStats:
    """Counts at one moment. kept: of the busy ones, those that are there for handles alone. lent: those that stand still for
    sessions under them, and are none of the `max_workers`."""

    busy: int
    spares: int
    zygotes: int
    max_workers: int
    kept: int = 0
    lent: int = 0


@dataclass
class _Stock:
    lock: threading.Lock = field(default_factory=threading.Lock)
    zygote: Zygote | None = None
    spares: list[Worker] = field(default_factory=list[Worker])
    refilling: bool = False
    evicted: bool = False


class Pool:
    """Hands out locked workers; safe to use from many threads.

    max_workers: how many sessions may hold a worker at once (default: four a processor), not counting those whose code waits
    for others: these have its seat (seats.py). spares: how many workers are kept ready for each kit. wait_s: how long a session waits for a worker before PoolExhausted. handle_ttl_s: how long a
    worker that is there for handles alone stays unused. max_kept: how many such there may be (default: half of all).
    """

    def __init__(
        self,
        max_workers: int | None = None,
        spares: int = 1,
        wait_s: float = 30.0,
        handle_ttl_s: float = 600.0,
        max_kept: int | None = None,
    ) -> None:
        if max_workers is not None and max_workers < 1:
            raise ValueError(f"max_workers must be at least 1, not {max_workers}")
        if spares < 0 or wait_s < 0:
            raise ValueError("spares and wait_s must not be negative")
        if not handle_ttl_s > 0 or (max_kept is not None and max_kept < 0):
            raise ValueError("handle_ttl_s must be above 0, and max_kept not negative")
        self.max_workers = max_workers or 4 * (os.cpu_count() or 1)
        self.wait_s = wait_s
        self._spares = spares
        self._seats = Seats(self.max_workers)
        self._lock = threading.Lock()
        self._stocks: OrderedDict[tuple[object, ...], _Stock] = OrderedDict()
        self._scratch: Scratch | None = None
        self._groups: Groups | None = None
        self._homecomings = Homecomings()
        self.arenas = ArenaStock()
        self.keeping = Keeping(max((self.max_workers + 1) // 2, 1) if max_kept is None else max_kept, handle_ttl_s)
        self._serial = 0
        self._busy: set[Worker] = set()
        self._retired: list[Zygote] = []
        self._closed = False
        self._owner = os.getpid()

    def checkout(
        self, kit: Kit, home: Path | None, until: float = float("inf"), furniture: Furniture | None = None
    ) -> Place:
        """A worker that is locked, verified from outside and has the workspace `home`; None means the kit's own.

        furniture: files that stand in `home` before the worker has it. Late where no worker is free, or a large workspace does
        not get there, before `until`, as time.monotonic() counts. WaitEnded where the wait for one was ended (ENDING).
        """
        if self._owner != os.getpid():
            raise RuntimeError("this pool was made before a fork; make one in this process")
        seat = self._seats.take(min(self.wait_s, max(0.0, until - time.monotonic())))
        if seat is None:
            raise self._none_free(until)
        try:
            if home is not None:
                self._homecomings.wait_for(home, until)
                if furniture is not None:
                    furniture.place(home)
            worker = self._worker(kit)
            try:
                if home is not None:
                    worker.slot.lend(home, until)
            except BaseException:
                worker.close()
                self._drop_slot(worker)
                raise
        except BaseException:
            self._seats.give_back(seat)
            raise
        with self._lock:
            self._busy.add(worker)
        self._refill_soon(kit)
        return Place(worker, seat, home or Path(kit.workspace), home is not None)

    def checkin(self, place: Place) -> None:
        """Kill the worker, take the workspace home, forget the rest of what the worker left."""
        if self._owner != os.getpid():
            return  # a copy of the session in a forked child: the worker is the parent's
        try:
            place.worker.close()
        finally:
            with self._lock:
                self._busy.discard(place.worker)
            self._seats.give_back(place.seat)
        if place.lent and not self._closed:  # the directories of a closed pool are gone
            self._homecomings.begin(place.worker.slot, place.home, place.worker.gone)
        else:
            self._drop_slot(place.worker)

    def leave_home(self, place: Place) -> None:
        """Bring a copy of the workspace home. The worker, which must stand still, keeps its own until it is given back."""
        if place.lent and not self._closed:
            place.worker.slot.copy_home(place.home)
        place.lent = False

    def opened_home(self, home: Path) -> int:
        """A descriptor of a workspace that no worker has, once it is at home. WorkerFailed where it did not come."""
        self._homecomings.wait_for(home)
        return os.open(home, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)

    def new_workspace(self) -> Path:
        """An empty directory that sessions of this pool can be given."""
        return self._scratch_dir().new_workspace()

    def drop_workspace(self, workspace: Path) -> None:
        """Remove a workspace that no session holds any more; one of very many files is gone a little later."""
        self._homecomings.remove(workspace)

    def warm(self, kit: Kit) -> None:
        """Boot the kit's zygote and fork one spare now. Raises what a checkout would raise."""
        worker = self._worker(kit)
        stock = self._stock(kit)
        with stock.lock:
            self._keep(stock, worker)

    def stats(self) -> PoolStats:
        with self._lock:
            stocks = list(self._stocks.values())
            return PoolStats(
                len(self._busy),
                sum(len(stock.spares) for stock in stocks),
                sum(stock.zygote is not None for stock in stocks),
                self.max_workers,
                len(self.keeping),
                self._seats.lent,
            )

    def close(self) -> None:
        """Kill every spare and zygote, and remove the pool's directories. Open sessions and handles lose their workers."""
        if self._owner == os.getpid():
            self.keeping.close()
        with self._lock:
            if self._closed or self._owner != os.getpid():
                return
            self._closed = True
            stocks, self._stocks = list(self._stocks.values()), OrderedDict()
            retired, self._retired = self._retired, []
            busy = list(self._busy)
            scratch, self._scratch = self._scratch, None
            groups, self._groups = self._groups, None
        for worker in busy:
            worker.kill("closed", "the pool was closed")
        for worker in busy:
            worker.await_death()  # or it would still write while its directory is removed
        for stock in stocks:
            with stock.lock:
                self._discard(stock)
        for zygote in retired:
            zygote.close()
        self._homecomings.close()
        self.arenas.close()
        if groups is not None:
            groups.close()
        if scratch is not None:
            scratch.close()

    # --- stocks ---

    def _worker(self, kit: Kit) -> Worker:
        while True:
            stock = self._stock(kit)
            with stock.lock:
                if stock.evicted:
                    continue
                spare = stock.spares.pop() if stock.spares else None
                worker = spare or self._fork(stock, kit)
            try:
                if spare is None:
                    worker.await_ready()
                else:
                    worker.check()
            except BaseException as error:
                worker.close()
                self._drop_slot(worker)
                if spare is not None and isinstance(error, WorkerFailed):
                    continue  # a spare that the machine killed: forget it
                raise
            if worker.zygote.alive:
                return worker
            worker.close()  # its zygote is gone, and it is about to follow
            self._drop_slot(worker)

    def _stock(self, kit: Kit) -> _Stock:
        with self._lock:
            if self._closed:
                raise RuntimeError("the pool is closed")
            stock = self._stocks.setdefault(kit.key(), _Stock())
            self._stocks.move_to_end(kit.key())
            surplus = [self._stocks.popitem(last=False)[1] for _ in range(len(self._stocks) - MAX_ZYGOTES)]
        for old in surplus:
            with old.lock:
                self._evict(old)
        return stock

    def _evict(self, stock: _Stock) -> None:
        stock.evicted = True
        for spare in stock.spares:
            spare.close()
            self._drop_slot(spare)
        stock.spares = []
        zygote, stock.zygote = stock.zygote, None
        if zygote is None:
            return
        zygote.retire()  # it stays with the sessions that hold workers of it: they reap through it
        with self._lock:
            self._retired = [each for each in (*self._retired, zygote) if each.alive]

    def _fork(self, stock: _Stock, kit: Kit) -> Worker:
        scratch = self._scratch_dir()
        if stock.zygote is not None and not stock.zygote.alive:
            stock.zygote.close()
            stock.zygote = None
        if stock.zygote is None:
            own = (kit.workspace,) if kit.workspace else ()
            read = (*kit.plan.read, *own_extensions(kit.plan.read))
            plan = replace(kit.plan, read=read, write=(*kit.plan.write, *own))
            stock.zygote = spawn(plan, kit.preload, scratch.slots, user_ids(plan))
        with self._lock:
            self._serial += 1
            serial = self._serial
        return self._born(stock.zygote, scratch, serial, kit)

    def _born(self, zygote: Zygote, scratch: Scratch, serial: int, kit: Kit) -> Worker:
        folder = scratch.new_slot(serial) if zygote.plan.namespaces == "off" else scratch.slots
        try:
            born = zygote.fork(serial, folder)
        except BaseException:
            if folder != scratch.slots:
                remove_tree(folder)
            raise
        slot: Slot = FolderSlot(folder) if born.files < 0 else MemorySlot(born.files, zygote.owner(serial))
        own = [Path(kit.workspace)] if kit.workspace else []
        worker = Worker(zygote, born, slot, zygote.plan, [slot.place, *own])
        try:
            worker.group = self._grouped(zygote.plan, serial, born.pid)
        except BaseException:
            worker.close()
            slot.remove()
            raise
        return worker

    def _grouped(self, plan: LockdownPlan, serial: int, pid: int) -> Group | str:
        """The worker's control group, which it has joined; or why it has none. IsolationUnavailable if it must have one."""
        if plan.cgroup == "off":
            return "off"
        with self._lock:
            if self._closed:
                raise RuntimeError("the pool is closed")
            if self._groups is None:
                self._groups = Groups()
            groups = self._groups
        return groups.joined(serial, pid, plan)

    def _refill_soon(self, kit: Kit) -> None:
        # Without spares the next checkout forks for itself: no failure here may cost this one its worker.
        with contextlib.suppress(RuntimeError):
            stock = self._stock(kit)
            with stock.lock:
                if stock.refilling or len(stock.spares) >= self._spares:
                    return
                stock.refilling = True
            try:
                threading.Thread(target=self._refill, args=(kit, stock), name="agex-spares", daemon=True).start()
            except RuntimeError:
                stock.refilling = False  # the machine or the interpreter has no room for another thread

    def _refill(self, kit: Kit, stock: _Stock) -> None:
        # A failure here is met again, and reported, by the next checkout.
        with contextlib.suppress(AgexError, OSError, RuntimeError):
            while True:
                with stock.lock:
                    if self._closed or stock.evicted or len(stock.spares) >= self._spares:
                        break
                    worker = self._fork(stock, kit)
                try:
                    worker.await_ready()
                except BaseException:
                    self._drop_slot(worker)
                    raise
                with stock.lock:
                    if not self._keep(stock, worker):
                        break
        with stock.lock:
            stock.refilling = False

    def _keep(self, stock: _Stock, worker: Worker) -> bool:
        """Add a spare; one that comes too late is closed. Under the stock's lock."""
        if not self._closed and not stock.evicted:
            stock.spares.append(worker)
            return True
        worker.close()
        self._drop_slot(worker)
        return False

    def _discard(self, stock: _Stock) -> None:
        for spare in stock.spares:
            spare.close()
            self._drop_slot(spare)
        stock.spares = []
        if stock.zygote is not None:
            stock.zygote.close()
            stock.zygote = None

    def _none_free(self, until: float) -> Exception:
        if time.monotonic() >= until:
            return Late(f"all {self.max_workers} workers are busy, and none became free in time")
        kept = len(self.keeping)
        told = f"{kept} of them stay for handles: close those that are not needed, or " if kept else ""
        return PoolExhausted(
            f"all {self.max_workers} workers are busy and none became free in {self.wait_s:g} s; {told}"
            "try again later, or make agex.Pool(max_workers=...) larger"
        )

    # --- directories ---

    def _scratch_dir(self) -> Scratch:
        with self._lock:
            if self._closed:
                raise RuntimeError("the pool is closed")
            if self._scratch is None:
                self._scratch = Scratch()
            return self._scratch

    def _drop_slot(self, worker: Worker) -> None:
        worker.slot.remove()
