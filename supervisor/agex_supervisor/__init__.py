"""Trusted: the loop, the contract, the pool, worker processes. Never unpickles anything."""
