"""The estimate: stages in their order, counts that the builders keep, costs from the prices."""

import json
import random

import pytest

import scoder
from builders.engines import prompts
from builders.pairs.corruptions import labelled, taught
from builders.recipe import estimate
from builders.recipe.step import JUDGE_TOKENS, PAIR_TOKENS, PROMPT_TOKENS, SNIPPET_TOKENS, Step
from builders.teacher.rows import split_of
from store import ASPECTS
from tests.tiny_recipes import recipe, teacher


def steps(made) -> dict[str, list[Step]]:
    found: dict[str, list[Step]] = {}
    for step in estimate.plan(made):
        found.setdefault(step.stage, []).append(step)
    return found


@pytest.mark.parametrize("iterations", [1, 3])
def test_the_stages_are_those_of_the_flow_in_their_order(tmp_path, iterations):
    made = recipe(tmp_path, iterations=iterations)
    assert list(steps(made)) == list(scoder.stages(made))


def test_candidates_are_checkpoints_times_samples_times_snippets(tmp_path):
    made = recipe(
        tmp_path,
        synthesizer={"model": "m", "training": {"num_checkpoints": 3}},
        sampling={"checkpoints": 3, "samples_per_checkpoint": 2, "snippets_per_iteration": 50},
        influence={"margin": 1.5},
        teacher={"num_snippets": 40, "reference_share": 0.1},
    )
    sample, score, influence, _ = steps(made)["iteration-1"]
    assert (sample.rows, sample.model_calls) == (300, 300)
    assert (score.rows, score.model_calls) == (300 * len(ASPECTS),) * 2
    assert influence.rows == (75 + 4) * 3 and influence.model_calls == 0
    assert sample.tokens == 300 * (SNIPPET_TOKENS + PAIR_TOKENS)


@pytest.mark.parametrize(
    "num, reference, validation", [(1000, 0.1, 0.2), (10, 0.1, 0.2), (160, 0.15, 0.15), (40, 0.1, 0.1)]
)
def test_training_rows_are_those_of_the_train_split(tmp_path, num, reference, validation):
    teacher = {"num_snippets": num, "reference_share": reference, "validation_share": validation, "scorer_share": 0.5}
    made = recipe(tmp_path, teacher=teacher)
    splits = [split_of(position, made.teacher) for position in range(num)]
    (bootstrap,) = steps(made)["bootstrap"]
    assert bootstrap.rows == pytest.approx([s for s, _ in splits].count("train"), abs=1)
    assert bootstrap.rows == round(num * (1 - reference - validation))


def test_accumulated_selections_grow_and_single_ones_do_not(tmp_path):
    sections = {"iterations": 3, "selection": {"top_share": 0.5}, "teacher": {"num_snippets": 100}}
    sampling = {"checkpoints": 1, "snippets_per_iteration": 20}
    rows = {}
    for accumulate in (False, True):
        synthesizer = {"model": "m", "accumulate": accumulate}
        made = recipe(tmp_path, **sections, sampling=sampling, synthesizer=synthesizer)
        rows[accumulate] = [steps(made)[f"iteration-{t}"][-1].rows for t in (1, 2, 3)]
    assert rows == {False: [80, 80, 80], True: [80, 90, 100]}


def test_the_teachers_cost_comes_from_its_prices(tmp_path):
    asked = {"model": "m", "num_snippets": 1000}
    prices = {"price_per_million_input": 2.0, "price_per_million_output": 10.0}
    (step,) = steps(recipe(tmp_path, teacher=teacher(**asked | prices)))["teacher"]
    assert step.cost_usd == pytest.approx(1000 * (SNIPPET_TOKENS * 2.0 + PAIR_TOKENS * 10.0) / 1e6)
    assert (step.rows, step.model_calls) == (1000, 1000)
    (unpriced,) = steps(recipe(tmp_path, teacher=teacher(**asked)))["teacher"]
    (offline,) = steps(recipe(tmp_path, teacher={"num_snippets": 7}))["teacher"]
    assert (unpriced.cost_usd, offline.cost_usd, offline.rows, offline.model_calls) == (None, None, 7, 0)


