"""`--force` and `--rebuild`: what they say before, what they build, and after a kill."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import yaml

import scoder
from builders.recipe import Recipe, files
from store import Store, segments
from store.rebuild import requested
from tests.smoke_run import scoder_here
from tests.tiny_recipes import recipe, tree

FILES = {
    "shapes.py": '''
def clamp(value: float, low: float, high: float) -> float:
    """Return the value, but at least low and at most high."""
    if value < low:
        return low
    return high if value > high else value


def squares(count: int, step: int = 1) -> list[int]:
    """Return the squares of the first numbers, a step apart."""
    found = []
    for number in range(0, count, step):
        found.append(number * number)
    return found
'''
}


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A store with a pool, and the recipe that it was built with."""
    folder = tmp_path_factory.mktemp("rebuilds")
    chosen: Recipe = recipe(tree(folder / "code", FILES))
    file = folder / "mine.yaml"
    file.write_text(yaml.safe_dump(chosen.model_dump(mode="json")))
    assert run(file, folder / "store") == (0, "")
    return folder / "store", file


def run(file: Path, store: Path, *options: str) -> tuple[int, str]:
    """A run up to the pool: its exit code, and what was said about building again."""
    done = scoder_here("run", str(file), "--until", "pool", "--store", str(store), *options)
    told = [line for line in done.stderr.splitlines() if "again" in line or "took" in line or " -> " in line]
    return done.returncode, "\n".join(told) if done.returncode == 0 else done.stderr


def started(store: Path) -> dict[str, float]:
    return {segments(r.plan.table, r.plan.partition): r.started for r in Store(store).records()}


def anew(before: dict[str, float], after: dict[str, float]) -> set[str]:
    return {where for where in after if after[where] != before.get(where)}


def test_force_says_before_it_starts_what_differs_and_what_it_took(made: tuple[Path, Path]) -> None:
    store, file = made
    before = started(store)
    assert run(file, store, "--force") == (
        0,
        "nothing differs from the plans of this recipe, so nothing that is built is built again",
    )
    assert started(store) == before
    code, told = run(file, store, "--force", "--set", "pool.min_tokens=6")
    assert code == 0
    lines = told.splitlines()
    assert lines[:2] == ["pool will be built again: its plan differs", "    fields.min_tokens: 20 -> 6"]
    took = re.compile(r"when they were last built, these 2 partitions took \d{1,2} seconds, 0 tokens")
    assert any(map(took.fullmatch, lines)), told
    assert lines.index("pool: built again") > 4, "it is said before anything is built"
    assert anew(before, started(store)) == {"pool", "rejects/stage-pool"}


def test_force_names_what_comes_from_what_differs(made: tuple[Path, Path]) -> None:
    store, file = made
    _, told = run(file, store, "--force", "--set", "near_duplicates.short_tokens=10", "--set", "pool.min_tokens=6")
    assert "near_duplicates will be built again: its plan differs" in told
    assert "will be built again where it comes out otherwise: pool, rejects/stage-pool" in told


def test_rebuild_builds_one_table_and_what_comes_out_the_same_stays(made: tuple[Path, Path]) -> None:
    store, file = made
    run(file, store, "--force")
    before = started(store)
    code, told = run(file, store, "--rebuild", "snippet_checks")
    assert code == 0
    assert "snippet_checks will be built again: it was asked for" in told
    assert anew(before, started(store)) == {"snippet_checks"}, "its rows are the same, so nothing is stale"
    assert not (store / "_runs" / "rebuild.json").exists()


def test_rebuild_mends_a_damaged_file(made: tuple[Path, Path]) -> None:
    store, file = made
    run(file, store, "--force")
    damaged = store / "snippet_checks" / "part-00000.parquet"
    whole = damaged.read_bytes()
    damaged.write_bytes(whole[:-9])
    code, told = run(file, store)
    assert code == 2
    assert "--rebuild snippet_checks" in told
    assert run(file, store, "--rebuild", "snippet_checks")[0] == 0
    assert damaged.read_bytes() == whole


def test_a_killed_rebuild_of_a_stage_goes_on_with_what_is_left(made: tuple[Path, Path]) -> None:
    store, file = made
    run(file, store, "--force")
    before = started(store)
    stage = {where for where in before if where != "lock"}
    # A run was killed after its first table.
    wish = requested(str(store), "pool", stage)
    record = Store(store).record("raw_pool")
    assert record is not None
    Store(store).save(record.model_copy(update={"rebuilt_for": wish.id}))
    assert run(file, store, "--rebuild", "pool")[0] == 0
    assert anew(before, started(store)) == stage - {"raw_pool"}


def test_rebuild_of_what_is_none_is_refused_with_the_names(made: tuple[Path, Path]) -> None:
    store, file = made
    code, told = run(file, store, "--rebuild", "pools")
    assert code == 2
    assert "no stage and no table has this name. The stages are pool, teacher" in told
    code, told = run(file, store, "--rebuild", "coder")
    assert (code, "this stage comes after pool" in told) == (2, True)


def test_force_sees_beyond_what_was_never_built(made: tuple[Path, Path], tmp_path: Path) -> None:
    store, file = made
    run(file, store, "--force")
    task = '{"task_id": "T/0", "prompt": "def f(x):\\n", "canonical_solution": "    return x\\n", "test": "", '
    (tmp_path / "tasks.jsonl").write_text(task + '"entry_point": "f"}\n')
    before = files_below(store)
    added = f"benchmarks=[{{name: added, path: {tmp_path}/tasks.jsonl}}]"
    _, told = run(file, store, "--force", "--set", added)
    lines = told.splitlines()
    assert lines[0] == "pool will be built again: its plan differs"
    assert lines[1].startswith("    inputs.contamination/item_kind-snippet/benchmark-added: (absent) -> ")
    assert "nothing differs" not in told
    run(file, store, "--force")
    assert files_below(store) >= before


def files_below(store: Path) -> set[str]:
    return {str(p.relative_to(store)) for p in store.rglob("*") if p.is_file()}


def test_rebuild_reaches_behind_what_is_not_built(made: tuple[Path, Path]) -> None:
    store, file = made
    run(file, store, "--force")
    before = started(store)
    (store / "_runs" / "near_duplicates" / "record.json").unlink()
    code, told = run(file, store, "--rebuild", "rejects")
    assert code == 0
    assert "rejects/stage-pool will be built again: it was asked for" in told
    assert anew(before, started(store)) == {"near_duplicates", "rejects/stage-extract", "rejects/stage-pool"}


def test_a_look_ahead_changes_nothing_on_disk(made: tuple[Path, Path]) -> None:
    store, file = made
    run(file, store, "--force")
    (store / "_runs" / "snippet_checks" / "record.json").unlink()
    before = {f: (store / f).stat().st_mtime_ns for f in files_below(store)}
    seen = scoder.foresee(Store(store), files.load(file))
    assert seen.ends_in == "scorer", "it needs the fingerprint of a model that is not there"
    assert [s.where for s in seen.steps["pool"] if s.record is None] == ["snippet_checks"]
    assert {f: (store / f).stat().st_mtime_ns for f in files_below(store)} == before
    run(file, store, "--force")
