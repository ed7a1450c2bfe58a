"""PostgreSQL with pgvector: nearest passages of one table, and full-text search beside it where the table has a
column for it.

The table (``create`` makes one; a customer's own needs the same columns, or a view that has them):

    document text, version text, position int, title text, section text, text text,
    groups text[] not null default '{}', embedding vector(n), words tsvector
"""

from __future__ import annotations

from typing import Any

import numpy as np
from psycopg import AsyncConnection, sql
from psycopg_pool import AsyncConnectionPool

from gateway.chat import Passage
from gateway.clock import Deadline
from gateway.ports import Search, Vector
from gateway.retrieval.documents import Document
from gateway.retrieval.fusion import fuse
from gateway.retrieval.tokens import tokenize

_COLUMNS = sql.SQL("document, version, position, title, section, text")
_VISIBLE = sql.SQL("(groups = '{{}}' OR groups && %(groups)s)")
_DEPTH = 4  # rows of each leg for each passage wanted


class PgVectorSource:
    """Searches ``table`` ("name" or "schema.name"). ``words`` False for tables without the text-search column."""

    def __init__(self, name: str, pool: AsyncConnectionPool[Any], table: str, *, words: bool = True) -> None:
        self.name = name
        self._pool = pool
        self._table = sql.Identifier(*table.split("."))
        self._words = words

    async def search(self, search: Search, deadline: Deadline) -> list[Passage]:
        rankings = []
        if self._words and (tokens := dict.fromkeys(tokenize(search.text))):
            rankings.append(await self._by_words(search, list(tokens), deadline))
        if (vector := await search.vector()) is not None:
            rankings.append(await self._by_meaning(search, vector, deadline))
        passages = {p.id: p for ranking in rankings for p in ranking}
        return [passages[id] for id, _ in fuse([[p.id for p in ranking] for ranking in rankings], tie=str)][: search.k]

    async def _by_words(self, search: Search, tokens: list[str], deadline: Deadline) -> list[Passage]:
        query = sql.SQL(
            "SELECT {columns}, ts_rank(words, q) AS score FROM {table},"
            " to_tsquery('simple', %(wanted)s) q WHERE words @@ q AND {visible}"
            " ORDER BY score DESC, document, position LIMIT %(limit)s"
        ).format(columns=_COLUMNS, table=self._table, visible=_VISIBLE)
        return await self._rows(query, search, deadline, wanted=" | ".join(_quoted(token) for token in tokens))

    async def _by_meaning(self, search: Search, vector: Vector, deadline: Deadline) -> list[Passage]:
        query = sql.SQL(
            "SELECT {columns}, 1 - (embedding <=> %(vector)s::vector) AS score FROM {table} WHERE {visible}"
            " ORDER BY embedding <=> %(vector)s::vector LIMIT %(limit)s"
        ).format(columns=_COLUMNS, table=self._table, visible=_VISIBLE)
        return await self._rows(query, search, deadline, vector=_literal(vector))

    async def _rows(self, statement: sql.Composed, search: Search, deadline: Deadline, **values: Any) -> list[Passage]:
        values |= {"groups": sorted(search.groups), "limit": search.k * _DEPTH}
        async with self._pool.connection(timeout=deadline.remaining_s()) as db, db.transaction():
            ms = max(1, int(deadline.remaining_s() * 1000))  # the server stops too, should we be cut off
            await db.execute(sql.SQL("SET LOCAL statement_timeout = {}").format(sql.Literal(ms)))
            cursor = await db.execute(statement, values)
            return [_passage(self.name, *row) for row in await cursor.fetchall()]

    async def create(self, dimensions: int) -> None:
        """The table with its indexes, where there is none."""
        statement = sql.SQL(
            "CREATE EXTENSION IF NOT EXISTS vector;"
            " CREATE TABLE IF NOT EXISTS {table} (document text NOT NULL, version text NOT NULL, position int NOT NULL,"
            " title text NOT NULL, section text NOT NULL, text text NOT NULL, groups text[] NOT NULL DEFAULT '{{}}',"
            " embedding vector({n}), words tsvector, PRIMARY KEY (document, position));"
            " CREATE INDEX IF NOT EXISTS {near} ON {table} USING hnsw (embedding vector_cosine_ops);"
            " CREATE INDEX IF NOT EXISTS {found} ON {table} USING gin (words)"
        ).format(
            table=self._table,
            n=sql.Literal(dimensions),
            near=sql.Identifier(f"{self.name}_embedding"),
            found=sql.Identifier(f"{self.name}_words"),
        )
        async with self._pool.connection() as db:
            await db.execute(statement)

    async def put(self, document: Document, version: str) -> None:
        """Write or replace one document in one transaction."""
        async with self._pool.connection() as db, db.transaction():
            await self._delete(db, document.document)
            for position, piece in enumerate(document.pieces):
                vector = document.vectors[position] if document.vectors is not None else None
                tokens = tokenize(f"{document.title} {piece.section} {piece.text}")
                await db.execute(
                    sql.SQL(
                        "INSERT INTO {} VALUES (%s, %s, %s, %s, %s, %s, %s, %s::vector, array_to_tsvector(%s))"
                    ).format(self._table),
                    (document.document, version, position, document.title, piece.section, piece.text,
                     sorted(set(document.groups)), _literal(vector) if vector is not None else None,
                     sorted(set(tokens))),
                )  # fmt: skip

    async def delete(self, document: str) -> None:
        async with self._pool.connection() as db, db.transaction():
            await self._delete(db, document)

    async def _delete(self, db: AsyncConnection[Any], document: str) -> None:
        await db.execute(sql.SQL("DELETE FROM {} WHERE document = %s").format(self._table), (document,))


def _passage(
    collection: str,
    document: str,
    version: str,
    position: int,
    title: str,
    section: str,
    text: str,
    score: float | None,
) -> Passage:
    return Passage(collection, document, version, position, title, section, text, float(score or 0.0))


def _literal(vector: Vector) -> str:
    return "[" + ",".join(map(repr, np.asarray(vector, np.float64).tolist())) + "]"


def _quoted(token: str) -> str:
    """A token as a tsquery operand that cannot be read as an operator."""
    return "'" + token.replace("\\", "\\\\").replace("'", "''") + "'"
