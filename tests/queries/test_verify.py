"""`verify` finds nothing in a sound store, and all that was broken on purpose in another."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from builders.publishing import sets
from queries import verify as module
from queries.verify import verify
from store import CONTRACTS, Plan, Record, Store, markers
from store.lock import coordinator
from tests.rows import Row, make_stale, put, table


@pytest.fixture
def store(tmp_path: Path) -> Store:
    """A partition of two snippets, and one of a teacher sample."""
    found = Store(tmp_path / "store")
    put(found, "raw_pool", [{"snippet_id": "s1"}, {"snippet_id": "s2"}])
    put(found, "teacher_samples", [{"sample_id": "t1", "snippet_id": "s2"}])
    return found


def checks(store: Store) -> list[tuple[str, str]]:
    return [(p["check"], p["result"]) for p in verify(store)]


def kinds(store: Store) -> list[str]:
    return [p["check"] for p in verify(store)]


def built(store: Store, name: str, rows: list[Row], inputs: dict[str, str], fields: Row, **partition: Any) -> Record:
    """One complete partition with inputs and fields."""
    plan = Plan(table=name, partition=partition, inputs=inputs, fields=fields, num_shards=1)
    return store.materialize(plan, lambda index: table(name, rows))


def rewritten(store: Store, name: str, changed: pa.Table, **partition: Any) -> None:
    """Other rows in the file of a partition, under the plan of its record."""
    path = f"{store.directory(name, **partition)}/part-00000.parquet"
    pq.write_table(changed.replace_schema_metadata(pq.read_schema(path).metadata), path)


def recorded(store: Store, name: str, **changed: Any) -> None:
    """Another record of a partition, written as it stands."""
    path = Path(store.root, "_runs", name, "record.json")
    path.write_text(json.dumps(json.loads(path.read_text()) | changed))


def test_a_sound_store_has_no_problems(store: Store) -> None:
    put(store, "near_duplicates", [])
    assert checks(store) == []


# -- files -----------------------------------------------------------------------------------------


def test_verify_finds_a_changed_and_a_missing_file(store: Store) -> None:
    changed, gone = store.shard_paths("raw_pool")[0], store.shard_paths("teacher_samples")[0]
    rewritten(store, "raw_pool", pq.read_table(changed).slice(1))
    Path(gone).unlink()
    assert checks(store) == [
        ("rows", "raw_pool/part-00000.parquet has 1 row, its record says 2"),
        ("checksum", "raw_pool/part-00000.parquet"),
        ("missing", "teacher_samples/part-00000.parquet"),
        ("skipped", "raw_pool is damaged: its keys, and audits that need it, were not checked"),
        ("skipped", "teacher_samples is damaged: its keys, and audits that need it, were not checked"),
        ("skipped", "audits/orphans: a damaged partition may hold the parents"),
    ]


def test_verify_finds_a_file_of_another_plan_and_half_a_file(store: Store) -> None:
    foreign, half = store.shard_paths("raw_pool")[0], store.shard_paths("teacher_samples")[0]
    pq.write_table(pq.read_table(foreign).replace_schema_metadata(None), foreign)
    Path(half).write_bytes(Path(half).read_bytes()[:-100])
    found = checks(store)
    assert [check for check, _ in found[:3]] == ["checksum", "contract", "contract"]
    assert "was written under the plan (none)" in found[1][1]
    assert found[2][1].startswith("teacher_samples/part-00000.parquet cannot be read")


def test_a_bit_that_flipped_is_found_where_the_footer_is_whole(store: Store) -> None:
    path = Path(store.shard_paths("raw_pool")[0])
    data = bytearray(path.read_bytes())
    data[len(data) // 8] ^= 1
    path.write_bytes(data)
    assert ("checksum", "raw_pool/part-00000.parquet") in checks(store)


@pytest.mark.parametrize(
    ("name", "columns", "said"),
    [
        ("raw_pool", {"code": None}, "code is required, but 2 values are NULL"),
        ("scored", {"score": float("nan")}, "score: 2 values are not numbers (NaN)"),
        ("snippet_checks", {"modules": None}, "modules is required, but 2 values are NULL"),
        ("candidates", {"cost_usd": float("nan")}, "cost_usd: 2 values are not numbers (NaN)"),
    ],
)
def test_what_breaks_a_contract_is_found_without_reading_texts(
    tmp_path: Path, name: str, columns: Row, said: str
) -> None:
    store, key = Store(tmp_path), CONTRACTS[name].key[0]
    put(store, name, [{key: "a"}, {key: "b"}])
    schema = pa.schema([f.with_nullable(True) for f in CONTRACTS[name].schema])
    rewritten(
        store,
        name,
        pa.Table.from_pylist([r | columns for r in table(name, [{key: "a"}, {key: "b"}]).to_pylist()], schema),
    )
    assert ("contract", f"{name}/part-00000.parquet: {said}") in checks(store)


def test_columns_and_types_that_the_contract_does_not_know_are_found(store: Store) -> None:
    whole = pq.read_table(store.shard_paths("raw_pool")[0])
    rewritten(store, "raw_pool", whole.drop_columns(["license"]))
    assert any(c == "contract" and "its columns are" in said for c, said in checks(store))
    number = whole.schema.get_field_index("num_lines")
    rewritten(store, "raw_pool", whole.set_column(number, "num_lines", whole["num_lines"].cast(pa.int64())))
    assert any("num_lines is int64, the contract says int32" in said for _, said in checks(store))


def test_files_that_no_record_lists_are_found(store: Store) -> None:
    folder = Path(store.directory("raw_pool"))
    shutil.copy(folder / "part-00000.parquet", folder / "part-00007.parquet")
    (folder / "part-00001.parquet.1a2b3c4d.tmp").touch()
    (Path(store.root) / "candidates" / "iteration-9").mkdir(parents=True)
    (Path(store.root) / "candidates" / "iteration-9" / "part-00000.parquet").touch()
    assert checks(store) == [
        ("leftover", "raw_pool/part-00001.parquet.1a2b3c4d.tmp was left by something that was killed; "
         "`scoder clean` removes it"),
        ("unlisted", "raw_pool/part-00007.parquet is in no record. Remove it"),
        ("unlisted", "candidates/iteration-9/part-00000.parquet is in no record. Remove it"),
    ]  # fmt: skip
    with coordinator(store.root):
        assert kinds(store) == ["unlisted", "unlisted"], "a living run may be writing the temporary file"


# -- records ---------------------------------------------------------------------------------------


def test_a_damaged_record_is_named_and_the_rest_is_checked(store: Store) -> None:
    path = Path(store.root, "_runs", "raw_pool", "record.json")
    path.write_text('{"plan": ')
    put(store, "pool", [{"snippet_id": "s1"}, {"snippet_id": "s1"}])
    found = checks(store)
    assert found[0][0] == "record" and str(path) in found[0][1]
    assert found[1:] == [
        ("key", "pool: 1 keys (snippet_id) occur more than once"),
        ("skipped", "raw_pool is damaged: its keys, and audits that need it, were not checked"),
        ("skipped", "audits/orphans: a damaged partition may hold the parents"),
    ]


def test_a_record_whose_content_is_false_is_found(store: Store) -> None:
    recorded(store, "raw_pool", content="0" * 32)
    assert checks(store)[0][0] == "record"
    assert "raw_pool: its content is 00000000000000000000000000000000, its shards give" in checks(store)[0][1]


def test_a_record_in_the_wrong_place_is_found(store: Store) -> None:
    shutil.copytree(Path(store.root, "_runs", "raw_pool"), Path(store.root, "_runs", "pool"))
    assert ("record", f"{store.root}/_runs/pool/record.json is damaged: it is the record of raw_pool") in checks(store)


def stale_pool(store: Store) -> None:
    """A pool with a key twice, made from snippets that were replaced since."""
    built(store, "pool", [{"snippet_id": "s1"}, {"snippet_id": "s1"}], store.input("raw_pool"), {})
    put(Store(store.root, force=True), "raw_pool", [{"snippet_id": s} for s in ("s1", "s2", "s3")])


def test_what_is_stale_is_told_and_is_no_damage(store: Store) -> None:
    stale_pool(store)
    said: list[str] = []
    store.announce = said.append
    assert checks(store) == []
    assert said == ["pool is stale: its keys and audits are not checked"]


def test_many_stale_partitions_are_told_in_one_line(tmp_path: Path) -> None:
    store, said = Store(tmp_path), list[str]()
    for iteration in range(1, 8):
        put(store, "candidates", [{"candidate_id": f"c{iteration}"}], iteration=iteration)
        make_stale(store, "candidates", iteration=iteration)
    store.announce = said.append
    verify(store)
    names = ", ".join(f"candidates/iteration-{n}" for n in range(1, 6))
    assert said == [f"7 partitions are stale, {names} and 2 more: their keys and audits are not checked"]


def test_a_record_that_is_a_folder_is_damaged(store: Store) -> None:
    built(store, "pool", [{"snippet_id": "s1"}], store.input("raw_pool"), {})
    place = Path(store.root, "_runs", "raw_pool", "record.json")
    place.unlink()
    place.mkdir()
    assert any(check == "record" and "record.json is damaged" in said for check, said in checks(store)), checks(store)


def test_the_files_of_a_stale_partition_are_checked(store: Store) -> None:
    stale_pool(store)
    Path(store.root, "pool", "part-00000.parquet").unlink()
    assert checks(store)[0] == ("missing", "pool/part-00000.parquet")


# -- models and datasets ---------------------------------------------------------------------------


MENDED = "`scoder run RECIPE --rebuild checkpoints` makes it again"


@pytest.fixture
def trained(store: Store) -> Path:
    """The folder of a model that a row of `checkpoints` names. Its dataset lies in `_datasets`."""
    plan = Plan(table="checkpoints", partition={"role": "coder"}, num_shards=1)
    dataset = Path(store.root, "_datasets", f"coder-{plan.fingerprint[:8]}")
    dataset.mkdir(parents=True)
    (dataset / "README.md").write_text("Pairs.")
    markers.mark(dataset, plan.fingerprint)
    name = f"_models/coder-{plan.fingerprint[:8]}"
    folder = Path(store.root, name)
    (folder / "checkpoint-3").mkdir(parents=True)
    (folder / "checkpoint-3" / "weights.bin").write_text("0.1 0.2")
    markers.mark(folder, plan.fingerprint)
    row = {"checkpoint_id": "k1", "role": "coder", "location": f"{name}/checkpoint-3"}
    store.materialize(plan, lambda index: table("checkpoints", [row]))
    return folder


def test_a_model_that_changed_is_found(store: Store, trained: Path) -> None:
    assert checks(store) == []
    (trained / "checkpoint-3" / "weights.bin").write_text("0.1 0.3")
    assert checks(store) == [("model", f"_models/{trained.name}: checkpoint-3/weights.bin was changed. {MENDED}")]


def test_a_model_that_is_gone_is_found(store: Store, trained: Path) -> None:
    shutil.rmtree(trained)
    assert checks(store) == [("model", f"_models/{trained.name} of checkpoints/role-coder is gone. {MENDED}")]


def test_a_checkpoint_that_is_gone_from_its_model_is_found(store: Store, trained: Path) -> None:
    shutil.rmtree(trained / "checkpoint-3")
    location = f"_models/{trained.name}/checkpoint-3"
    said = f"checkpoints/role-coder: the checkpoint k1 is not at {location}. {MENDED}"
    assert checks(store)[-1] == ("model", said)


def test_a_training_set_that_is_gone_is_found(store: Store, trained: Path) -> None:
    shutil.rmtree(Path(store.root, "_datasets", trained.name))
    assert checks(store) == [("dataset", f"_datasets/{trained.name} of checkpoints/role-coder is gone. {MENDED}")]


def test_an_untrained_model_needs_no_folders(store: Store) -> None:
    put(store, "checkpoints", [{"checkpoint_id": "k1", "role": "base"}], role="base")
    assert checks(store) == []


def test_the_final_dataset_that_is_gone_or_changed_is_found(store: Store) -> None:
    put(store, "instructions", [{"candidate_id": "d1"}])
    assert of_datasets(store) == ["_datasets/instructions of instructions is gone. `scoder run RECIPE` writes it again"]
    with coordinator(store.root):
        assert of_datasets(store) == [], "a living run is about to write it"
    sets.keep_instructions(store, "tiny")
    assert of_datasets(store) == []
    Path(store.root, "_datasets", "instructions", "README.md").write_text("mine")
    said = "_datasets/instructions: README.md was changed. Remove it, and `scoder run RECIPE` writes it again"
    assert of_datasets(store) == [said]


def of_datasets(store: Store) -> list[str]:
    return [result for check, result in checks(store) if check == "dataset"]


def test_a_folder_of_nobody_without_a_marker_is_told(store: Store, trained: Path) -> None:
    Path(store.root, "_models", "empty").mkdir()
    shutil.copytree(trained, Path(store.root, "_models", "coder-of-before"))
    assert checks(store) == [], "a model of an earlier plan may stay"
    Path(store.root, "_models", "coder-of-before", markers.MARKER).unlink()
    [(check, said)] = checks(store)
    assert (check, said.split(" has no")[0]) == ("model", "_models/coder-of-before")
    assert "belongs to no partition" in said


def test_the_folder_of_a_training_under_way_is_not_told(store: Store, trained: Path) -> None:
    (trained / markers.MARKER).unlink()
    record = store.record("checkpoints", role="coder")
    assert record is not None
    store.save(Record(plan=record.plan))
    assert checks(store) == []


def test_a_model_without_a_marker_or_of_another_plan_is_found(store: Store, trained: Path) -> None:
    (trained / markers.MARKER).unlink()
    assert "has no marker" in checks(store)[0][1]
    markers.mark(trained, "another")
    assert f"_models/{trained.name} was made under the plan another" in checks(store)[0][1]


def test_a_dataset_that_changed_is_found(store: Store) -> None:
    folder = Path(store.root, "_datasets", "instructions")
    folder.mkdir(parents=True)
    (folder / "README.md").write_text("Pairs.")
    markers.mark(folder, "plan")
    assert checks(store) == []
    (folder / "notes.md").write_text("mine")
    assert checks(store) == [("dataset", "_datasets/instructions: notes.md was added")]


def test_what_killed_trainings_and_publishes_left_is_found(store: Store) -> None:
    for left in ("_models/.coder-1a2b3c4d.partial", "_datasets/.instructions.1a2b3c4d.tmp"):
        Path(store.root, left).mkdir(parents=True)
    assert kinds(store) == ["leftover", "leftover"]


# -- keys ------------------------------------------------------------------------------------------


def test_keys_that_occur_twice_are_counted(store: Store) -> None:
    put(store, "raw_pool", [{"snippet_id": "s1"}, {"snippet_id": "s3"}], origin="import")
    assert checks(store) == [("key", "raw_pool: 1 keys (snippet_id) occur more than once")]


def test_hashes_that_collide_are_no_keys_that_occur_twice(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "KEY_HASH", "(hash({keys}) % 2)")
    put(store, "pool", [{"snippet_id": f"s{i}"} for i in range(50)])
    assert checks(store) == []
    put(store, "near_duplicates", [{"snippet_id": f"s{i // 2}", "cluster_id": "s1"} for i in range(50)])
    assert checks(store) == [("key", "near_duplicates: 25 keys (snippet_id, cluster_id) occur more than once")]


@pytest.mark.parametrize("at_once", [1, 7, 1000])
def test_keys_are_found_however_few_hashes_are_sorted_at_once(
    store: Store, monkeypatch: pytest.MonkeyPatch, at_once: int
) -> None:
    monkeypatch.setattr(module, "HASHES_AT_ONCE", at_once)
    put(store, "pool", [{"snippet_id": f"s{i % 40}"} for i in range(50)])
    assert checks(store) == [("key", "pool: 10 keys (snippet_id) occur more than once")]


# -- audits ----------------------------------------------------------------------------------------


def selected(store: Store) -> None:
    """One of two scored candidates is selected; the other one has no reject yet."""
    put(store, "checkpoints", [{"checkpoint_id": "k1"}], role="base")
    row = {"snippet_id": "s1", "checkpoint_id": "k1", "iteration": 1, "parse_status": "ok"}
    put(store, "candidates", [row | {"candidate_id": c} for c in ("c1", "c2")], iteration=1)
    put(store, "scored", [{"candidate_id": c, "iteration": 1} for c in ("c1", "c2")], iteration=1)
    kept = {"candidate_id": "c1", "selection": "a", "iteration": 1}
    put(store, "selected", [kept], iteration=1, selection="a")


def test_a_store_killed_between_a_table_and_its_rejects_gives_no_alarm(store: Store) -> None:
    selected(store)
    assert checks(store) == []
    put(store, "rejects", [], stage="selected", iteration=1, selection="a")
    assert checks(store) == [
        ("audits/conservation", "stage=selected, iteration=1, selection=a, num_in=2, num_out=1, num_rejected=0")
    ]


def test_the_rejects_of_a_fill_are_of_no_stage_that_is_counted(store: Store) -> None:
    selected(store)
    put(store, "rejects", [], stage="gradients", iteration=1, selection="fill-1a2b3c4d")
    assert checks(store) == []


def test_a_stage_with_a_stale_part_gives_no_alarm(store: Store) -> None:
    stale_pool(store)
    put(store, "snippet_checks", [{"snippet_id": s} for s in ("s1", "s2", "s3")])
    put(store, "rejects", [], stage="pool")
    assert checks(store) == []


def test_damage_elsewhere_hides_no_failed_audit(store: Store) -> None:
    selected(store)
    put(store, "rejects", [], stage="selected", iteration=1, selection="a")
    Path(store.shard_paths("teacher_samples")[0]).unlink()
    assert kinds(store) == ["missing", "audits/conservation", "skipped", "skipped"]


def test_a_stage_whose_inputs_are_damaged_is_not_counted(store: Store) -> None:
    rows = [{"snippet_id": "s1"}, {"snippet_id": "s2"}]
    put(store, "snippet_checks", rows)
    inputs = store.input("snippet_checks")
    built(store, "pool", rows[:1], inputs, {})
    built(store, "rejects", [], inputs, {}, stage="pool")
    assert kinds(store) == ["audits/conservation"]
    Path(store.shard_paths("snippet_checks")[0]).unlink()
    assert kinds(store) == ["missing", "skipped", "skipped"]


def test_rows_whose_parents_are_damaged_are_no_orphans(store: Store) -> None:
    selected(store)
    Path(store.shard_paths("raw_pool")[0]).unlink()
    assert checks(store) == [
        ("missing", "raw_pool/part-00000.parquet"),
        ("skipped", "raw_pool is damaged: its keys, and audits that need it, were not checked"),
        ("skipped", "audits/orphans: a damaged partition may hold the parents"),
    ]


def test_orphans_are_found(store: Store) -> None:
    lost = {"candidate_id": "c9", "selection": "a", "iteration": 1}
    put(store, "selected", [lost], iteration=1, selection="a")
    assert checks(store) == [("audits/orphans", "table_name=selected, item_id=c9, missing=candidate_id")]


def test_leaks_are_those_of_the_benchmarks_and_the_threshold_of_the_plan(store: Store) -> None:
    hit = {"item_kind": "snippet", "task_id": "t", "detector": "ngram"}
    for name, strength in (("kept", 0.6), ("dropped", 1.0)):
        row = hit | {"item_id": "s1", "benchmark": name, "strength": strength}
        put(store, "contamination", [row], item_kind="snippet", benchmark=name)
    inputs = store.input("raw_pool") | store.input("contamination", item_kind="snippet", benchmark="kept")
    built(store, "pool", [{"snippet_id": "s1"}], inputs, {"min_strength": 0.7})
    assert checks(store) == [], "a benchmark that the recipe dropped is not looked for"
    built(Store(store.root, force=True), "pool", [{"snippet_id": "s1"}], inputs, {"min_strength": 0.5})
    assert [p[1].split(", strength")[0] for p in checks(store)] == [
        "table_name=pool, item_id=s1, benchmark=kept, task_id=t"
    ]
