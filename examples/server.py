"""The server's first program: untrusted code of many tenants, at once, each in a locked worker of its own.

python examples/server.py
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import agex

PRICES = {"kettle": 29.9, "lamp": 45.5}


def price(product: str) -> float:
    """The price of a product, looked up in this process; the code that asks never sees the table."""
    return PRICES[product]


# What tenants send: good, clumsy, and hostile.
SUBMISSIONS = {
    "ada": "sum(price(p) * n for p, n in order.items())",
    "bob": "order['lamp'] / 0",
    "eve": "open('/etc/passwd').read()",
    "mallory": "while True: pass",
}


def serve(pool: agex.Pool, tenant: str, code: str) -> agex.SandboxOutcome:
    with agex.Sandbox(functions={"price": price}, pool=pool) as sandbox:
        return sandbox.run(code, inputs={"order": {"kettle": 2, "lamp": 1}}, returns=float, timeout_s=1.0)


def main() -> None:
    pool = agex.Pool(max_workers=4)
    with ThreadPoolExecutor(4) as threads:
        outcomes = threads.map(lambda item: (item[0], serve(pool, *item)), SUBMISSIONS.items())
        for tenant, outcome in outcomes:
            told = outcome.value if outcome.status == "ok" else f"{outcome.error.type}: {outcome.error.message}"
            print(f"{tenant:8} {outcome.status:8} {told}")
    pool.close()


if __name__ == "__main__":
    main()
