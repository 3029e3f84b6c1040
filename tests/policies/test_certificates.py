"""Certificates are readable under a grant, and only then."""

from __future__ import annotations

import os
import ssl
from pathlib import Path

import pytest

from agex_policies.certificates import certificate_paths
from agex_policies.compile import compile_plan
from agex_policies.schema import Policy

GRANT = {"widen": ["network.allow"], "network": {"allow": ["api.example.com:443"]}}


def test_the_bundle_that_this_python_uses_is_among_the_paths_and_no_private_key() -> None:
    known = ssl.get_default_verify_paths()
    paths = certificate_paths()

    assert {path for path in (known.cafile, known.openssl_capath) if path and os.path.exists(path)} <= set(paths)
    assert all(os.path.exists(path) for path in paths)
    assert not any(Path("/etc/ssl/private").is_relative_to(os.path.realpath(path)) for path in paths)


def test_a_directory_that_the_environment_names_is_not_opened(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("SSL_CERT_DIR", str(tmp_path))

    assert str(tmp_path) not in certificate_paths()


def test_a_file_that_the_environment_names_is(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    bundle = tmp_path / "ca.pem"
    bundle.write_text("")
    monkeypatch.setenv("SSL_CERT_FILE", str(bundle))

    assert str(bundle) in certificate_paths()


def test_a_plan_reads_them_under_a_grant_alone() -> None:
    policy = Policy.load("default")
    without = set(compile_plan(policy, "kernel").read)
    with_grant = compile_plan(policy.extend(GRANT), "kernel")

    assert [(grant.host, grant.port, grant.tls) for grant in with_grant.network] == [
        ("api.example.com", 443, "required")
    ]
    real = {os.path.realpath(path) for path in certificate_paths()}
    assert set(with_grant.read) - without <= real
    assert all(any(Path(path).is_relative_to(top) for top in with_grant.read) for path in real)
