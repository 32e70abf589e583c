"""Who listens where: the sockets of processes are looked at, whatever a Ray says of its address."""

import sys
from collections.abc import Iterable
from contextlib import suppress
from ipaddress import IPv4Address, IPv6Address, ip_address
from pathlib import Path

from tune_app.errors import TuneAppError

LISTENING = "0A"
"""How /proc/net/tcp writes this state."""

Socket = tuple[IPv4Address | IPv6Address, int]
"""An address and a port at which somebody listens."""


def listening(processes: Iterable[int]) -> set[Socket]:
    """Where these processes listen for TCP; nowhere, it seems, on a system without /proc."""
    opened = set()
    for process in processes:
        for descriptor in Path(f"/proc/{process}/fd").glob("*"):
            with suppress(OSError):  # closed meanwhile
                opened.add(str(descriptor.readlink()))
    found = set()
    for table in map(Path, ("/proc/net/tcp", "/proc/net/tcp6")):
        for line in table.read_text().splitlines()[1:] if table.exists() else ():
            fields = line.split()
            if fields[3] == LISTENING and f"socket:[{fields[9]}]" in opened:
                found.add(socket_in(fields[1]))
    return found


def socket_in(field: str) -> Socket:
    """The socket that a field of /proc/net/tcp means: "0100007F:1F90" is 127.0.0.1, port 8080."""
    address, port = field.split(":")
    words = (int(address[at : at + 8], 16).to_bytes(4, sys.byteorder) for at in range(0, len(address), 8))
    return ip_address(b"".join(words)), int(port, 16)


def require_loopback(sockets: Iterable[Socket]) -> None:
    """Raise `TuneAppError` where a Ray of our own can be reached from elsewhere."""
    for address, port in sorted(sockets, key=str):
        mapped = address.ipv4_mapped if isinstance(address, IPv6Address) else None
        if not (mapped or address).is_loopback:
            raise TuneAppError(
                f"Ray listens at {address}, port {port}, where other machines may reach it; allowed: 127.0.0.1, as"
                " RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER=0 lets it do if it is set before Ray is imported"
            )
