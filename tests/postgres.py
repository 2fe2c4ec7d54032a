"""A real PostgreSQL server on a socket in a folder of its own, for tests and the soak."""

import contextlib
import functools
import os
import pwd
import subprocess
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any


@dataclass(frozen=True, slots=True, kw_only=True)
class Server:
    """A server that runs: *url* is what `map.store` would say; it can go away and come back."""

    url: str
    command: tuple[object, ...]
    options: dict[str, Any]

    def control(self, *words: object) -> None:
        """Say something to pg_ctl; raise CalledProcessError if it does not do it."""
        run = functools.partial(subprocess.run, check=True, capture_output=True, timeout=120)
        run([*map(str, self.command), *map(str, words)], **self.options)

    def go(self) -> None:
        """Cut all connections and end, as when the machine is switched off."""
        self.control("-m", "immediate", "stop")

    def come(self) -> None:
        """Start (again)."""
        folder = self.options["cwd"]
        self.control("-l", folder / "log", "-o", f"-k {folder} -c listen_addresses=''", "start")


@contextlib.contextmanager
def serving(initdb: Path) -> Iterator[Server]:
    """Run a server with an empty database; *initdb* is the program beside which its others lie."""
    with tempfile.TemporaryDirectory(prefix="dustd-pg-") as name:  # a socket's path must be short
        folder = Path(name)
        options: dict[str, Any] = {"cwd": folder}
        if os.geteuid() == 0:  # PostgreSQL refuses to run as root
            nobody = pwd.getpwnam("nobody")
            os.chown(folder, nobody.pw_uid, nobody.pw_gid)
            options |= {"user": nobody.pw_uid, "group": nobody.pw_gid, "extra_groups": []}
        make = [initdb, "-D", folder / "data", "-U", "dustd", "-A", "trust", "-E", "UTF8", "--no-sync"]
        subprocess.run(make, check=True, capture_output=True, timeout=120, **options)
        server = Server(
            url=f"postgresql+psycopg://dustd@/postgres?host={folder}",
            command=(initdb.with_name("pg_ctl"), "-D", folder / "data", "-w"),
            options=options,
        )
        server.come()
        try:
            yield server
        finally:
            with contextlib.suppress(subprocess.CalledProcessError):  # it may be away
                server.go()


def installed_initdb() -> Path | None:
    """Find the program that makes databases, as Debian and others install it; None where there is none."""
    return max(Path("/usr/lib/postgresql").glob("*/bin/initdb"), default=None)
