"""Let code work with an object of yours that must not leave your process: a database connection.

The connection, its file and its password stay here; code in a locked worker calls the methods that were registered, and
holds cursors by handles. Nothing leaves the machine:   python examples/live_objects.py
"""

from __future__ import annotations

import sqlite3

import agex


class Orders:
    """The orders of one customer. Every method runs in this process; treat its arguments as chosen by an adversary."""

    def __init__(self, customer: str) -> None:
        self._db = sqlite3.connect(":memory:", check_same_thread=False)
        self._db.execute("create table orders (customer text, article text, pieces int)")
        rows = [("ada", "tea", 3), ("ada", "tin", 1), ("bob", "tea", 7)]
        self._db.executemany("insert into orders values (?, ?, ?)", rows)
        self._customer = customer

    def find(self, article: str) -> Found:
        """The orders of an article."""
        query = "select article, pieces from orders where customer = ? and article = ?"
        return Found(self._db.execute(query, (self._customer, article)))

    def pieces(self, found: Found) -> int:
        """How many pieces were found."""
        return sum(pieces for _, pieces in found.cursor)

    @property
    def articles(self) -> list[str]:
        """All that was ever ordered."""
        query = "select distinct article from orders where customer = ? order by article"
        return [article for (article,) in self._db.execute(query, (self._customer,))]

    def close(self) -> None:
        self._db.close()


class Found:
    """What a search found, not read yet."""

    def __init__(self, cursor: sqlite3.Cursor) -> None:
        self.cursor = cursor

    def first(self) -> list[object]:
        """The first row."""
        return list(self.cursor.fetchone() or ())


COUNT = "{article: orders.pieces(orders.find(article)) for article in orders.articles}"
TRIES = ["orders.find('tea').first()", "orders.find(7)", "orders._db", "orders.close()", "orders.find('tea').cursor"]


def main() -> None:
    orders = Orders("ada")
    registered = [
        agex.Module(orders, name="orders", include=["find", "pieces", "articles"]),
        # What `find` gives is a handle in the worker: code may ask `first` of it, and hand it to `pieces`.
        agex.Module(Found, runs="host", include="first", constructable=False),
    ]
    with agex.Sandbox(modules=registered) as sandbox:
        print(f"pieces: {sandbox.run(COUNT).unwrap()}")
        for code in TRIES:
            outcome = sandbox.run(code)
            print(f"{code}: {outcome.error.type if outcome.error else outcome.value}")
    orders.close()


if __name__ == "__main__":
    main()
