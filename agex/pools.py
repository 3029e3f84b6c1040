"""The pool that agents and sandboxes share unless they are given one of their own: one a process, made when needed."""

from __future__ import annotations

import atexit
import os
import threading

from agex_supervisor.pool import Pool

_lock = threading.Lock()
_pools: dict[int, Pool] = {}


def shared_pool() -> Pool:
    """This process's pool. After a fork the child gets a new one: the workers are its parent's."""
    with _lock:
        pool = _pools.get(os.getpid())
        if pool is None:
            _pools.clear()
            pool = _pools[os.getpid()] = Pool()
            atexit.register(pool.close)
        return pool
