"""The index of runs: SQLite in the home folder, or any database by setting one URL.

Run folders stay the truth: the index can be built again from them at any time.
"""

import json
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import sqlalchemy as sa

from orrery.errors import OrreryError
from orrery.home import home
from orrery.lab.folder import Run
from orrery.plan.record import Judgement

METADATA = sa.MetaData()
RUNS = sa.Table(
    "runs", METADATA,
    sa.Column("id", sa.String(120), primary_key=True),
    sa.Column("area", sa.String(40), nullable=False),
    sa.Column("stem", sa.String(80), nullable=False, index=True),
    sa.Column("scale", sa.String(10), nullable=False),
    sa.Column("ablation", sa.String(80)),
    sa.Column("created", sa.String(20), nullable=False),
    sa.Column("seconds", sa.Float, nullable=False),
    sa.Column("folder", sa.Text, nullable=False),
    sa.Column("settings", sa.Text, nullable=False),
)  # fmt: skip
VERDICTS = sa.Table(
    "verdicts", METADATA,
    sa.Column("run", sa.ForeignKey("runs.id", ondelete="CASCADE"), primary_key=True),
    sa.Column("position", sa.Integer, primary_key=True),
    sa.Column("claim", sa.String(80), index=True),
    sa.Column("text", sa.Text, nullable=False),
    sa.Column("verdict", sa.String(10), nullable=False),
    sa.Column("effect", sa.Float, nullable=False),
    sa.Column("margin", sa.Float, nullable=False),
    sa.Column("low", sa.Float),
    sa.Column("high", sa.Float),
)  # fmt: skip


class Store:
    """Finished runs and their verdicts, for whoever lists, compares or counts them."""

    def __init__(self, engine: sa.Engine) -> None:
        self._engine = engine

    @classmethod
    def open(cls) -> "Store":
        """The database at `ORRERY_DATABASE`, else `orrery.db` in the home folder.

        Raises:
            OrreryError: it cannot be opened.
        """
        ours = sa.URL.create("sqlite", database=str(home() / "orrery.db"))
        with _plain_errors():
            engine = sa.create_engine(os.environ.get("ORRERY_DATABASE") or ours)
            if engine.dialect.name == "sqlite":
                sa.event.listen(engine, "connect", _prepare_sqlite)
            with engine.begin() as connection:
                for table in METADATA.sorted_tables:  # another process may make them right now
                    connection.execute(sa.schema.CreateTable(table, if_not_exists=True))
                    for index in table.indexes:
                        connection.execute(sa.schema.CreateIndex(index, if_not_exists=True))
        return cls(engine)

    def index(self, run: Run, verdicts: Sequence[Judgement], seconds: dict[str, float]) -> None:
        """Enter a finished run, replacing what was known of it.

        Raises:
            OrreryError: the database cannot be written.
        """
        order = run.order
        entry = {
            "id": run.id, "area": order.area, "stem": order.stem, "scale": order.scale,
            "ablation": order.ablation, "created": order.created,
            "seconds": sum(seconds.values()), "folder": str(run.folder),
            "settings": json.dumps(order.settings),
        }  # fmt: skip
        rows = [
            {"run": run.id, "position": i, "claim": v.id, "text": v.text, "verdict": v.verdict,
             "effect": v.effect, "margin": v.margin, "low": v.low, "high": v.high}
            for i, v in enumerate(verdicts)
        ]  # fmt: skip
        with _plain_errors(), self._engine.begin() as connection:
            connection.execute(sa.delete(VERDICTS).where(VERDICTS.c.run == run.id))
            connection.execute(sa.delete(RUNS).where(RUNS.c.id == run.id))
            connection.execute(sa.insert(RUNS), entry)
            connection.execute(sa.insert(VERDICTS), rows)

    def verdicts(self, run_id: str) -> list[dict[str, object]]:
        """The verdicts of a run, in the order of its claims."""
        query = sa.select(VERDICTS).where(VERDICTS.c.run == run_id).order_by(VERDICTS.c.position)
        with self._engine.connect() as connection:
            return [dict(row._mapping) for row in connection.execute(query)]


@contextmanager
def _plain_errors() -> Iterator[None]:
    """Turn what goes wrong in a database into one line."""
    try:
        yield
    except (sa.exc.SQLAlchemyError, ImportError) as error:
        raise OrreryError(f"the run index does not work: {str(error).splitlines()[0]}") from error


def _prepare_sqlite(connection: Any, _: object) -> None:
    cursor = connection.cursor()
    for pragma in ("busy_timeout=30000", "journal_mode=WAL", "foreign_keys=ON"):
        cursor.execute(f"PRAGMA {pragma}")
    cursor.close()
