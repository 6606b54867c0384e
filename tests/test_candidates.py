"""candidates: every checkpoint writes for every snippet, as often as asked.

Adapters share an engine, models take turns.
"""

from itertools import groupby
from pathlib import Path

import pytest
import torch
from peft import PeftModel
from transformers import AutoModelForCausalLM, AutoTokenizer

from builders import candidates
from builders.engines import OpenAISettings, Request, prompts
from builders.engines.checkpoints import last_checkpoints, open_checkpoints
from builders.recipe import Recipe
from store import Store
from tests.engine_models import save_adapter, save_model
from tests.fault_server import FaultServer, ok
from tests.rows import put
from tests.tiny_recipes import read, recipe

CODES = [f"def f{n}(x):\n    return x + {n}\n" for n in range(6)]
NUM_SNIPPETS = len(CODES) - 1
"""The first of the pool is the teacher's."""
SAMPLES, MAX_TOKENS = 2, 6


def small_recipe(folder: Path, **sampling) -> Recipe:
    """Two greedy checkpoints for five snippets; shards end in the midst of a checkpoint's turn."""
    sizes = {"checkpoints": 2, "samples_per_checkpoint": SAMPLES, "snippets_per_iteration": NUM_SNIPPETS}
    greedy = {"temperature": 0, "max_tokens": MAX_TOKENS, "requests_per_shard": 7}
    return recipe(
        folder,
        synthesizer={
            "model": "none",
            "prompt": "synthesizer-short",
            "engine": {"max_model_tokens": 1024},
            "training": {"num_checkpoints": 2},
        },
        teacher={"num_snippets": 1},
        sampling=sizes | greedy | sampling,
    )


def filled(root: Path, checkpoints: list[dict]) -> Store:
    """A store whose pool is CODES and whose G0 has these checkpoints."""
    store = Store(root)
    put(store, "raw_pool", [{"snippet_id": f"s{n}", "code": code} for n, code in enumerate(CODES)])
    put(store, "pool", [{"snippet_id": f"s{n}", "position": n} for n in range(len(CODES))])
    put(store, "teacher_samples", [])
    where = {"role": "synthesizer", "iteration": 0}
    put(store, "checkpoints", [{"step": n, **row, **where} for n, row in enumerate(checkpoints)], **where)
    return store


def expected(model, tokenizer, code: str) -> str:
    """The greedy answer of transformers itself."""
    asked = [{"role": "user", "content": prompts.render("synthesizer-short", code=code)}]
    ids = tokenizer.apply_chat_template(asked, add_generation_prompt=True, return_tensors="pt", return_dict=True)
    with torch.no_grad():
        output = model.generate(**ids, do_sample=False, max_new_tokens=MAX_TOKENS)
    return tokenizer.decode(output[0, ids["input_ids"].shape[1] :], skip_special_tokens=True)


@pytest.fixture(params=["adapters", "full weights"])
def written(request, tmp_path) -> tuple[list[dict], dict]:
    """The candidates of two checkpoints of a kind, in order, and the models that wrote them."""
    root = tmp_path / "store"
    base = save_model(root / "_models" / "base")
    models, rows = {}, []
    for seed in (1, 2):
        name, location = f"k{seed}", f"_models/k{seed}"
        if request.param == "adapters":
            save_adapter(base, root / location, seed)
            models[name] = PeftModel.from_pretrained(AutoModelForCausalLM.from_pretrained(base), root / location)
        else:
            save_model(root / location, seed=seed)
            models[name] = AutoModelForCausalLM.from_pretrained(root / location)
        is_adapter = request.param == "adapters"
        rows.append({"checkpoint_id": name, "location": location, "is_adapter": is_adapter, "base_model": base})
    store = filled(root, rows)
    candidates.build(store, small_recipe(tmp_path), 1)
    return read(store, "candidates", iteration=1), models


def test_every_checkpoint_answers_every_snippet_as_itself(written):
    rows, models = written
    jobs = [(row["checkpoint_id"], row["snippet_id"], row["sample_index"]) for row in rows]
    assert sorted(jobs) == [(k, f"s{n}", i) for k in models for n in range(1, len(CODES)) for i in range(SAMPLES)]
    assert len({row["candidate_id"] for row in rows}) == len(rows)
    tokenizer = AutoTokenizer.from_pretrained(next(iter(models.values())).config._name_or_path)
    for row in rows:
        code = CODES[int(row["snippet_id"][1:])]
        assert row["completion"] == expected(models[row["checkpoint_id"]], tokenizer, code), row
    assert len({row["completion"] for row in rows if row["snippet_id"] == "s1"}) == len(models)


def test_full_weights_take_one_turn_each_and_adapters_none(written):
    rows, models = written
    turns = [name for name, _ in groupby(row["checkpoint_id"] for row in rows)]
    is_adapter = any(isinstance(model, PeftModel) for model in models.values())
    assert turns == list(models) * (NUM_SNIPPETS if is_adapter else 1)


def test_a_kill_in_the_midst_of_two_turns_changes_nothing(tmp_path):
    root = tmp_path / "store"
    rows = []
    for seed in (1, 2):
        base = save_model(root / "_models" / f"k{seed}", seed=seed)
        rows.append({"checkpoint_id": f"k{seed}", "location": f"_models/k{seed}", "base_model": base})
    store = filled(root, rows)
    whole = candidates.build(store, small_recipe(tmp_path), 1)
    before = read(store, "candidates", iteration=1)
    assert len(whole.shards) == 3 and len({r["checkpoint_id"] for r in before[7:14]}) == 2
    store.save(whole.model_copy(update={"status": "building", "shards": []}))
    for shard in (0, 1):
        Path(store.directory("candidates", iteration=1), f"part-{shard:05d}.parquet").unlink()
    again = candidates.build(store, small_recipe(tmp_path), 1)
    assert again.shards == whole.shards and read(store, "candidates", iteration=1) == before


def test_an_endpoint_serves_checkpoints_by_name_and_is_asked_for_no_commit(tmp_path, monkeypatch):
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    kinds = {"a": {"is_adapter": True, "location": "_models/a"}, "full": {"location": "_models/f"}, "base": {}}
    rows = [{"checkpoint_id": k, "base_model": "hub/model", "base_revision": "abc", **v} for k, v in kinds.items()]
    store = filled(tmp_path / "store", rows)
    used = last_checkpoints(store, "synthesizer", 0, 3)
    server = FaultServer(lambda body, _: ok(body["model"]))
    settings = OpenAISettings(base_url=server.url)
    with open_checkpoints(store, settings, used) as engine:
        asked = [Request(name, prompt="x", adapter=name) for name in kinds]
        found = {c.request_id: c.text for c in engine.generate(asked)}
    assert found == {"a": f"{store.root}/_models/a", "full": f"{store.root}/_models/f", "base": "hub/model"}
    server.close()


def test_a_pool_that_is_too_small_says_how_many_snippets_it_has(tmp_path):
    store = filled(tmp_path / "store", [{"checkpoint_id": f"k{n}", "is_adapter": True} for n in range(2)])
    with pytest.raises(
        ValueError, match=r"iteration 1 needs 9 free snippets, .* 5 of the 6 snippets of the pool are free"
    ):
        candidates.draw(store, small_recipe(tmp_path, snippets_per_iteration=9), 1)
