"""The arenas of one worker: those with inputs that it was given, and the one that it writes its values to.

What it writes there it can change at any time until it is dead. So what a live worker placed is copied before it is looked
at; only of a dead one it is lent as it is.
"""

from __future__ import annotations

import mmap
import os
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from agex_protocol import messages as m
from agex_protocol.buffers import Bytes, enclose
from agex_protocol.errors import ProtocolError
from agex_protocol.placing import MAX_GAPS, MIN_BYTES, Parted, Places, check_places, end_of, laid_out, total_bytes
from agex_protocol.plan import Limits
from agex_supervisor.arena import Arena, Tenant
from agex_supervisor.arena_stock import MOST_HELD, ArenaStock
from agex_supervisor.wire import Carried

# Arenas with inputs that one worker has at once. Each takes two descriptors here, and one that never says that it drops any
# could take all of them, from every session: what goes beyond is sent piece by piece.
MAX_GIVEN = 16


@dataclass(frozen=True, slots=True)
class Bulk:
    """A message with a value that is not on its way yet: whoever has arenas decides how it goes."""

    message: m.Run | m.Answer
    head: Bytes
    buffers: Sequence[Bytes]

    @property
    def size(self) -> int:
        return total_bytes(self.head, self.buffers)


@dataclass(frozen=True, slots=True)
class Addressed:
    """A message as it goes: what is sent first, itself, and the descriptor that comes along."""

    first: Iterable[m.Buffer]
    message: Any
    descriptor: Callable[[], int] | None = None

    def __iter__(self) -> Iterator[object]:
        yield from self.first
        yield self.message if self.descriptor is None else Carried(self.message, self.descriptor)


class Cargo:
    """A value that goes to workers: in an arena if it is large, else to be sent. May go more than once."""

    def __init__(self, stock: ArenaStock | None, tenant: Tenant, head: Bytes, buffers: Sequence[Bytes]) -> None:
        self.arena: Arena | None = None
        self.placed_bytes = 0
        self._head, self._sent = head, buffers
        if stock is None or total_bytes(head, buffers) < MIN_BYTES:
            return
        parted = Parted(head, buffers)
        self.arena, self._stock = stock.take(parted.end, tenant, inward=True), stock
        if self.arena is not None:
            self.arena.write(parted)
            self.placed_bytes = parted.end
            self._encoded, self._sent = parted.encoded, parted.sent

    def keep(self) -> None:
        """Make it independent of the objects that it was made of: it may go again after they have changed."""
        self._sent = [bytes(buffer) for buffer in self._sent]

    def addressed(self, message: m.Run | m.Answer, arenas: Arenas) -> Addressed:
        """The message with this value, for the worker that has these arenas."""
        arena = self.arena
        if arena is None:
            first, value = enclose(message.action, self._head, self._sent)
            return Addressed(first, _with_value(message, value))
        first, _ = enclose(message.action, b"", self._sent)
        return Addressed(first, _with_value(message, self._encoded), lambda: arenas.give(arena, self.placed_bytes))

    def close(self) -> None:
        """It does not go any more."""
        if self.arena is not None:
            arena, self.arena = self.arena, None
            self._stock.release(arena)


