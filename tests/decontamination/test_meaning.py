"""meaning: a model of sentences decides about what another detector has seen, and nothing else."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from safetensors.torch import load_file, save_file

from builders import benchmarks, contamination
from builders.decontamination import detectors
from builders.decontamination.detectors import HITS
from builders.decontamination.meaning import Meaning, rules
from builders.recipe import Benchmark, Decontamination, Executor, MeaningModel
from builders.standalone import contamination as checking
from store import Store
from tests.rows import put
from tests.test_contamination import PROMPT, TASK, write_benchmark
from tests.tiny_models import tiny_sentences
from tests.tiny_recipes import read
from training.errors import TrainingError

STATEMENT = "Return the sum of the squares of all even numbers in the given list of whole numbers."
OTHER = "Draw a map of rivers and of the towns beside them"
NEAR = "Return the sum of the even numbers in the table of rivers."
TEXTS = {"near": NEAR, "far": OTHER, "same": STATEMENT, "none": None}


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> MeaningModel:
    words = f"{STATEMENT} {NEAR} {OTHER}".replace(".", " . ").replace(",", " , ")
    return MeaningModel(model=tiny_sentences(tmp_path_factory.mktemp("made") / "sentences", words))


def row(item: str, detector: str = "prose", strength: float = 0.3) -> dict:
    known = {"benchmark": "one", "task_id": "T/0", "similarity": 0.1, "information": 40.0, "evidence": "x"}
    return {"item_id": item, "detector": detector, "strength": strength, **known}


def test_only_what_another_detector_has_seen_is_looked_at(model: MeaningModel) -> None:
    made = Meaning(model, [TASK | {"benchmark": "one"}])
    ids, texts = pa.array(list(TEXTS)), pa.array(list(TEXTS.values()))
    assert made.hits(HITS.empty_table(), ids, texts).num_rows == 0
    seen = [row("far"), row("near"), row("near", "literals"), row("same", "string", 1.0)]
    found = {h["item_id"]: h for h in made.hits(pa.Table.from_pylist(seen, schema=HITS), ids, texts).to_pylist()}
    assert "none" not in found and {h["detector"] for h in found.values()} == {"meaning"}
    assert found["same"]["strength"] == pytest.approx(1, abs=1e-3) and found["near"]["strength"] >= 0.5
    assert "far" not in found or found["far"]["strength"] < 0.5
    assert (found["near"]["information"], found["near"]["evidence"]) == (40.0, NEAR)


def test_a_vector_does_not_depend_on_the_texts_beside_it(model: MeaningModel) -> None:
    made = Meaning(model, [TASK | {"benchmark": "one"}])
    texts = [NEAR, OTHER * 20, STATEMENT, "", PROMPT]
    together, alone = made.vectors(texts), np.concatenate([made.vectors([text]) for text in texts])
    assert together == pytest.approx(alone, abs=1e-5) and made.vectors([]).shape[0] == 0
    assert np.linalg.norm(together, axis=1) == pytest.approx(np.ones(5), abs=1e-5)


@pytest.mark.parametrize(
    ("similarity", "strength"), [(-0.2, 0.0), (0.0, 0.0), (0.3, 0.25), (0.6, 0.5), (0.8, 0.75), (1.0, 1.0)]
)
def test_a_strength_of_half_is_at_the_least_similarity(model, similarity: float, strength: float) -> None:
    made = Meaning(model.model_copy(update={"min_similarity": 0.6}), [TASK | {"benchmark": "one"}])
    assert made.strength(similarity) == pytest.approx(strength)


def test_the_table_and_the_command_find_a_statement_in_other_words(model: MeaningModel, tmp_path: Path) -> None:
    write_benchmark(tmp_path / "one.jsonl", TASK)
    benchmark, store = Benchmark(name="one", path=str(tmp_path / "one.jsonl")), Store(tmp_path / "store")
    benchmarks.build(store, benchmark)
    rows = [{"sample_id": name, "problem": text, "solution": "x = 1"} for name, text in TEXTS.items() if text]
    put(store, "teacher_samples", rows)
    strengths = {}
    for settings in (Decontamination(), Decontamination(meaning=model)):
        contamination.build(Store(store.root, force=True), settings, Executor(), "teacher", benchmark)
        found = read(store, "contamination", item_kind="teacher", benchmark="one")
        strengths[settings.meaning is not None] = {(h["item_id"], h["detector"]): h["strength"] for h in found}
    assert 0.2 <= strengths[False]["near", "prose"] < 0.5 <= strengths[True]["near", "meaning"]
    assert {key: s for key, s in strengths[True].items() if key[1] != "meaning"} == strengths[False]
    (tmp_path / "mine.jsonl").write_text(
        "".join(pa.Table.from_pylist(rows).to_pandas().to_json(orient="records", lines=True))
    )
    for settings, expected in ((Decontamination(), 1), (Decontamination(meaning=model), 2)):
        request = checking.Request(Benchmark(name="m", path=str(tmp_path / "mine.jsonl")), [benchmark], settings)
        assert checking.check(request).num_contaminated == expected


def test_the_plan_knows_the_model_by_its_contents(model: MeaningModel, tmp_path: Path) -> None:
    other = MeaningModel(model=tiny_sentences(tmp_path / "other", OTHER))
    assert rules(model) == rules(MeaningModel(**model.model_dump())) != rules(other)


def test_a_model_that_cannot_be_loaded_is_named(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(TrainingError, match=r"the model .*empty cannot be loaded"):
        Meaning(MeaningModel(model=str(tmp_path / "empty")), [])


def test_a_model_without_all_its_weights_is_refused(tmp_path: Path) -> None:
    whole = Path(tiny_sentences(tmp_path / "sentences", STATEMENT))
    weights = load_file(whole / "model.safetensors")
    save_file({k: v for k, v in weights.items() if "word_embeddings" not in k}, whole / "model.safetensors")
    with pytest.raises(TrainingError, match=r"is not whole: 1 of its weights .*word_embeddings"):
        Meaning(MeaningModel(model=str(whole)), [])


def test_torch_is_loaded_for_a_model_alone() -> None:
    program = "import sys, builders.contamination as c; from builders.recipe import Decontamination as D\n"
    program += "c._rules(D()); sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == 0


def test_the_detectors_are_as_without_it(model: MeaningModel) -> None:
    tasks = [TASK | {"benchmark": "one", "tests": ""}]
    plain, other = (detectors.index(tasks, Decontamination(meaning=m)) for m in (None, model))
    assert plain.bits("prose").tolist() == other.bits("prose").tolist()
