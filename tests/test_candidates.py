"""candidates: every checkpoint writes for every snippet, as often as asked.

Adapters share an engine, models take turns.
"""

import shutil
from collections.abc import Sequence
from itertools import groupby
from pathlib import Path

import pytest
import torch
from peft import PeftModel
from transformers import AutoModelForCausalLM, AutoTokenizer

from builders import candidates
from builders.engines import OpenAISettings, Request, TransformersSettings, VllmSettings, prompts
from builders.engines.checkpoints import last_checkpoints, open_checkpoints
from builders.recipe import Recipe
from store import Plan, Store
from store.errors import InputError, JobError
from tests.engine_models import save_adapter, save_model
from tests.fault_server import FaultServer, ok
from tests.rows import put, table
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


def filled(root: Path, checkpoints: list[dict], codes: Sequence[str] = CODES) -> Store:
    """A store whose pool are these codes and whose G0 has these checkpoints."""
    store = Store(root)
    put(store, "raw_pool", [{"snippet_id": f"s{n}", "code": code} for n, code in enumerate(codes)])
    put(store, "pool", [{"snippet_id": f"s{n}", "position": n} for n in range(len(codes))])
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
    shutil.copytree(root, tmp_path / "killed")
    whole = candidates.build(store, small_recipe(tmp_path), 1)
    before = read(store, "candidates", iteration=1)
    assert whole.plan.num_shards == 3 and len({r["checkpoint_id"] for r in before[7:14]}) == 2

    def killed_in_the_second(shards, label):
        yield shards[0]
        yield shards[1]
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        candidates.build(Store(tmp_path / "killed", track=killed_in_the_second), small_recipe(tmp_path), 1)
    resumed = Store(tmp_path / "killed")
    assert resumed.missing(whole.plan) == [2]
    again = candidates.build(resumed, small_recipe(tmp_path), 1)
    assert again.shards == whole.shards and read(resumed, "candidates", iteration=1) == before


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


# -- which snippets are drawn ----------------------------------------------------------------------


@pytest.fixture
def server(monkeypatch):
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    made = FaultServer(lambda body, _: ok("### Problem\nWrite it.\n\n### Solution\n```python\nx = 1\n```\n"))
    yield made
    made.close()


def drawing(folder: Path, server: FaultServer, **final) -> Recipe:
    """Two iterations of three snippets, one sample each; then the final generation."""
    return recipe(
        folder,
        iterations=2,
        synthesizer={
            "model": "none",
            "prompt": "synthesizer-short",
            "engine": {"engine": "openai", "base_url": server.url},
        },
        teacher={"num_snippets": 4},
        sampling={"checkpoints": 1, "samples_per_checkpoint": 1, "snippets_per_iteration": 3, "base_snippets": 2},
        final={"samples": 1} | final,
    )


def pool_of(root: Path, num: int, held: list[int], **plan) -> Store:
    """A pool of `num` snippets; teacher samples are about those at the positions `held`."""
    store = Store(root)
    put(store, "raw_pool", [{"snippet_id": f"s{n}", "code": f"def f{n}(): pass"} for n in range(num)])
    put(store, "pool", [{"snippet_id": f"s{n}", "position": n} for n in range(num)])
    samples = [{"sample_id": f"t{n}", "snippet_id": f"s{n}"} for n in held]
    of = Plan(table="teacher_samples", fields=plan, num_shards=1)
    store.materialize(of, lambda index: table("teacher_samples", samples))
    put(store, "checkpoints", [{"checkpoint_id": "base", "role": "base", "base_model": "hub/m"}], role="base")
    for t in range(3):
        row = {"checkpoint_id": f"k{t}", "role": "synthesizer", "iteration": t, "base_model": "hub/m"}
        put(store, "checkpoints", [row], role="synthesizer", iteration=t)
    return store


def positions(store: Store, made: Recipe) -> dict[int, list[int]]:
    """Iteration -> the positions in the pool of the snippets that it writes about."""
    found = {}
    for t in range(4):
        candidates.build(store, made, t)
        found[t] = [int(r["snippet_id"][1:]) for r in read(store, "candidates", iteration=t)]
    return found


