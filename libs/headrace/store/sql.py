"""The registry as SQL: a view of the log for people and tools, written by upserts so that a repeat changes nothing.

SQLite by default, PostgreSQL by URL; drop the tables, replay the effects, and they come back the same.
"""

from collections.abc import Mapping
from functools import lru_cache
from typing import Any

from sqlalchemy import (
    JSON,
    BigInteger,
    Column,
    Engine,
    Float,
    Integer,
    MetaData,
    String,
    Table,
    create_engine,
)
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.exc import ArgumentError, NoSuchModuleError, OperationalError

from headrace.errors import ConfigurationError, UnreachableError

_INSERTS: Mapping[str, Any] = {"sqlite": sqlite.insert, "postgresql": postgresql.insert}
METADATA = MetaData()

MODEL_VERSIONS = Table(
    "model_versions",
    METADATA,
    Column("pipeline", String, primary_key=True),
    Column("version", Integer, primary_key=True),
    Column("model_name", String, nullable=False),
    Column("model_digest", String, nullable=False),
    Column("candidate_id", String, nullable=False, unique=True),
    Column("training_id", String, nullable=False),
    Column("dataset_digest", String, nullable=False),
    Column("rows", BigInteger, nullable=False),
    Column("loss", Float, nullable=False),
    Column("tick", BigInteger, nullable=False),
)

ALIASES = Table(
    "aliases",
    METADATA,
    Column("pipeline", String, primary_key=True),
    Column("alias", String, primary_key=True),
    Column("version", Integer, nullable=False),
    Column("model_digest", String, nullable=False),
    Column("cause", String, nullable=False),
    Column("tick", BigInteger, nullable=False),
)

DECISIONS = Table(
    "decisions",
    METADATA,
    Column("decision_id", String, primary_key=True),
    Column("pipeline", String, nullable=False, index=True),
    Column("tick", BigInteger, nullable=False),
    Column("decision", String, nullable=False),
    Column("version", Integer),
    Column("detail", JSON, nullable=False),
)


@lru_cache(maxsize=4)
def connect(url: str) -> Engine:
    """Return an engine on the database, its tables made where they are missing.

    Raises:
        ConfigurationError: when the URL is none that SQLAlchemy knows, or names neither SQLite nor PostgreSQL.
        UnreachableError: when the database does not answer.

    """
    try:
        engine = create_engine(url)
        if engine.dialect.name not in _INSERTS:
            raise ConfigurationError(
                f"{engine.dialect.name} cannot hold the views", "use SQLite or PostgreSQL"
            )
        METADATA.create_all(engine)
    except (ArgumentError, NoSuchModuleError) as error:
        raise ConfigurationError(
            "the database URL is wrong", str(error), "unset HEADRACE_DATABASE_URL"
        ) from error
    except OperationalError as error:
        raise UnreachableError("the database does not answer", str(error.orig)) from error
    return engine


def upsert(engine: Engine, rows: Mapping[Table, Mapping[str, Any]]) -> None:
    """Write one row a table in one transaction; a row with the same primary key is replaced.

    Raises:
        UnreachableError: when the database does not answer.

    """
    try:
        with engine.begin() as connection:
            for table, values in rows.items():
                statement = _INSERTS[engine.dialect.name](table).values(**values)
                keys = [column.name for column in table.primary_key]
                rest = {name: value for name, value in values.items() if name not in keys}
                connection.execute(statement.on_conflict_do_update(index_elements=keys, set_=rest))
    except OperationalError as error:
        raise UnreachableError("the database does not answer", str(error.orig)) from error