def test_labels_of_the_teacher_are_calls_that_cost(tmp_path):
    asked = {"model": "m", "num_snippets": 1000, "scorer_share": 0.5}
    prices = {"price_per_million_input": 2.0, "price_per_million_output": 10.0}
    scorer = {"training": {"epochs": 2}, "corruptions_per_sample": 1}
    made = steps(recipe(tmp_path, teacher=teacher(**asked | prices), scorer=scorer | {"labels": "teacher"}))
    _, labels = made["teacher"]
    tuned, _ = made["scorer"]
    assert (tuned.rows, tuned.model_calls, tuned.cost_usd) == (350 * 2 * len(ASPECTS), 0, None) and "of m" in tuned.what
    assert labels.rows == labels.model_calls == (350 + 150) * 2 * len(ASPECTS)
    question = labels.tokens / labels.rows - 1
    assert question > SNIPPET_TOKENS + PAIR_TOKENS and tuned.tokens == tuned.rows * question * 2
    assert labels.cost_usd == pytest.approx(labels.rows * (question * 2.0 + 10.0) / 1e6)


@pytest.mark.parametrize("copies", [1, 4, 9])
def test_labels_in_code_are_as_many_as_are_taught(tmp_path, copies):
    whole = {"num_snippets": 1000, "scorer_share": 0.5}
    made = recipe(tmp_path, teacher=whole, scorer={"training": {}, "corruptions_per_sample": copies})
    tuned, _ = steps(made)["scorer"]
    body = "def f{0}(a, b):\n    c = a + {0}\n    d = b * c\n    return c - d\n"
    pairs = [
        {"code": body.format(n), "problem": f"Say {n} and more of it.", "solution": body.format(n)} for n in range(350)
    ]
    rows = sum(len(taught(example, random.Random(0))) for example in labelled(pairs, copies, 0))
    assert tuned.rows == pytest.approx(rows, rel=0.05) and "corruptions" in tuned.what


def test_an_endpoint_reads_each_question_whole(tmp_path):
    sampling = {"checkpoints": 1, "samples_per_checkpoint": 1, "snippets_per_iteration": 10}
    engine = {"engine": "openai", "price_per_million_input": 2.0, "price_per_million_output": 10.0}
    paid, own = (
        steps(recipe(tmp_path, sampling=sampling, scorer={"engine": e}))["iteration-1"][1] for e in (engine, {})
    )
    assert paid.model_calls == own.model_calls == 10 * len(ASPECTS) and own.cost_usd is None
    assert paid.tokens > 10 * len(ASPECTS) * (SNIPPET_TOKENS + PAIR_TOKENS) > own.tokens
    assert paid.cost_usd == pytest.approx(((paid.tokens - paid.rows) * 2.0 + paid.rows * 10.0) / 1e6)


def test_an_unknown_pool_size_is_said_and_not_guessed(tmp_path):
    generation, scoring = steps(recipe(tmp_path))["instructions"]
    assert generation.rows is None and "size is known after stage pool" in generation.what
    assert (generation.model_calls, generation.tokens, scoring.model_calls, scoring.tokens) == (None,) * 4
    generation, scoring = steps(recipe(tmp_path, final={"max_snippets": 30, "samples": 2}))["instructions"]
    assert (generation.rows, generation.model_calls, scoring.rows) == (60, 60, 60 * len(ASPECTS))


def test_what_is_evaluated_is_named(tmp_path):
    benchmarks = [{"name": "shown", "path": "a", "evaluate": True}, {"name": "hidden", "path": "b"}]
    found = steps(recipe(tmp_path, benchmarks=benchmarks))
    assert found["evaluation"][0].what == "pass@1 on shown"
    assert "shown, hidden" in found["pool"][0].what


