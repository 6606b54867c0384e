"""What a pool repeats, and how varied it is: the thresholds side by side, on packages of others.

    # wheels and sdists, one source each; nothing is installed
    pip download --no-deps -d /tmp/two networkx==2.8.8
    pip download --no-deps -d /tmp/two networkx==3.3
    python benchmarks/pool/variety.py /tmp/two

Prints two tables. The first one says how many functions are kept, and how many names stand twice in
the pool: once from each of two versions of a package. `off` takes no docstrings into account. The
second one gives the rows, the largest repository, and the effective number of repositories and
topics (inverse Simpson index) for each `pool.max_repo_share`. With `--pairs N` it prints N pairs
that only their docstrings make near-duplicates, to be read.
"""

from __future__ import annotations

import argparse
import re
import sys
import tempfile
from pathlib import Path
from typing import Any

import duckdb

sys.path.insert(0, str(Path(__file__).parents[2]))

import queries
import scoder
from builders import pool
from builders.recipe import Recipe
from store import Store
from store.catalog import connect

ANY: dict[str, Any] = {"max_repo_share": 1.0, "max_topic_share": 1.0}
KEPT = """
    SELECT r.snippet_id, r.name, min(o.source) AS source
    FROM verdicts AS v
    JOIN raw_pool AS r ON r.snippet_id = v.snippet_id
    JOIN snippet_occurrences AS o ON o.snippet_id = v.snippet_id
    WHERE v.reason IS NULL
    GROUP BY ALL
"""
PAIRS = """
    SELECT s.name, h.name, d.similarity_docstring, d.similarity_raw, s.docstring, h.docstring
    FROM near_duplicates AS d
    JOIN raw_pool AS s ON s.snippet_id = d.snippet_id
    JOIN raw_pool AS h ON h.snippet_id = d.cluster_id
    WHERE list_contains($gone, d.snippet_id) AND list_contains($kept, d.cluster_id)
        AND d.similarity_docstring >= $least
    ORDER BY md5(d.snippet_id), d.cluster_id
"""


def recipe(folder: Path) -> Recipe:
    """A recipe that makes a pool of the archives of a folder."""
    sources = [
        {"name": f"archive-{number}", "kind": "archive", "path": str(path)}
        for number, path in enumerate(sorted(folder.iterdir()))
    ]
    return Recipe.model_validate({"name": "variety", "sources": sources, "executor": {"workers": 1}})


def packages(folder: Path) -> dict[str, str]:
    """The package of each source, without its version."""
    names = [re.sub(r"-\d.*", "", path.name) for path in sorted(folder.iterdir())]
    return {f"archive-{number}": name for number, name in enumerate(names)}


def kept(connection: duckdb.DuckDBPyConnection, given: dict[str, Any]) -> list[tuple[str, str, str]]:
    """(snippet_id, name, source) of the pool under these thresholds."""
    queries.with_verdicts(connection, pool.QUERY, given)
    return connection.sql(KEPT).fetchall()


def left_twice(rows: list[tuple[str, str, str]], package_of: dict[str, str]) -> int:
    """Names that the pool has from more than one version of a package."""
    versions: dict[tuple[str, str], set[str]] = {}
    for _, name, source in rows:
        versions.setdefault((package_of[source], name), set()).add(source)
    return sum(len(found) > 1 for found in versions.values())


def varied(connection: duckdb.DuckDBPyConnection, given: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """The report of the variety of the pool under these thresholds."""
    queries.with_verdicts(connection, pool.QUERY, given)
    rows = queries.table(connection, "pool", given)
    with duckdb.connect() as alone:
        alone.register("pool", rows)
        return {row["grouped_by"]: row for row in queries.rows(alone, "report_variety")}


def main() -> None:
    """Build what the decision reads, then decide many times."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path, help="folder of wheels and sdists")
    parser.add_argument("--pairs", type=int, default=0)
    options = parser.parse_args()
    made, package_of = recipe(options.folder), packages(options.folder)
    with tempfile.TemporaryDirectory(prefix="variety-") as folder:
        scoder.build_pool(Store(folder), made)
        connection, given = connect(Store(folder)), pool.values(made)
        print(f"{'docstrings from':>16} {'kept':>6} {'names twice':>12}")
        found = {
            least: kept(connection, given | ANY | {"min_similarity_docstring": least}) for least in (2, 0.9, 0.8, 0.7)
        }
        for least, rows in found.items():
            print(f"{'off' if least > 1 else least:>16} {len(rows):6,} {left_twice(rows, package_of):12}")
        print(f"\n{'max_repo_share':>16} {'rows':>6} {'repositories':>13} {'topics':>7}  largest")
        for share in (1.0, 0.3, 0.2, 0.1):
            report = varied(connection, given | ANY | {"max_repo_share": share})
            repos, topics = report["repository"], report["topic"]
            largest = f"{repos['largest']} {repos['largest_share']:.0%}"
            print(f"{share:16} {repos['num_rows']:6,} {repos['effective']:13.1f} {topics['effective']:7.1f}  {largest}")
        before, after = {row[0] for row in found[2]}, {row[0] for row in found[0.8]}
        values = {"gone": sorted(before - after), "kept": sorted(after), "least": 0.8}
        for one, other, docstring, raw, text, second in connection.execute(PAIRS, values).fetchmany(options.pairs):
            print(
                f"\n{one} and {other}: docstring {docstring:.2f}, code {raw:.2f}\n  {text[:200]!r}\n  {second[:200]!r}"
            )


if __name__ == "__main__":
    main()
