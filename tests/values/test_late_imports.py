"""A library that no zygote can import is imported by each worker when it needs it."""

from __future__ import annotations

import polars as pl
import pytest

from agex import Sandbox


@pytest.mark.parametrize("isolation", ["process", "kernel"])
def test_polars_is_usable_in_a_worker_though_it_starts_threads(isolation: str) -> None:
    code = "import polars as pl\npl.DataFrame({'a': [1, 2, 2]}).group_by('a').len().sort('a')"
    with Sandbox(isolation=isolation, modules=["polars"]) as sandbox:
        counted = sandbox.run(code, returns=pl.DataFrame).unwrap()
        assert counted.rows() == [(1, 1), (2, 2)]
        assert sandbox.run("x.sum()", inputs={"x": counted}, returns=pl.DataFrame).unwrap().rows() == [(3, 3)]
