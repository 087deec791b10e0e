"""The usual Node stack, to measure beside: there where Node is, installed by its own package manager."""

from __future__ import annotations

import hashlib
import json
import shutil
import subprocess
from pathlib import Path

FOLDER = Path(__file__).parent / "node"
_MODULES = FOLDER / "node_modules"
_STAMP = _MODULES / ".installed"
SHOWN = ("@shopify/shopify-app-express", "@shopify/shopify-api", "express", "bullmq", "ioredis", "better-sqlite3")


class NoPeer(Exception):
    """There is nothing to compare with; the sentence says why."""


def install() -> None:
    """Bring what package.json names, in the versions of its lock file, once. Raises NoPeer.

    Not `npm ci`: it wants an entry for the optional binaries of every platform there is.
    """
    if shutil.which("node") is None or shutil.which("npm") is None:
        raise NoPeer("Node is not installed")
    wanted = hashlib.sha256(b"".join((FOLDER / name).read_bytes() for name in ("package.json", "package-lock.json")))
    if _STAMP.exists() and _STAMP.read_text() == wanted.hexdigest():
        return
    print("  installing the Node peer with npm, once …", flush=True)
    try:
        done = subprocess.run(
            ["npm", "install", "--no-save", "--no-audit", "--no-fund"],
            cwd=FOLDER,
            capture_output=True,
            text=True,
            timeout=900,
            check=False,
        )
    except subprocess.TimeoutExpired:
        raise NoPeer("npm took more than a quarter of an hour") from None
    if done.returncode:
        words = [line for line in done.stderr.splitlines() if line.startswith("npm error")]
        raise NoPeer("npm failed: " + " ".join(line.removeprefix("npm error").strip() for line in words[:3]))
    _STAMP.write_text(wanted.hexdigest())


def stores() -> bool:
    """Did the database module get its binary? It is optional, so that the rest can be measured without it."""
    probe = "const {default: D} = await import('better-sqlite3'); new D(':memory:')"
    done = subprocess.run(
        ["node", "--input-type=module", "-e", probe], cwd=FOLDER, capture_output=True, timeout=30, check=False
    )
    return done.returncode == 0


def versions() -> dict[str, str]:
    found = {"node": subprocess.run(["node", "-v"], capture_output=True, text=True, check=True).stdout.strip()}
    for name in SHOWN:
        package = _MODULES / name / "package.json"
        if package.exists():
            found[name] = json.loads(package.read_text())["version"]
    return found


def command(port: int, redis_port: int, processes: int, database: Path | None = None) -> list[str]:
    return ["node", "server.mjs", str(port), str(redis_port), str(processes), *([str(database)] if database else [])]


ENVIRONMENT = {"NODE_ENV": "production"}
