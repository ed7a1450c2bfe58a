"""Search structures of one collection: immutable segments of postings and vectors. No I/O, no locks; numpy only.

A change adds a small segment and masks the dead passages of older ones, so it is searchable in milliseconds; segments
of like size are merged later. Scores do not depend on how the passages are spread over segments: the same documents
give the same ranking whatever their history.
"""

from __future__ import annotations

import operator
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from gateway.ports import Vector, Vectors
from gateway.retrieval.coarse import Coarse
from gateway.retrieval.documents import Changes, IndexRow
from gateway.retrieval.tokens import Terms

K1 = 1.2
B = 0.75
#  Length norm is taken against a fixed passage length, not the collection's average: a score then depends on its
# passage only (and document frequencies), and an added document does not move the others. Passages are cut to one
# size anyway.
TYPICAL_TERMS = 200.0


@dataclass(frozen=True, slots=True)
class Hit:
    id: int  # of the passage in the record
    score: float


@dataclass(frozen=True, slots=True)
class Lexical:
    """What words find, best first."""

    hits: list[Hit]
    share: float  # of what the question's words score where a passage has each of them once, by the best hit


@dataclass(frozen=True, slots=True)
class Segment:
    """Postings and vectors of n passages."""

    ids: NDArray[np.int64]  # (n,) passage ids, ascending
    documents: NDArray[np.int64]  # (n,) internal document ids
    rights: NDArray[np.int32]  # (n,) index into ``groups``
    groups: tuple[str, ...]  # distinct JSON lists of groups
    alive: NDArray[np.bool_]  # (n,)
    vocabulary: NDArray[np.uint32]  # (t,) term ids, ascending
    offsets: NDArray[np.int64]  # (t + 1,) of each term's postings
    postings: NDArray[np.int32]  # passages with the term, ascending inside a term
    weights: NDArray[np.float32]  # saturated, length-normalised count beside each posting
    vectors: Vectors | None  # (n, dimensions); zero rows where a passage has none
    coarse: Coarse | None  # of ``vectors``, where there are many
    dead: int = 0

    @property
    def live(self) -> int:
        return len(self.ids) - self.dead

    @classmethod
    def build(cls, rows: Sequence[IndexRow]) -> Segment:
        groups: dict[str, int] = {}
        rights = np.fromiter((groups.setdefault(row.groups, len(groups)) for row in rows), np.int32, len(rows))
        vocabulary, offsets, postings, weights = _invert([row.terms for row in rows])
        return cls(
            ids=np.fromiter((row.id for row in rows), np.int64, len(rows)),
            documents=np.fromiter((row.document_id for row in rows), np.int64, len(rows)),
            rights=rights,
            groups=tuple(groups),
            alive=np.ones(len(rows), np.bool_),
            vocabulary=vocabulary,
            offsets=offsets,
            postings=postings,
            weights=weights,
            vectors=(vectors := _matrix([row.vector for row in rows])),
            coarse=Coarse.of(vectors),
        )

    def without(self, documents: NDArray[np.int64]) -> Segment:
        """The same segment with the passages of these documents masked."""
        alive = self.alive & ~np.isin(self.documents, documents)
        dead = len(alive) - int(np.count_nonzero(alive))
        return self if dead == self.dead else replace(self, alive=alive, dead=dead)

    def find(self, terms: NDArray[np.uint32]) -> list[tuple[NDArray[np.int32], NDArray[np.float32]]]:
        """Live passages with each term, and their weights."""
        ends = np.searchsorted(self.vocabulary, terms, side="right")
        starts = np.searchsorted(self.vocabulary, terms)
        return [self._with(*part) for part in zip(self.offsets[starts], self.offsets[ends], strict=True)]

    def _with(self, start: int, end: int) -> tuple[NDArray[np.int32], NDArray[np.float32]]:
        postings, weights = self.postings[start:end], self.weights[start:end]
        if self.dead:
            kept = self.alive[postings]
            return postings[kept], weights[kept]
        return postings, weights

    def visible(self, allowed: Mapping[str, bool]) -> NDArray[np.bool_] | None:
        """Which passages may be returned; None = all."""
        if all(allowed[group] for group in self.groups):
            return self.alive if self.dead else None
        return self.alive & np.array([allowed[group] for group in self.groups], np.bool_)[self.rights]