def test_a_plan_takes_no_more_samples_than_the_file_has(tmp_path):
    rows = [{"snippet": f"def f():\n    return {n}", "problem": "P", "solution": "x = 1"} for n in (0, 1, 2, 3, 3)]
    path = tmp_path / "mine.jsonl"
    path.write_text("\n".join(map(json.dumps, rows)))
    found = {}
    for num in (3, 500):
        section = {"engine": "samples", "path": str(path), "num_snippets": num,
                   "reference_share": 0.25, "validation_share": 0.25}  # fmt: skip
        made = steps(recipe(tmp_path, teacher=section))
        found[num] = made["teacher"][0].rows, made["bootstrap"][0].rows
    assert found == {3: (3, 2), 500: (4, 2)}
    path.unlink()
    assert steps(recipe(tmp_path, teacher=section))["teacher"][0].rows == 500


def test_what_nobody_can_know_is_none_and_never_zero(tmp_path):
    whole = {"docstring_judge": {"model": "judge"}, "benchmarks": [{"name": "b", "path": "b", "evaluate": True}]}
    found = steps(recipe(tmp_path, **whole))
    for step in (found["pool"][1], found["evaluation"][0]):
        assert (step.rows, step.model_calls, step.tokens) == (None, None, None)
    assert found["coder"][0].tokens is None and found["coder"][0].model_calls == 0
    assert steps(recipe(tmp_path))["evaluation"][0].tokens == 0, "nothing is evaluated"


def test_a_coder_is_trained_on_what_is_published_and_on_its_mix(tmp_path):
    final = {"max_snippets": 100, "samples": 4, "max_rows": 60}
    coder = {"model": "m", "training": {"epochs": 2}}
    (alone,) = steps(recipe(tmp_path, final=final, coder=coder))["coder"]
    assert (alone.rows, alone.tokens) == (60, 60 * PAIR_TOKENS * 2)
    (mixed,) = steps(recipe(tmp_path, final=final, coder=coder | {"mix": [{"dataset": "d", "max_rows": 40}]}))["coder"]
    assert (mixed.rows, mixed.tokens) == (100, 100 * PAIR_TOKENS * 2)
    (unknown,) = steps(recipe(tmp_path, final=final, coder=coder | {"mix": [{"dataset": "d"}]}))["coder"]
    assert unknown.tokens is None


def test_a_judge_of_docstrings_reads_a_docstring_twice(tmp_path):
    """Once in the code and once alone, between the words of the prompt."""
    judged = steps(recipe(tmp_path, docstring_judge={"model": "judge"}))["pool"][1]
    assert f"one call of {JUDGE_TOKENS} tokens" in judged.what
    words = len(prompts.render("docstring-judge", code="", docstring="")) / 4
    assert words == pytest.approx(PROMPT_TOKENS, rel=0.2)


def test_the_scorer_scores_held_out_pairs_and_the_contrast(tmp_path):
    shares = {"num_snippets": 1000, "reference_share": 0.1, "validation_share": 0.2, "scorer_share": 0.5}
    made = recipe(tmp_path, teacher=shares, scorer={"training": {}, "corruptions_per_sample": 2})
    _, scored = steps(made)["scorer"]
    assert scored.rows == scored.model_calls == (200 * 3 + 350) * len(ASPECTS)
    untrained, scored = steps(recipe(tmp_path, teacher=shares))["scorer"]
    assert untrained.rows is None and scored.rows == (200 * 5 + 350) * len(ASPECTS)


def test_the_untrained_base_writes_where_it_is_asked_to(tmp_path):
    sampled, _ = steps(recipe(tmp_path, sampling={"checkpoints": 1, "base_snippets": 30}))["bootstrap"]
    assert (sampled.rows, sampled.tokens) == (30, 30 * (SNIPPET_TOKENS + PAIR_TOKENS))
