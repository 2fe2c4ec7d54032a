"""The tables that hold the dust maps, the same in SQLite and PostgreSQL, and how they are opened.

A body's history is one line of frames in capture order. A *place* is a point on that line, a text that sorts (see
`dustd.dustmap.history`); epochs, frames and kept states all say where on the line they are. What they mean is
`dustd.dustmap.store`'s.
"""

import contextlib
import json
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql

from dustd.dustmap.lost import Lost
from dustd.errors import ConfigError, DamagedError, SurroundingsError

VERSION = 5  # of the tables; see `dustd.dustmap.migrations`
LOCK_WAIT_MS = 10_000
MEMORY = ":memory:"


class GarbledError(Exception):
    """What the database holds is no dust map; only damage does that."""


# PostgreSQL's codes for insufficient privilege, and for no schema that the user may use.
NO_RIGHTS = ("42501", "3F000")


class Packed(sa.types.TypeDecorator[Any]):
    """A JSON value, compressed. Raises GarbledError on reading what is none."""

    impl = sa.LargeBinary
    cache_ok = True

    def process_bind_param(self, value: Any, dialect: sa.Dialect) -> bytes | None:  # noqa: ARG002 - SQLAlchemy's
        """Pack a value for the database."""
        return None if value is None else zlib.compress(json.dumps(value, separators=(",", ":")).encode(), 1)

    def process_result_value(self, value: bytes | None, dialect: sa.Dialect) -> Any:  # noqa: ARG002
        """Unpack a value from the database."""
        try:
            return None if value is None else json.loads(zlib.decompress(value))
        except (zlib.error, ValueError) as exc:
            raise GarbledError(f"a packed value cannot be read: {exc}") from exc


# Places are compared byte by byte, whatever language the database speaks.
Place = sa.Text().with_variant(postgresql.TEXT(collation="C"), "postgresql")

metadata = sa.MetaData()


def _of_body(name: str, *columns: Any) -> sa.Table:
    """Declare a table whose rows belong to a body and go with it."""
    body = sa.ForeignKey("bodies.body_id", ondelete="CASCADE")
    return sa.Table(name, metadata, sa.Column("body_id", sa.Text, body, primary_key=True), *columns)


# *horizon*: the place after which frames can be folded anew. *revision* counts the changes.
bodies = sa.Table(
    "bodies",
    metadata,
    sa.Column("body_id", sa.Text, primary_key=True),
    sa.Column("make", sa.Text),
    sa.Column("model", sa.Text),
    sa.Column("width", sa.Integer, nullable=False),
    sa.Column("height", sa.Integer, nullable=False),
    sa.Column("horizon", Place, nullable=False),
    sa.Column("revision", sa.Integer, nullable=False),
)
# From *place* on. *how*: "first" (at ""), "declared" or "noticed". *started_at* is when, NULL for the first.
# *decided_at* of one noticed is the place of the frame that gave the proof; of one declared it is when it was made, in
# UTC, and NULL if a person told of it later.
epochs = _of_body(
    "epochs",
    sa.Column("place", Place, primary_key=True),
    sa.Column("how", sa.Text, nullable=False),
    sa.Column("started_at", sa.Text),
    sa.Column("decided_at", Place),
)
# Between these places no cleaning is noticed, because a person said that there was none.
dismissed = _of_body(
    "dismissed", sa.Column("since", Place, primary_key=True), sa.Column("until", Place, nullable=False)
)
# Every frame counted. *observed*: {"seen": {particle id: log-odds after it}, "missed": {…}}. *input* is what the frame
# brought to the map, as long as it is kept.
frames = _of_body(
    "frames",
    sa.Column("frame_id", sa.Text, primary_key=True),
    sa.Column("place", Place, nullable=False),
    sa.Column("name", sa.Text, nullable=False),
    sa.Column("taken_at", sa.Text),
    sa.Column("f_number", sa.Float),
    sa.Column("observed", Packed, nullable=False),
    sa.Column("input", Packed),
    sa.Index("frame_place", "body_id", "place"),
)
# What was believed after all up to *place*: the last of each epoch, and some to fold anew from. *n* counts the frames
# folded; *scenes* are the frames whose evidence the state refers to.
states = _of_body(
    "states",
    sa.Column("place", Place, primary_key=True),
    sa.Column("epoch", Place, nullable=False),
    sa.Column("n", sa.Integer, nullable=False),
    sa.Column("state", Packed, nullable=False),
    sa.Column("scenes", Packed, nullable=False),
    sa.ForeignKeyConstraint(["body_id", "epoch"], ["epochs.body_id", "epochs.place"], ondelete="CASCADE"),
)
# Evidence of the frames that states and inputs refer to.
scenes = _of_body("scenes", sa.Column("frame_id", sa.Text, primary_key=True), sa.Column("evidence", Packed))
# What a person said is no dust, per frame and in the order of saying. It counts from *place* on, the frame's own unless
# that is too old to be folded anew. *told*: see `dustd.dustmap.rejection`.
rejections = _of_body(
    "rejections",
    sa.Column("frame_id", sa.Text, primary_key=True),
    sa.Column("number", sa.Integer, primary_key=True),
    sa.Column("place", Place, nullable=False),
    sa.Column("told", Packed, nullable=False),
)

