"""Who may speak to a Dask cluster: this machine alone, or whoever holds a key.

Dask's processes run what they are sent, so nothing listens beyond loopback without TLS, which
asks both sides for a certificate. https://distributed.dask.org/en/stable/tls.html
"""

from __future__ import annotations

import importlib.util
import ipaddress
from pathlib import Path
from typing import Any

from pydantic import Field

from vfxswap.errors import JobError
from vfxswap.settings import Settings

LOOPBACK = "127.0.0.1"


class TlsSettings(Settings):
    """Certificates for any address but loopback; all three or none."""

    tls_ca: str = Field(
        default="", description="Certificate of the authority that signed all others."
    )
    tls_cert: str = Field(default="", description="Own certificate.")
    tls_key: str = Field(default="", description="Own private key.")


def require_dask() -> None:
    """Raises JobError when the extra is not installed."""
    if importlib.util.find_spec("distributed") is None:
        raise JobError("this needs Dask, an extra: pip install 'vfxswap[farm]'")


def is_loopback(host: str) -> bool:
    """Whether a host's name or number is this machine's loopback."""
    bare = host.strip("[]")
    if bare == "localhost":
        return True
    try:
        return ipaddress.ip_address(bare).is_loopback
    except ValueError:
        return False


def checked_address(address: str, tls: TlsSettings) -> str:
    """`address` as Dask wants it, tcp://host:port or tls://host:port.

    Raises JobError for what is no address, and for any but loopback without TLS.
    """
    protocol, found, rest = address.rpartition("://")
    protocol = protocol if found else "tls" if tls.tls_ca else "tcp"
    host, _, port = rest.rpartition(":")
    if protocol not in ("tcp", "tls") or not host or not port.isdigit():
        raise JobError("not a scheduler's address", got=address, wanted="tls://HOST:PORT")
    if protocol == "tls" and not tls.tls_ca:
        raise JobError(
            "TLS needs certificates", got=address, wanted="--tls-ca, --tls-cert and --tls-key"
        )
    if protocol == "tcp" and not is_loopback(host):
        raise JobError(
            "Dask runs what it is sent, so beyond this machine it must speak TLS",
            got=address,
            wanted="tls://HOST:PORT with --tls-ca, --tls-cert and --tls-key",
        )
    return f"{protocol}://{rest}"


def security(tls: TlsSettings) -> Any:
    """The settings as Dask's. Raises JobError when some are missing, or are no files, or the extra
    is not installed."""
    require_dask()
    from distributed.security import Security

    given = {
        "--tls-ca": tls.tls_ca, "--tls-cert": tls.tls_cert, "--tls-key": tls.tls_key,
    }  # fmt: skip
    if not any(given.values()):
        return Security(require_encryption=False)
    if missing := [option for option, file in given.items() if not file]:
        raise JobError("TLS needs three files", wanted=" and ".join(missing))
    for option, file in given.items():
        if not Path(file).is_file():
            raise JobError(f"{option} is no file", file=file)
    own = {
        f"tls_{role}_{kind}": path
        for role in ("client", "scheduler", "worker")
        for kind, path in (("cert", tls.tls_cert), ("key", tls.tls_key))
    }
    return Security(require_encryption=True, tls_ca_file=tls.tls_ca, **own)
