"""Who listens where."""

import os
import socket
from contextlib import nullcontext
from ipaddress import ip_address
from pathlib import Path

import pytest

from tune_app.cluster.sockets import listening, require_loopback, socket_in
from tune_app.errors import TuneAppError


@pytest.mark.parametrize(
    ("field", "address", "here_alone"),
    [
        ("0100007F:1F90", "127.0.0.1", True),
        ("00000000000000000000000001000000:1F90", "::1", True),
        ("0000000000000000FFFF00000100007F:1F90", "::ffff:127.0.0.1", True),
        ("00000000:1F90", "0.0.0.0", False),
        ("00000000000000000000000000000000:1F90", "::", False),
        ("0000000000000000FFFF00000700000A:1F90", "::ffff:10.0.0.7", False),
    ],
)
def test_an_address_that_others_can_reach_is_refused(field: str, address: str, here_alone: bool) -> None:
    found = socket_in(field)
    assert found == (ip_address(address), 8080)
    refused = pytest.raises(TuneAppError, match=r"^Ray listens at .*, port 8080, .*; allowed: 127\.0\.0\.1, as .*$")
    with nullcontext() if here_alone else refused:
        require_loopback([found])


@pytest.mark.skipif(not Path("/proc/net/tcp").exists(), reason="needs /proc")
def test_a_foreign_socket_of_a_process_is_seen_while_it_listens() -> None:
    with socket.create_server(("0.0.0.0", 0)) as server:
        opened = (ip_address("0.0.0.0"), server.getsockname()[1])
        assert opened in listening([os.getpid()])
    assert opened not in listening([os.getpid()])
