"""The token that Ray's services ask for: who needs one, and who may read it."""

import os
import secrets
from pathlib import Path

TOKEN = Path(".ray", "auth_token")
"""Where in the home directory Ray keeps the token that its services ask for, unless told otherwise."""
QUESTION = "/ray.rpc.NodeInfoGcsService/GetClusterId"
"""Something that any head answers to those who may ask, without arguments."""
SECONDS_TO_ANSWER = 5


def authenticates() -> bool:
    """Whether Ray uses a token in this process."""
    return os.environ.get("RAY_AUTH_MODE", "").lower() == "token"


def for_own_ray(folder: Path) -> dict[str, str]:
    """The environment variables by which a Ray that is started here asks for a token, of which there is none yet.

    It is the person's own token, where there is one that nobody else can read, or a new one in `folder`: another
    user of this machine must not be able to run programs by this Ray. RAY_AUTH_MODE, RAY_AUTH_TOKEN and
    RAY_AUTH_TOKEN_PATH are taken as they are.
    """
    if os.environ.get("RAY_AUTH_MODE", "token").lower() != "token":
        return {}
    if any(os.environ.get(name) for name in ("RAY_AUTH_TOKEN", "RAY_AUTH_TOKEN_PATH")) or is_private(home_token()):
        return {"RAY_AUTH_MODE": "token"}
    path = folder / "auth_token"
    path.touch(0o600)
    path.write_text(secrets.token_hex(32))
    return {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN_PATH": str(path)}


def home_token() -> Path | None:
    """The file in the home directory where Ray looks for a token; None where a person has no home."""
    try:
        return Path.home() / TOKEN
    except RuntimeError:
        return None


def is_private(token: Path | None) -> bool:
    """Whether a file is there that this user alone can read."""
    try:
        found = token.stat() if token else None
    except OSError:
        return False
    return found is not None and found.st_uid == os.geteuid() and found.st_mode & 0o077 == 0


def token_file() -> str:
    """Where a person finds the token that Ray's services ask for."""
    return os.environ.get("RAY_AUTH_TOKEN_PATH") or f"~/{TOKEN}"


def asks_for_token(address: str) -> str:
    """The remedy for a cluster that refuses this process."""
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