def _invert(
    passages: Sequence[Terms],
) -> tuple[NDArray[np.uint32], NDArray[np.int64], NDArray[np.int32], NDArray[np.float32]]:
    sizes = np.fromiter((len(terms.ids) for terms in passages), np.int64, len(passages))
    if not sizes.sum():
        return np.empty(0, np.uint32), np.zeros(1, np.int64), np.empty(0, np.int32), np.empty(0, np.float32)
    lengths = np.fromiter((terms.counts.sum(dtype=np.int64) for terms in passages), np.float32, len(passages))
    # One 64-bit sort (vectorised in numpy) instead of a dictionary of lists: term | passage | count.
    keys = np.concatenate([terms.ids for terms in passages]).astype(np.uint64) << np.uint64(32)
    keys |= np.repeat(np.arange(len(passages), dtype=np.uint64), sizes) << np.uint64(8)
    keys |= np.concatenate([terms.counts for terms in passages]).astype(np.uint64)
    keys.sort()
    counts = (keys & np.uint64(0xFF)).astype(np.float32)
    postings = ((keys >> np.uint64(8)) & np.uint64(0xFFFFFF)).astype(np.int32)  # up to 16.7 M passages a segment
    ids = (keys >> np.uint64(32)).astype(np.uint32)
    starts = np.concatenate(([0], np.flatnonzero(ids[1:] != ids[:-1]) + 1))
    norms = (K1 * (1 - B + B * lengths / TYPICAL_TERMS)).astype(np.float32)
    weights = counts * np.float32(K1 + 1) / (counts + norms[postings])
    return ids[starts], np.append(starts, len(ids)).astype(np.int64), postings, weights.astype(np.float32)


