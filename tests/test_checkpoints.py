"""checkpoints: what the plan of a training names, and how damaged models and sets are mended."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path

import pytest

from builders.checkpoints import build_base, build_coder
from builders.recipe import Coder, Evaluation, Teacher, files
from builders.teacher import asked
from store import ContractError, Record, Store
from store.inspection import Inspection
from store.markers import folders_of
from store.rebuild import fulfilled, requested
from tests.rows import put
from tests.tiny_models import tiny_qwen

WHERE = "checkpoints/role-coder"
TRAINING = {"epochs": 1, "max_tokens": 200, "dtype": "float32", "lora": {"r": 2, "alpha": 4}}
PAIRS = [{"instruction": f"Add {n}.", "output": f"x = {n}"} for n in range(3)]


def write(path: Path, rows: list[dict]) -> None:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> str:
    return tiny_qwen(tmp_path_factory.mktemp("base"))


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory, base: str) -> tuple[Path, Path]:
    """A store with a coder that was trained on one instruction and three rows of a file."""
    folder = tmp_path_factory.mktemp("trained")
    write(folder / "mix.jsonl", PAIRS)
    store = Store(folder / "store")
    put(store, "instructions", [{"candidate_id": "d1", "problem": "Add.", "solution": "x = 1", "license": "mit"}])
    build_coder(store, coder(base, folder / "mix.jsonl"))
    return folder / "store", folder / "mix.jsonl"


def coder(base: str, mix: Path) -> Coder:
    return Coder.model_validate({"model": base, "mix": [{"dataset": str(mix)}], "training": TRAINING})


def record(store: Path) -> Record:
    found = Store(store).record("checkpoints", role="coder")
    assert found is not None
    return found


def test_the_plan_of_a_coder_names_the_content_of_its_mix(trained: tuple[Path, Path], base: str) -> None:
    store, mix = trained
    os.utime(mix, (1, 1))
    assert build_coder(Store(store), coder(base, mix)) == record(store), "another time is no other content"
    write(mix, [*PAIRS[:2], {"instruction": "Add 2.", "output": "x = 3"}])
    with pytest.raises(ContractError, match=r"fields\.mix: .*content"):
        build_coder(Store(store), coder(base, mix))
    write(mix, PAIRS)


def problems(store: Path) -> list[str]:
    """What `verify` finds in the models and datasets of the coder."""
    return [p.result for p in Inspection(Store(store)).run() if "/coder-" in p.result]


def rebuilt(store: Path, coder: Coder) -> None:
    build_coder(Store(store, rebuild=requested(str(store), "checkpoints", {WHERE})), coder)
    fulfilled(str(store))


@pytest.mark.parametrize("damage", ["changed", "gone"])
def test_a_rebuild_mends_a_model_and_its_dataset(trained: tuple[Path, Path], base: str, damage: str) -> None:
    store, mix = trained
    before, model, dataset = record(store), *(store / name for name in folders_of(record(store)))
    assert problems(store) == []
    for folder, file in ((model, "training.json"), (dataset, "README.md")):
        if damage == "gone":
            shutil.rmtree(folder)
        else:
            (folder / file).write_text((folder / file).read_text() + "\n")
    found = problems(store)
    assert len(found) == 2 and all("--rebuild checkpoints" in said for said in found)
    rebuilt(store, coder(base, mix))
    assert problems(store) == []
    assert record(store).started > before.started
    assert record(store).content == before.content, "the same training again, so nothing that came from it is stale"


def test_a_rebuild_that_was_killed_before_it_removed_anything_is_finished_by_any_run(
    trained: tuple[Path, Path], base: str
) -> None:
    store, mix = trained
    model = store / folders_of(record(store))[0]
    (model / "training.json").write_text((model / "training.json").read_text() + "\n")
    wish = requested(str(store), "checkpoints", {WHERE})
    Store(store, rebuild=wish).begin(record(store).plan)
    fulfilled(str(store))
    build_coder(Store(store), coder(base, mix))
    assert problems(store) == []


def test_arguments_of_a_chat_template_make_another_checkpoint(
    trained: tuple[Path, Path], base: str, tmp_path: Path
) -> None:
    store, mix = trained
    assert "template_arguments" not in record(store).plan.fields, "the plan of before"
    settings = coder(base, mix).model_copy(update={"template_arguments": {"add": 1}})
    with pytest.raises(ContractError, match=r"fields\.template_arguments\.add: .absent. -> 1"):
        build_coder(Store(store), settings)
    plain = build_base(Store(tmp_path / "a"), base, None).plan
    other = build_base(Store(tmp_path / "b"), base, None, template_arguments={"add": 1}).plan
    assert set(plain.fields) == {"model", "revision"} and plain.fingerprint != other.fingerprint


def test_plans_name_the_arguments_of_a_teacher_only_where_there_are_any() -> None:
    assert "template_arguments" not in asked.identity(Teacher())
    assert asked.identity(Teacher(template_arguments={"add": 1}))["template_arguments"] == {"add": 1}
    assert Evaluation().template_arguments == {}


def test_how_a_training_runs_is_no_part_of_its_plan(trained: tuple[Path, Path], base: str) -> None:
    store, mix = trained
    given = coder(base, mix)
    other = {"micro_batch": 1, "gradient_checkpointing": True, "devices": 2, "sharding": "ddp", "report_to": ["none"]}
    changed = given.model_copy(update={"training": given.training.model_copy(update=other)})
    assert build_coder(Store(store), changed) == record(store)
    trained_otherwise = given.training.model_copy(update={"optimizer": "adafactor"})
    with pytest.raises(ContractError, match="optimizer"):
        build_coder(Store(store), given.model_copy(update={"training": trained_otherwise}))


def test_a_training_that_was_killed_gives_way_to_another_plan(
    tmp_path: Path, base: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    from training import coder as training_of_coder

    write(tmp_path / "mix.jsonl", PAIRS)
    store = tmp_path / "store"
    put(Store(store), "instructions", [{"candidate_id": "d1", "problem": "Add.", "solution": "x", "license": "mit"}])
    given = coder(base, tmp_path / "mix.jsonl")
    with monkeypatch.context() as patch:
        patch.setattr(training_of_coder, "train", killed)
        with pytest.raises(KeyboardInterrupt):
            build_coder(Store(store), given)
    assert record(store).status == "building"
    other = given.model_copy(update={"training": given.training.model_copy(update={"learning_rate": 1e-3})})
    assert build_coder(Store(store), other).status == "complete"


def killed(*_: object, **__: object) -> None:
    raise KeyboardInterrupt


@pytest.mark.parametrize(("optimizer_map", "is_kept"), [("sgd", False), ("adam", True)])
def test_a_synthesizer_keeps_the_optimizers_state_only_where_gradients_read_it(
    optimizer_map: str, is_kept: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from builders import checkpoints

    seen: dict[str, object] = {}
    monkeypatch.setattr(checkpoints, "_train", lambda store, **given: seen.update(given))
    recipe = files.load("smoke")
    gradients = recipe.influence.gradients.model_copy(update={"optimizer_map": optimizer_map})
    influence = recipe.influence.model_copy(update={"gradients": gradients})
    store = Store(tmp_path / "store")
    put(store, "teacher_samples", [])
    put(store, "raw_pool", [])
    checkpoints.build_synthesizer(store, recipe.model_copy(update={"influence": influence, "benchmarks": ()}), 0)
    assert seen["keeps_optimizer"] is is_kept
