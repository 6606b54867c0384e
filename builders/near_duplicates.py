"""near_duplicates: one row is one snippet and a better snippet that it resembles.

The better one is the head of a cluster. The snippets of a cluster all resemble its head; it is not
enough to resemble another member. The row holds all similarities of the two. Which snippets are
dropped is decided later, in `queries/pool_verdicts.sql`.

In: raw_pool, snippet_checks and snippet_occurrences. Out: `near_duplicates`.

Code is compared as sets of token grams, without comments, docstrings, annotations and layout, in
two channels: `raw`, and `renamed`, where the names that a function binds do not count. The grams of
a short function say little, so a short function only resembles one that is equal in a channel.

Docstrings are compared in a third channel, `docstring`, as sets of word grams: a docstring becomes
a problem, and one problem should not be posed twice. Docstrings of unlike functions often differ in
one word only ("… the missed chunks", "… the incorrect chunks"). So alike docstrings are looked for
among functions of the same name, and under other names only those of the same words.

How, in memory that hardly grows with the number of snippets:
    1. One pass over the texts writes their gram sets, and the keys of their LSH bands, to scratch
       files. These are about as large as the texts.
    2. Band by band, snippets that share a key become pairs: each with the best snippets of its
       bucket, in the order of quality of `queries/near_duplicate_texts.sql`.
    3. The Jaccard similarity of every pair is computed exactly, from the gram sets, one block of
       snippets after the other.
    4. `queries/near_duplicates.sql` keeps the most similar heads of each snippet.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

import queries
from builders.code import bound_names, minhash, words
from builders.code import tokens as lexing
from builders.code.minhash import Sets
from builders.recipe import NearDuplicates
from store import Plan, Record, Store, fields_of
from store.catalog import connect

CHANNELS = ("raw", "renamed", "docstring")
PAIRS = pa.schema(
    [
        ("snippet_id", pa.string()),
        ("cluster_id", pa.string()),
        ("head_position", pa.int64()),
        ("similarity_raw", pa.float32()),
        ("similarity_renamed", pa.float32()),
        ("similarity_docstring", pa.float32()),
    ]
)
"""What `queries/near_duplicates.sql` reads as `similar_pairs`."""

_TEXTS_PER_BATCH = 4096
_SQL_MEMORY = "512MB"
_PAIRS_AT_ONCE = 1 << 21
_GRAMS_IN_A_BLOCK, _MOST_BLOCKS = 1 << 23, 48
"""A block has 32 MiB of grams, or more when there would be too many blocks. Two blocks of all
channels are in memory at a time, and a block is read once for each block before it."""
_DOCSTRING_BANDS, _DOCSTRING_ROWS = 10, 4
"""They find a similarity of 0.8 in 99.5% of cases and one of 0.7 in 94%. Many unlike pairs would be
found, too, but few functions have the same name."""
_32, _LOW = np.uint64(32), np.uint64(0xFFFFFFFF)


def build(store: Store, settings: NearDuplicates) -> Record:
    """Find the near-duplicates of raw_pool."""
    plan = Plan(
        table="near_duplicates",
        inputs=store.input("raw_pool") | store.input("snippet_checks") | store.input("snippet_occurrences"),
        fields={k: v for k, v in fields_of(settings).items() if not k.startswith("min_")},
        texts=queries.versions("near_duplicate_texts", "near_duplicates"),
    )
    return store.materialize_stream(plan, lambda: _rows(store, plan.inputs, settings))


def gram_sets(texts: pa.Array, settings: NearDuplicates) -> dict[str, Sets]:
    """The gram sets of each text, by channel (`raw`, `renamed`).

    A text of fewer than `short_tokens` tokens has one gram: all of it. A text without code has
    none.
    """
    raw = lexing.code(lexing.lex(texts))
    renamed = bound_names.only_bound(raw)
    return {
        "raw": _grams(raw, settings.raw_gram, False, settings.short_tokens),
        "renamed": _grams(renamed, settings.renamed_gram, True, settings.short_tokens),
    }


def docstring_keys(batch: pa.Table, sets: Sets, settings: NearDuplicates) -> np.ndarray:
    """The LSH keys of docstrings, uint32 (10 bands and 1, texts).

    Those of the bands are of the docstring and the function's own name together, so that alike
    docstrings share them only under one name. The last one is shared by long docstrings of the same
    words under any name.
    """
    own_names = pc.replace_substring_regex(batch["name"].combine_chunks(), r"^.*\.", "")
    names, whole = words.sequences(own_names), words.sequences(batch["docstring"].combine_chunks())
    is_long = batch["num_docstring_words"].to_numpy() >= settings.short_docstring_words
    keys = minhash.band_keys(*sets, _DOCSTRING_BANDS, _DOCSTRING_ROWS) ^ names
    return np.vstack([keys, np.where(is_long, whole, whole ^ names)])


def _grams(lexed: lexing.Lexed, n: int, rename: bool, short_tokens: int) -> Sets:
    found = lexing.grams(lexed, n, rename=rename)
    num_tokens, sizes = np.diff(lexed.offsets), np.diff(found.offsets)
    is_short = num_tokens < short_tokens
    is_kept = np.repeat(~is_short, sizes)
    sizes = np.where(is_short, num_tokens > 0, sizes)
    offsets = np.concatenate([[0], np.cumsum(sizes)]).astype(np.int64)
    hashes = np.empty(offsets[-1], np.uint32)
    hashes[np.repeat(~is_short, sizes)] = found.hashes[is_kept] >> np.uint64(32)
    for width in np.unique(num_tokens[is_short & (num_tokens > 0)]):
        of_width = np.flatnonzero(num_tokens == width)
        hashes[offsets[of_width]] = _wholes(lexed, of_width, int(width), rename) >> np.uint64(32)
    return minhash.distinct(hashes, offsets)


def _wholes(lexed: lexing.Lexed, texts: np.ndarray, width: int, rename: bool) -> np.ndarray:
    """One gram for each of the texts, all of `width` tokens: uint64 (texts,)."""
    tokens = (lexed.offsets[texts][:, None] + np.arange(width)).ravel()
    offsets = np.arange(len(texts) + 1, dtype=np.int64) * width
    part = {name: getattr(lexed, name)[tokens] for name in ("hashes", "kinds", "starts", "ends")}
    return lexing.grams(replace(lexed, offsets=offsets, **part), width, rename=rename).hashes


def _rows(store: Store, inputs: dict[str, str], settings: NearDuplicates) -> Iterator[pa.RecordBatch]:
    folder = Path(store.scratch("near-duplicates"))
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    try:
        _write_sketches(_texts(store, inputs), settings, folder)
        _write_similar_pairs(settings, folder, _candidates(settings, folder))
        pairs = {"similar_pairs": [str(folder / "pairs.parquet")]}
        connection = connect(store, inputs, memory_limit=_SQL_MEMORY, extra=pairs)
        yield from queries.stream(connection, "near_duplicates", fields_of(settings))
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _texts(store: Store, inputs: dict[str, str]) -> Iterator[pa.Table]:
    """Batches of the columns of `near_duplicate_texts.sql`, in any order."""
    for batch in queries.stream(connect(store, inputs, memory_limit=_SQL_MEMORY), "near_duplicate_texts"):
        for start in range(0, batch.num_rows, _TEXTS_PER_BATCH):
            yield pa.Table.from_batches([batch.slice(start, _TEXTS_PER_BATCH)])


def _write_sketches(texts: Iterator[pa.Table], settings: NearDuplicates, folder: Path) -> None:
    """Write what is known of each snippet with code to files.

    The n-th entry of each file belongs to the n-th snippet that was read. The files are
        positions, id-sizes       of each snippet
        ids                       the ids one after the other, as bytes
        <channel>-<band>          the LSH keys of one band
        <channel>-sets            the sorted gram sets, one after the other
        <channel>-sizes           the number of grams of each set
    All but `ids` hold uint32.
    """
    names = ["positions", "ids", "id-sizes"]
    for channel in CHANNELS:
        names += [f"{channel}-{name}" for name in ("sets", "sizes", *range(_num_bands(channel, settings)))]
    with ExitStack() as stack:
        files = {name: stack.enter_context((folder / name).open("wb")) for name in names}
        for batch in texts:
            sets = gram_sets(batch["code"].combine_chunks(), settings)
            has_code = np.diff(sets["raw"][1]) > 0
            sets["docstring"] = words.grams(batch["docstring"].combine_chunks(), settings.docstring_gram)
            named = batch.filter(pa.array(has_code))
            written = {
                "positions": named["position"].to_numpy(),
                "ids": np.frombuffer("".join(named["snippet_id"].to_pylist()).encode(), np.uint8),
                "id-sizes": pc.binary_length(named["snippet_id"]).to_numpy(),
            }
            for channel, (hashes, offsets) in sets.items():
                written |= {f"{channel}-sets": hashes, f"{channel}-sizes": np.diff(offsets)[has_code]}
                if channel == "docstring":
                    keys = docstring_keys(batch, (hashes, offsets), settings)
                else:
                    keys = minhash.band_keys(hashes, offsets, settings.bands, settings.rows)
                written |= {f"{channel}-{band}": of_band[has_code] for band, of_band in enumerate(keys)}
            for name, values in written.items():
                files[name].write(values.astype(np.uint8 if name == "ids" else np.uint32).tobytes())


def _num_bands(channel: str, settings: NearDuplicates) -> int:
    return _DOCSTRING_BANDS + 1 if channel == "docstring" else settings.bands


def _candidates(settings: NearDuplicates, folder: Path) -> np.ndarray:
    """Every pair that shares a key, once, sorted.

    A pair is a uint64: `later position << 32 | earlier position`.
    """
    positions = _file(folder / "positions")
    found, fresh = np.empty(0, np.uint64), list[np.ndarray]()
    for channel in CHANNELS:
        # The keys of an empty set mean nothing. A set of code is never empty here.
        is_told = _file(folder / f"{channel}-sizes") > 0
        told = positions[is_told]
        for band in range(_num_bands(channel, settings)):
            keys = _file(folder / f"{channel}-{band}")[is_told]
            fresh.append(minhash.bucket_pairs(keys, told, settings.max_heads))
            if sum(map(len, fresh)) > max(len(found), _PAIRS_AT_ONCE):
                found, fresh = _once(found, fresh), []
    return _once(found, fresh)


def _once(found: np.ndarray, fresh: list[np.ndarray]) -> np.ndarray:
    """All pairs, sorted, each once.

    `np.unique` would take three times as long, because it hashes.
    """
    every = np.concatenate([found, *fresh])
    every.sort()
    return every[np.concatenate([[True], every[1:] != every[:-1]])[: len(every)]]


def _write_similar_pairs(settings: NearDuplicates, folder: Path, pairs: np.ndarray) -> None:
    """Write `pairs.parquet`: the pairs whose similarity reaches the floor in a channel."""
    positions, ids = _file(folder / "positions"), _ids(folder)
    with pq.ParquetWriter(folder / "pairs.parquet", PAIRS) as writer:
        for left, right, *measured in _similarities(folder, _as_entries(pairs, positions)):
            kept = np.maximum.reduce(measured) >= np.float32(settings.floor)
            left, right = left[kept], right[kept]
            is_head = positions[left] < positions[right]
            head, other = np.where(is_head, left, right), np.where(is_head, right, left)
            columns = [ids.take(pa.array(other)), ids.take(pa.array(head)), positions[head]]
            columns += [similarity[kept] for similarity in measured]
            writer.write_table(pa.table([pa.array(c) for c in columns], PAIRS.names).cast(PAIRS))


def _as_entries(pairs: np.ndarray, positions: np.ndarray) -> np.ndarray:
    """Pairs of positions as pairs of entries, `lower << 32 | higher`, sorted.

    An entry is the place of a snippet in the files. The result overwrites `pairs`.
    """
    entry_of = np.empty(int(positions.max(initial=0)) + 1, np.uint64)
    entry_of[positions] = np.arange(len(positions), dtype=np.uint64)
    for start in range(0, len(pairs), _PAIRS_AT_ONCE):
        some = pairs[start : start + _PAIRS_AT_ONCE]
        one, other = entry_of[some >> _32], entry_of[some & _LOW]
        some[:] = np.minimum(one, other) << _32 | np.maximum(one, other)
    pairs.sort()
    return pairs


def _similarities(folder: Path, pairs: np.ndarray) -> Iterator[tuple[np.ndarray, ...]]:
    """The entries and similarities of all pairs: arrays (left, right, raw, renamed, docstring).

    Two blocks of entries are in memory at a time, and the pairs between them are computed. So the
    sets are read in one go per block, and are never all in memory.
    """
    offsets = {channel: _offsets(folder / f"{channel}-sizes") for channel in CHANNELS}
    bounds = _bounds(list(offsets.values()))

    def sets(first: int, stop: int) -> dict[str, Sets]:
        return {channel: _sets(folder / f"{channel}-sets", offsets[channel], first, stop) for channel in CHANNELS}

    for row, (first, stop) in enumerate(pairwise(bounds)):
        of_row = _between(pairs, first, stop)
        turned = (of_row & _LOW) << _32 | of_row >> _32
        turned.sort()
        lefts = sets(first, stop) if len(turned) else {}
        for first_right, stop_right in pairwise(bounds[row:]):
            found = _between(turned, first_right, stop_right)
            rights = sets(first_right, stop_right) if len(found) else {}
            for start in range(0, len(found), _PAIRS_AT_ONCE):
                some = found[start : start + _PAIRS_AT_ONCE]
                left, right = (some & _LOW).astype(np.int64), (some >> _32).astype(np.int64)
                pair = left - first, right - first_right
                yield left, right, *(minhash.jaccard(lefts[c], rights[c], *pair) for c in CHANNELS)


def _bounds(offsets: list[np.ndarray]) -> list[int]:
    """The first entry of each block, and the end of the last block.

    Blocks take about equally much memory. Each has at least one entry.
    """
    bounds, num_entries = [0], len(offsets[0]) - 1
    size = max(_GRAMS_IN_A_BLOCK, *(int(o[-1]) // _MOST_BLOCKS for o in offsets))
    while bounds[-1] < num_entries:
        last = bounds[-1]
        ends = [int(np.searchsorted(o, o[last] + size, "right")) - 1 for o in offsets]
        bounds.append(min(num_entries, max(last + 1, min(ends))))
    return bounds


def _between(pairs: np.ndarray, first: int, stop: int) -> np.ndarray:
    """Of sorted pairs, those whose upper half is from `first` (included) to `stop` (excluded)."""
    low, high = np.searchsorted(pairs, np.array([first, stop], np.uint64) << _32)
    return pairs[low:high]


def _sets(path: Path, offsets: np.ndarray, first: int, stop: int) -> Sets:
    """The gram sets of some entries, in memory."""
    begin, end = int(offsets[first]), int(offsets[stop])
    hashes = np.fromfile(path, np.uint32, end - begin, offset=begin * np.dtype(np.uint32).itemsize)
    return hashes, offsets[first : stop + 1] - begin


def _file(path: Path) -> np.ndarray:
    """A file of uint32, read from disk as it is needed."""
    if path.stat().st_size == 0:  # nothing can be mapped
        return np.empty(0, np.uint32)
    return np.asarray(np.memmap(path, np.uint32, "r"))


def _offsets(path: Path) -> np.ndarray:
    """A file of sizes as offsets: int64 (entries + 1,)."""
    sizes = _file(path)
    offsets = np.zeros(len(sizes) + 1, np.int64)
    np.cumsum(sizes, dtype=np.int64, out=offsets[1:])
    return offsets


def _ids(folder: Path) -> pa.Array:
    """The snippet ids by entry, read from disk as they are needed."""
    offsets = _offsets(folder / "id-sizes")
    data = pa.py_buffer(b"") if offsets[-1] == 0 else pa.memory_map(str(folder / "ids")).read_buffer()
    return pa.Array.from_buffers(pa.large_string(), len(offsets) - 1, [None, pa.py_buffer(offsets), data])