# The samples of cleaned files, by the identity that they would have as frames: one that comes back is known.
cleaned = _of_body("cleaned", sa.Column("frame_id", sa.Text, primary_key=True))

PARTS = (epochs, dismissed, frames, states, scenes, rejections)  # of a body, in an order in which they can be written

_version = sa.Table("schema_version", metadata, sa.Column("version", sa.Integer, nullable=False))


class Database:
    """An open database with its tables up to date; SQLAlchemy's errors come out as ours.

    *path* is SQLite's file, None in memory and for a server. *damaged*: it was put aside, and nothing is in its place.
    *away*: it could not be reached yet; every use tries again.
    """

    def __init__(self, where: Path | str, *, wait: bool = False) -> None:
        """Open or create the database: a file, ":memory:", or the URL of a PostgreSQL database.

        Raises ConfigError for a URL that cannot be used, DamagedError if the file is damaged (it is renamed, not
        deleted), SurroundingsError if disk or server is in the way or it was written by a newer dustd; with *wait*
        whoever uses it is told that.
        """
        self.path: Path | None = None
        self.damaged = False
        self.away = True
        if "://" in str(where):
            self._engine = _server(str(where))
        else:
            self.path = None if str(where) == MEMORY else Path(where)
            self._engine = _file(self.path)
        try:
            self.begin_anew()
        except BaseException as exc:
            self.close()
            may_pass = isinstance(exc, SurroundingsError) and not self.damaged
            if not (wait and may_pass):
                raise

    def begin_anew(self) -> None:
        """Make the tables that lack; after damage there are none."""
        with self._changing() as db:
            self._bring_up_to_date(db)
        self.damaged = self.away = False

    def close(self) -> None:
        """Close all connections; what was committed is safe."""
        self._engine.dispose()

    @contextlib.contextmanager
    def reading(self) -> Iterator[sa.Connection]:
        """Give a connection that sees the same state of affairs throughout the block."""
        self._reach()
        with self._guarded(), self._engine.connect() as db:
            if db.dialect.name == "postgresql":  # SQLite's readers never see anything else
                db = db.execution_options(isolation_level="REPEATABLE READ")
            yield db

    @contextlib.contextmanager
    def changing(self) -> Iterator[sa.Connection]:
        """Do all of the block or nothing of it. SQLite: alone on the file; PostgreSQL: lock the body's row."""
        self._reach()
        with self._changing() as db:
            yield db

    def _reach(self) -> None:
        if self.away and not self.damaged:
            self.begin_anew()

    @contextlib.contextmanager
    def _changing(self) -> Iterator[sa.Connection]:
        with self._guarded(), self._engine.connect() as db:
            db = db.execution_options(changing=True)
            with db.begin():
                yield db

    def _bring_up_to_date(self, db: sa.Connection) -> None:
        version = self._read_version(db)
        if version > VERSION:
            raise SurroundingsError(
                f"the dust maps{self._named()} were written by a newer dustd (schema {version})",
                remedy="Update dustd, or set map.store to another place",
                path=self.path,
            )
        if version == VERSION:
            return
        from dustd.dustmap import migrations  # it needs the tables above

        migrations.create(db, version)
        if db.dialect.name == "sqlite":
            db.exec_driver_sql(f"PRAGMA user_version = {VERSION}")
        db.execute(_version.delete())
        db.execute(_version.insert(), {"version": VERSION})

    def _read_version(self, db: sa.Connection) -> int:
        """Read the schema version, 0 for a new database; one caller at a time."""
        if db.dialect.name == "sqlite":  # where dustd has always kept it
            return db.exec_driver_sql("PRAGMA user_version").scalar_one()
        db.execute(sa.text("SELECT pg_advisory_xact_lock(hashtext('dustd schema'))"))
        return db.execute(sa.select(_version.c.version)).scalar_one() if sa.inspect(db).has_table(_version.name) else 0

    def _named(self) -> str:
        return "" if self.path else f" at {self._engine.url.render_as_string(hide_password=True)}"

    @contextlib.contextmanager
    def _guarded(self) -> Iterator[None]:
        """Turn the database's errors into ours; put a damaged file aside.

        What a server holds is never put aside nor begun anew: other stations work with it.
        """
        try:
            yield
        except (sa.exc.IntegrityError, sa.exc.ProgrammingError) as exc:
            if getattr(exc.orig, "sqlstate", None) not in NO_RIGHTS:
                raise  # ours, not the surroundings'
            raise SurroundingsError(
                f"the dust maps{self._named()} may not be used ({_said(exc)})",
                remedy="Let the user that map.store names make, read and write tables in that database (GRANT)",
            ) from exc
        except (sa.exc.OperationalError, sa.exc.InterfaceError, sa.exc.InternalError) as exc:
            raise SurroundingsError(
                f"the dust maps{self._named()} cannot be used now ({_said(exc)})",
                remedy="See that the disk is writable and not full, that it is no folder, and that no program holds it"
                if self._engine.dialect.name == "sqlite"
                else "See that the server runs and lets this user in, and that map.store says where it is",
                path=self.path,
            ) from exc
        except (sa.exc.DatabaseError, GarbledError) as exc:
            if self._engine.dialect.name != "sqlite":
                raise SurroundingsError(
                    f"the dust maps{self._named()} hold something that cannot be read ({_said(exc)}); nothing of them "
                    "was changed",
                    remedy="Run dustd map repair with the output folders of all stations, or restore a backup",
                ) from exc
            self.close()
            self.damaged = True
            kept = _put_aside(self.path) if self.path is not None else None
            raise DamagedError(
                f"the dust maps{self._named()} are damaged ({_said(exc)})"
                + (f" and were put aside as {kept.name}" if kept else ""),
                remedy="Learn them again from the sidecars: dustd map rebuild FOLDER",
                path=self.path,
            ) from exc