def _matrix(blobs: Sequence[bytes | None]) -> Vectors | None:
    size = max((len(blob) for blob in blobs if blob is not None), default=0)
    if not size:
        return None
    empty = bytes(size)
    joined = b"".join(blob if blob is not None and len(blob) == size else empty for blob in blobs)
    return np.frombuffer(joined, "<f4").reshape(len(blobs), size // 4)


def merge(segments: Sequence[Segment]) -> Segment:
    """One segment of the live passages of several. Takes seconds at 100k passages: call it from a thread."""
    ids = np.concatenate([s.ids[s.alive] for s in segments])
    order = np.argsort(ids, kind="stable")
    rank = np.empty(len(ids), np.int64)
    rank[order] = np.arange(len(ids))
    groups = tuple(dict.fromkeys(group for s in segments for group in s.groups))
    rights, terms, postings, weights = [], [], [], []
    start = 0
    for s in segments:
        rights.append(np.array([groups.index(group) for group in s.groups], np.int32)[s.rights[s.alive]])
        moved = np.zeros(len(s.ids), np.int64)
        moved[s.alive] = rank[start : start + s.live]
        start += s.live
        kept = s.alive[s.postings]
        terms.append(np.repeat(s.vocabulary, np.diff(s.offsets))[kept])
        postings.append(moved[s.postings[kept]])
        weights.append(s.weights[kept])
    keys = (np.concatenate(terms).astype(np.uint64) << np.uint64(32)) | np.concatenate(postings).astype(np.uint64)
    by_term = np.argsort(keys)
    keys = keys[by_term]
    found = (keys >> np.uint64(32)).astype(np.uint32)
    starts = np.flatnonzero(np.concatenate(([True], found[1:] != found[:-1]))) if len(found) else np.empty(0, np.int64)
    return Segment(
        ids=ids[order],
        documents=np.concatenate([s.documents[s.alive] for s in segments])[order],
        rights=np.concatenate(rights)[order],
        groups=groups,
        alive=np.ones(len(ids), np.bool_),
        vocabulary=found[starts],
        offsets=np.append(starts, len(found)).astype(np.int64),
        postings=(keys & np.uint64(0xFFFFFFFF)).astype(np.int32),
        weights=np.concatenate(weights)[by_term],
        vectors=(vectors := _merged_vectors(segments, order)),
        coarse=Coarse.of(vectors),
    )


def _merged_vectors(segments: Sequence[Segment], order: NDArray[np.int64]) -> Vectors | None:
    width = max((s.vectors.shape[1] for s in segments if s.vectors is not None), default=0)
    if not width:
        return None
    parts = [
        s.vectors[s.alive]
        if s.vectors is not None and s.vectors.shape[1] == width
        else np.zeros((s.live, width), np.float32)
        for s in segments
    ]
    return np.concatenate(parts)[order]


@dataclass(frozen=True, slots=True)
class Index:
    """All segments of a collection as of ``touched`` in the record."""

    segments: tuple[Segment, ...] = ()
    touched: int = 0

    @property
    def live(self) -> int:
        return sum(s.live for s in self.segments)

    def apply(self, changes: Changes) -> Index:
        """This index with the changed documents replaced."""
        gone = np.array(changes.documents, np.int64)
        kept = [s.without(gone) for s in self.segments] if self.segments and len(gone) else list(self.segments)
        if changes.rows:
            kept.append(Segment.build(changes.rows))
        return Index(tuple(s for s in kept if s.live), changes.touched)

    def compacted(self) -> Index:
        """The same passages in fewer segments; returns itself where nothing is worth merging."""
        segments = list(self.segments)
        if segments and segments[0].dead * 2 > len(segments[0].ids):
            segments[0] = merge(segments[:1])
        while len(segments) > 1 and segments[-2].live <= 2 * segments[-1].live:  # sizes stay geometric: few segments
            segments[-2:] = [merge(segments[-2:])]
        same = len(segments) == len(self.segments) and all(map(operator.is_, segments, self.segments))
        return self if same else replace(self, segments=tuple(segments))

    def lexical(self, terms: Terms, k: int, allowed: Mapping[str, bool]) -> Lexical:
        """The ``k`` best passages by BM25, best first; ties by passage id."""
        found = [s.find(terms.ids) for s in self.segments]
        frequency = np.array([sum(len(hits[t][0]) for hits in found) for t in range(len(terms.ids))], np.float64)
        total = self.live
        idf = np.log1p((total - frequency + 0.5) / (frequency + 0.5)).astype(np.float32)  # never negative
        tops = []
        for segment, hits in zip(self.segments, found, strict=True):
            scores = np.zeros(len(segment.ids), np.float32)
            for rarity, (postings, weights) in zip(idf, hits, strict=True):
                np.add.at(scores, postings, weights * rarity)  # a third of the time of scores[postings] += …
            tops.append(_top(segment, scores, k, allowed))
        best = _best(tops, k)
        return Lexical(best, best[0].score / float(idf.sum()) if best else 0.0)

    def dense(self, vector: Vector, k: int, allowed: Mapping[str, bool]) -> list[Hit]:
        """The ``k`` passages nearest in meaning, best first; ties by passage id."""
        tops = [
            _nearest(s, s.vectors, vector, k, allowed)
            for s in self.segments
            if s.vectors is not None and s.vectors.shape[1] == len(vector)
        ]
        return _best(tops, k)

    def rights(self) -> Iterable[str]:
        """Every distinct list of groups in use."""
        return {group for s in self.segments for group in s.groups}


def _nearest(segment: Segment, vectors: Vectors, vector: Vector, k: int, allowed: Mapping[str, bool]) -> list[Hit]:
    if segment.coarse is None:
        return _top(segment, vectors @ vector, k, allowed)
    near = segment.coarse.near(vector, k, segment.visible(allowed))
    cosines = vectors[near] @ vector
    near, cosines = near[cosines > 0], cosines[cosines > 0]  # 0: no vector yet
    best = np.lexsort((segment.ids[near], -cosines))[:k]
    return [Hit(int(segment.ids[near[i]]), float(cosines[i])) for i in best]


def _top(segment: Segment, scores: NDArray[np.float32], k: int, allowed: Mapping[str, bool]) -> list[Hit]:
    visible = segment.visible(allowed)
    if visible is not None:
        scores = np.where(visible, scores, np.float32(0))
    if len(scores) > 4 * k:
        cut = np.partition(scores, len(scores) - k)[len(scores) - k]
        best = np.flatnonzero(scores >= max(cut, np.float32(1e-9)))
    else:
        best = np.flatnonzero(scores > 0)
    best = best[np.lexsort((segment.ids[best], -scores[best]))][:k]
    return [Hit(int(segment.ids[i]), float(scores[i])) for i in best]


def _best(tops: Iterable[list[Hit]], k: int) -> list[Hit]:
    return sorted((hit for top in tops for hit in top), key=lambda hit: (-hit.score, hit.id))[:k]