class Arenas:
    """Of one worker, for as long as it lives. Without a stock there are none, and values are sent piece by piece."""

    def __init__(
        self,
        stock: ArenaStock | None,
        tenant: Tenant = Tenant(confined=False),  # noqa: B008 -- of no one, where there is no stock
        gone: threading.Event | None = None,
        limits: Limits = Limits(),  # noqa: B008 -- frozen
    ) -> None:
        self._stock = stock
        self._tenant = tenant
        self._gone = gone or threading.Event()
        self._max_bytes = limits.result_bytes + _MAX_HEADS
        self._most_room = -(-(self._max_bytes + MAX_GAPS) // mmap.PAGESIZE) * mmap.PAGESIZE
        self._input_bytes = limits.memory_bytes
        self._given: dict[int, tuple[Arena, int]] = {}
        self._count = 0
        self._rooms: list[Arena] = []
        self._room: Arena | None = None
        # Whether what is written there is copied meanwhile, what was asked for, how much was copied, and to where.
        self.ahead = False
        self._asked = self._filled = 0
        self._copy = memoryview(b"")

    def has_room_for(self, size: int) -> bool:
        """Whether it can be given so much more in an arena. It counts what it may still have mapped."""
        given = sum(size for _, size in self._given.values())
        return not given or (len(self._given) < MAX_GIVEN and given + size <= self._input_bytes)

    def begin(self) -> None:
        """An action begins: nothing is placed in it yet."""
        self._forget_room()

    def give(self, arena: Arena, size: int) -> int:
        """A descriptor of an arena with inputs, for this worker."""
        descriptor = os.dup(arena.descriptor)
        self._count += 1
        self._stocked.claim(arena)
        self._given[self._count] = (arena, size)
        return descriptor

    def loaded(self, answer: Iterable[object]) -> Iterator[object]:
        """What answers a call, as it goes to this worker."""
        for each in answer:
            if not isinstance(each, Bulk):
                yield each
                continue
            cargo = Cargo(self._stock if self.has_room_for(each.size) else None, self._tenant, each.head, each.buffers)
            try:
                yield from cargo.addressed(each.message, self)
            finally:
                cargo.close()

    def told(self, message: m.Dropped | m.Filled) -> None:
        """What it tells of its arenas. ProtocolError if it cannot be."""
        if isinstance(message, m.Filled):
            self._fill(message.size_bytes)
            return
        if not message.arenas:
            raise ProtocolError("Dropped names no arena")
        for number in message.arenas:
            if number not in self._given:
                raise ProtocolError(f"arena {number} was dropped, which the worker does not have")
            # One that lies sees what the same session is going to give it anyway, and no other's.
            self._stocked.release(self._given.pop(number)[0], self._gone)

    def room(self, room: m.Room) -> tuple[m.Roomed, int]:
        """An arena for what it wants to give, with a descriptor; or none."""
        if not 0 < room.size_bytes <= self._most_room:
            raise ProtocolError(
                f"room for {room.size_bytes} bytes was asked for; a value has at most {self._max_bytes}"
            )
        last = self._rooms[-1] if self._rooms else None
        if last is None or last.size < room.size_bytes:
            last = self._larger_room(room.size_bytes)
            if last is None:
                return m.Roomed(room.action, room.call, 0, 0), -1
            self._rooms.append(last)
        self._forget_room()
        self._room, self._asked = last, room.size_bytes
        return m.Roomed(room.action, room.call, len(self._rooms), last.size), os.dup(last.descriptor)

    def _larger_room(self, need_bytes: int) -> Arena | None:
        """At most two a worker, the second as large as any value: what it can fill is one and a half times that."""
        if self._stock is None or len(self._rooms) == 2:
            return None
        need_bytes = self._most_room if self._rooms else need_bytes
        return self._stock.take(need_bytes, self._tenant, inward=False, most_bytes=self._most_room)

    def parted(self, value: m.Encoded) -> tuple[m.Encoded, Places]:
        """The value without what can stay in the arena for now, and where that lies; a head that lies there cannot."""
        if not value.placed:
            return value, ()
        self._checked(value.placed)
        head = () if value.head else value.placed[:1]
        return value._replace(placed=head), value.placed[len(head) :]

    def copied(self, places: Places) -> list[memoryview]:
        """The buffers in memory of this process, where the worker cannot change them any more."""
        self._checked(places)
        if not self._copy or end_of(places) > self._asked or _is_sparse(places, max(self._filled, end_of(places))):
            return self.copied_apart(places)
        self._fill_to(end_of(places))
        # It is the value's from here on: nothing else may ever lie in it.
        copy, self._copy, self._asked = self._copy, memoryview(b""), 0
        return [copy[offset : offset + length] for offset, length in places]

    def copied_apart(self, places: Places) -> list[memoryview]:
        """The same in memory for them alone, whatever was copied already."""
        return self._copied_from(self._checked(places), places)

    def _copied_from(self, arena: Arena, places: Places) -> list[memoryview]:
        packed = laid_out([length for _, length in places])
        memory = self._stocked.private(end_of(packed))
        views = [memory[start : start + length] for start, length in packed]
        for view, (offset, _) in zip(views, places, strict=True):
            arena.read_into(view, offset)
        return views

    def lent(self, places: Places, kill: Callable[[], None]) -> list[memoryview]:
        """The buffers where they are, after `kill` has ended the worker: else it could change them after they were checked.

        Where its death is not certain, or a copy is better, they are copied: also what is little of all that was written,
        which would stay in memory for as long as that.
        """
        arena = self._checked(places)
        self._stocked.claim(arena)
        try:
            kill()
            may_lend = self._gone.is_set() and not _is_sparse(places, arena.resident_bytes)
            memory = self._stocked.lend(arena, end_of(places)) if may_lend else None
            if memory is None:
                return self._copied_from(arena, places)
            return [memory[offset : offset + length] for offset, length in places]
        finally:
            self._stocked.release(arena)

    def _fill(self, size: int) -> None:
        if self._room is None or not self._filled < size <= self._asked:
            raise ProtocolError(f"{size} bytes of room were filled, of {self._asked} that were asked for")
        if not self.ahead:
            self._filled = size
            return
        if not self._copy:
            self._copy = self._stocked.private(self._asked)
        self._fill_to(size)

    def _fill_to(self, size: int) -> None:
        assert self._room is not None
        if size > self._filled:
            self._room.read_into(self._copy[self._filled : size], self._filled)
            self._filled = size

    def _forget_room(self) -> None:
        self._room, self._copy = None, memoryview(b"")
        self._asked = self._filled = 0

    def _checked(self, places: Places) -> Arena:
        """The arena in which these lie. ProtocolError unless they lie in the one that it has in this action."""
        if self._room is None:
            raise ProtocolError("buffers were placed where there is no arena")
        check_places(places, self._room.size)
        if sum(length for _, length in places) > self._max_bytes:
            raise ProtocolError(f"a value is larger than {self._max_bytes} bytes")
        return self._room

    @property
    def _stocked(self) -> ArenaStock:
        assert self._stock is not None  # nothing is given, and no room made, without one
        return self._stock

    def close(self) -> None:
        """Its worker is being killed: what it has goes back, to be used again when it is dead."""
        for arena in (*(arena for arena, _ in self._given.values()), *self._rooms):
            self._stocked.release(arena, self._gone)
        self._given, self._rooms = {}, []
        self._forget_room()


def _is_sparse(places: Places, held_bytes: int) -> bool:
    """Whether a value is so little of the memory that it would hold that a copy of its own is better."""
    return sum(length for _, length in places) * MOST_HELD < held_bytes


# As many heads, which are counted by themselves where a value is encoded, as the inbox allows for.
_MAX_HEADS = 64 << 10


def _with_value(message: m.Run | m.Answer, value: m.Encoded) -> m.Run | m.Answer:
    return message._replace(inputs=value) if isinstance(message, m.Run) else message._replace(result=value)