def _file(path: Path | None) -> sa.Engine:
    """Prepare SQLite."""
    if path is not None:
        try:
            path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)  # as the XDG rules have it
        except OSError as exc:
            raise SurroundingsError(
                f"the dust maps cannot be opened ({exc})", remedy="Make the folder writable or set map.store", path=path
            ) from exc
    pool = {"poolclass": sa.pool.StaticPool} if path is None else {}
    engine = sa.create_engine(sa.URL.create("sqlite", database=str(path) if path else MEMORY), **pool)

    @sa.event.listens_for(engine, "connect")
    def prepare(connection: Any, _: Any) -> None:
        connection.isolation_level = None  # transactions begin where we say
        connection.execute(f"PRAGMA busy_timeout = {LOCK_WAIT_MS}")
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("PRAGMA synchronous = FULL")  # a counted frame survives a power cut, as its sidecar does
        connection.execute("PRAGMA foreign_keys = ON")

    @sa.event.listens_for(engine, "begin")
    def begin(db: sa.Connection) -> None:
        db.exec_driver_sql("BEGIN IMMEDIATE" if db.get_execution_options().get("changing") else "BEGIN")

    return engine


def _server(url: str) -> sa.Engine:
    """Prepare PostgreSQL, which several stations may share."""
    try:
        parsed = sa.make_url(url)
    except (sa.exc.ArgumentError, ValueError) as exc:
        raise ConfigError("map.store is not a database URL", remedy=_URL_REMEDY) from exc
    if parsed.drivername not in ("postgresql", "postgresql+psycopg"):
        raise ConfigError(f"map.store names an unknown kind of database, {parsed.drivername}", remedy=_URL_REMEDY)
    try:
        return sa.create_engine(
            parsed.set(drivername="postgresql+psycopg"),
            pool_pre_ping=True,  # the server may have been restarted since the last frame
            connect_args={"connect_timeout": 10, "options": f"-c lock_timeout={LOCK_WAIT_MS}"},
        )
    except ModuleNotFoundError as exc:
        raise ConfigError(
            "map.store names a PostgreSQL database, but the library that speaks to it is not installed",
            remedy='Install it: pip install "dustd[postgres]"',
        ) from exc


_URL_REMEDY = "Write a file's path, or postgresql+psycopg://user:password@host/database"


def _said(exc: Exception) -> str:
    """Repeat what the database said, in one line, without the statement."""
    return " ".join(str(getattr(exc, "orig", None) or exc).split())


def _put_aside(path: Path) -> Path:
    """Rename a damaged database, its journal files too, to the first free name, and leave a mark.

    Raises SurroundingsError if the disk is in the way.
    """
    number = 1
    while (kept := path.with_name(f"{path.name}.damaged-{number}")).exists():
        number += 1
    try:
        Lost(path).begin()  # first: whoever comes after a crash must know
        for suffix in ("-wal", "-shm"):
            journal = path.with_name(path.name + suffix)
            if journal.exists():
                journal.rename(kept.with_name(kept.name + suffix))
        path.rename(kept)
    except OSError as exc:
        raise SurroundingsError(
            f"the dust maps are damaged and cannot be put aside ({exc.strerror})",
            remedy="Make room on the disk and the folder writable",
            path=path,
        ) from exc
    return kept
