"""The token that Ray's services ask for: who needs one, and who may read it."""

import os
import stat
from contextlib import suppress
from pathlib import Path

from tune_app.errors import TuneAppError

TOKEN = Path(".ray", "auth_token")
"""Where in the home directory Ray keeps the token that its services ask for, unless told otherwise."""
LOOPBACK = "127.0.0.1"
QUESTION = "/ray.rpc.NodeInfoGcsService/GetClusterId"
"""Something that any head answers to those who may ask, without arguments."""
SECONDS_TO_ANSWER = 5


def authenticates() -> bool:
    """Whether Ray uses a token in this process."""
    return os.environ.get("RAY_AUTH_MODE") == "token"


def asks_for_token(address: str) -> str:
    """What to do about a cluster that refuses this process."""
    return (
        f"--address {address}: the cluster asks for its token; allowed: RAY_AUTH_MODE=token, with the token in"
        f" ~/{TOKEN}, or in a file that RAY_AUTH_TOKEN_PATH names"
    )


def knows_no_tokens(head: str) -> bool:
    """Whether the head of a cluster, at HOST:PORT, answers one who has none.

    Ray itself notices nothing: the head takes a driver with a token, whose workers then die one after the other.
    """
    import grpc

    with grpc.insecure_channel(head) as channel:
        try:
            channel.unary_unary(QUESTION)(b"", timeout=SECONDS_TO_ANSWER)
        except grpc.RpcError:
            return False
    return True


def require_token_if_open(host: str) -> None:
    """Raise `TuneAppError` where the dashboard could be reached from elsewhere without a token."""
    if host not in (LOOPBACK, "localhost", "::1") and os.environ.get("RAY_AUTH_MODE") == "disabled":
        raise TuneAppError(
            f"--dashboard-host {host}: without a token, anyone who reaches it could run programs here; allowed:"
            " RAY_AUTH_MODE=token, or 127.0.0.1 and from elsewhere: ssh -L 8265:localhost:8265"
        )


def protect_token() -> None:
    """Let nobody else read Ray's token, which Ray writes with the person's umask."""
    token = Path.home() / TOKEN
    with suppress(OSError):  # not there, or not ours
        if stat.S_IMODE(token.stat().st_mode) & 0o077:
            token.chmod(0o600)