def test_a_snippet_of_a_teacher_sample_is_never_written_about_wherever_it_stands(tmp_path, server):
    """Imported samples stand anywhere: here at the positions 1, 5, 6 and 8."""
    store = pool_of(tmp_path / "store", 12, [1, 5, 6, 8], file="f")
    assert positions(store, drawing(tmp_path, server)) == {
        0: [0, 2],
        1: [0, 2, 3],
        2: [4, 7, 9],
        3: [0, 2, 3, 4, 7, 9, 10, 11],
    }
    assert audit_of_overlap(store) == []


def audit_of_overlap(store: Store) -> list:
    overlap = "SELECT c.candidate_id FROM candidates c JOIN teacher_samples t ON t.snippet_id = c.snippet_id"
    return store.sql(overlap).fetchall()


def test_what_a_teacher_was_asked_about_is_not_free_even_if_it_gave_no_sample(tmp_path, server):
    """It was asked about the positions 0 to 3, and its answer about 2 was of no use."""
    store = pool_of(tmp_path / "store", 12, [0, 1, 3], num_snippets=4)
    assert positions(store, drawing(tmp_path, server, max_snippets=5)) == {
        0: [4, 5],
        1: [4, 5, 6],
        2: [7, 8, 9],
        3: [4, 5, 6, 7, 8],
    }


def test_too_few_free_snippets_are_counted_without_those_of_the_teacher(tmp_path, server):
    store = pool_of(tmp_path / "store", 9, [1, 5, 6, 8], file="f")
    made = drawing(tmp_path, server)
    assert len(read(store, "pool")) == 9
    candidates.build(store, made, 1)
    with pytest.raises(InputError, match=r"iteration 2 needs 6 free snippets, .* but 5 of the 9 snippets of the pool"):
        candidates.build(store, made, 2)
    full = pool_of(tmp_path / "full", 4, [0, 1, 2, 3], file="f")
    with pytest.raises(InputError, match=r"iteration 3 needs 1 free snippets, .* but 0 of the 4 snippets"):
        candidates.build(full, made, 3)


def test_the_plan_names_the_checkpoints_and_all_that_is_read(tmp_path, server):
    store, made = pool_of(tmp_path / "store", 12, [1], file="f"), drawing(tmp_path, server)
    for t, by in {0: "role-base", 1: "role-synthesizer/iteration-0", 3: "role-synthesizer/iteration-2"}.items():
        plan = candidates.build(store, made, t).plan
        assert set(plan.inputs) == {"pool", "raw_pool", "teacher_samples", f"checkpoints/{by}"}


def test_rows_per_shard_are_those_of_the_engine_or_as_asked(tmp_path, server):
    store, made = pool_of(tmp_path / "store", 12, [1], file="f"), drawing(tmp_path, server)
    assert candidates.build(store, made, 1).plan.rows_per_shard == 4096
    asked = made.model_copy(update={"sampling": made.sampling.model_copy(update={"requests_per_shard": 2})})
    record = candidates.build(Store(store.root, force=True), asked, 1)
    assert (record.plan.rows_per_shard, record.plan.num_shards, record.rows) == (2, 2, 3)
    assert TransformersSettings(micro_batch=20).rows_per_shard == 160 and VllmSettings().rows_per_shard == 4096


@pytest.mark.parametrize(
    ("statuses", "advice"),
    [
        (["prompt_too_long"] * 3 + ["no_problem"], "lower sampling.max_tokens"),
        (["no_problem"] * 2 + ["prompt_too_long"], "train the synthesizer longer"),
        (["unfinished"] * 2 + ["no_problem"], "raise sampling.max_tokens, or synthesizer.engine.max_thinking_tokens"),
        ([], "train the synthesizer longer"),
    ],
)
def test_candidates_of_which_none_is_of_use_are_told_with_what_helps(tmp_path, statuses, advice):
    store = Store(tmp_path)
    rows = [{"candidate_id": f"c{n}", "parse_status": status} for n, status in enumerate(statuses)]
    put(store, "candidates", [{"iteration": 1, **row} for row in rows], iteration=1)
    with pytest.raises(JobError, match=advice):
        candidates.require_parsed(store, 1)
