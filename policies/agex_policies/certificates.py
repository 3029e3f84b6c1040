"""Where this machine keeps the certificates that it trusts, for workers that speak TLS to a granted host."""

from __future__ import annotations

import os
import ssl
from pathlib import Path

# What the links in a directory of certificates lead to.
_TARGETS = ("/usr/share/ca-certificates", "/usr/local/share/ca-certificates", "/etc/pki/ca-trust/extracted")


def certificate_paths() -> tuple[str, ...]:
    """Files and directories with public certificates and OpenSSL's configuration, as far as they exist; no private keys.

    SSL_CERT_FILE counts where it is set; SSL_CERT_DIR does not, for who knows what else lies there.
    """
    known = ssl.get_default_verify_paths()
    bundles = {known.cafile, known.openssl_cafile}
    directories = {known.openssl_capath, *_TARGETS}
    configurations = {str(Path(path).with_name("openssl.cnf")) for path in (known.openssl_cafile, known.openssl_capath)}
    files = sorted(path for path in bundles | configurations if path and os.path.isfile(path))
    return (*files, *sorted(path for path in directories if os.path.isdir(path)))
