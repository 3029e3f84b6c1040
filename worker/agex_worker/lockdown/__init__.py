"""The kernel layers, each a builder or an applier of its own, put up in one order by apply.py."""
