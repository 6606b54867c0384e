"""candidates: what the checkpoints of one training run write for the snippets of one iteration.

In: the pool, the checkpoints of G_{t-1}. Out: `candidates/iteration-t`: M checkpoints x N samples per snippet. Malformed
generations are rows with their parse_status. Iteration 0 is the untrained base, T+1 the final generation by G_T alone.
Adapters answer together in one engine; checkpoints of full weights take turns, each with all snippets before the next is loaded.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import Any

import pyarrow as pa

from builders.engines import Completion, Request, prompts
from builders.engines.answers import batches, journals, open_answers, spent_before, usage
from builders.engines.checkpoints import last_checkpoints, open_checkpoints, share_an_engine
from builders.pairs import parse
from builders.pool import snippets
from builders.recipe import Recipe
from store import CONTRACTS, Plan, Record, Store, Usage, content_id, seed_from
from store.errors import JobError

Job = tuple[dict[str, Any], dict[str, Any], int]
"""(checkpoint, snippet, sample index)"""


@dataclass(frozen=True)
class Draw:
    """Which snippets, by which checkpoints, how often. `turns` are the checkpoints that answer together."""

    start: int
    stop: int
    turns: tuple[tuple[dict[str, Any], ...], ...]
    samples: int

    @property
    def checkpoints(self) -> list[dict[str, Any]]:
        """All checkpoints of this draw."""
        return [checkpoint for turn in self.turns for checkpoint in turn]

    @property
    def num_snippets(self) -> int:
        """Snippets of this draw."""
        return self.stop - self.start

    @property
    def num_jobs(self) -> int:
        """Candidates to be sampled."""
        return self.num_snippets * len(self.checkpoints) * self.samples


def draw(store: Store, recipe: Recipe, iteration: int) -> Draw:
    """Snippets after the teacher's; fresh ones for each iteration of the loop, all of them for the final generation."""
    sampling, first = recipe.sampling, recipe.teacher.num_snippets
    if iteration == 0:
        used = last_checkpoints(store, "base", None, 1)
        return Draw(first, first + sampling.base_snippets, _turns(recipe, used), 1)
    if iteration > recipe.iterations:
        last = last_checkpoints(store, "synthesizer", recipe.iterations, 1)
        pool = store.record("pool")
        stop = pool.rows if pool else first
        if recipe.final.max_snippets is not None:
            stop = min(stop, first + recipe.final.max_snippets)
        return Draw(first, stop, _turns(recipe, last), recipe.final.samples)
    start = first + (iteration - 1) * sampling.snippets_per_iteration
    used = last_checkpoints(store, "synthesizer", iteration - 1, sampling.checkpoints)
    stop = start + sampling.snippets_per_iteration
    return Draw(start, stop, _turns(recipe, used), sampling.samples_per_checkpoint)


def _turns(recipe: Recipe, used: list[dict[str, Any]]) -> tuple[tuple[dict[str, Any], ...], ...]:
    is_shared = share_an_engine(recipe.synthesizer.engine, used)
    return (tuple(used),) if is_shared else tuple((checkpoint,) for checkpoint in used)


def jobs(store: Store, drawn: Draw, start: int, stop: int) -> list[Job]:
    """Jobs start..stop of a draw: turn by turn, in a turn snippet by snippet, so that a shard reads only its own snippets."""
    found: list[Job] = []
    for turn in drawn.turns:
        each = len(turn) * drawn.samples
        num_jobs = drawn.num_snippets * each
        found += _jobs_of_turn(store, drawn, turn, range(max(0, start), min(stop, num_jobs)))
        start, stop = start - num_jobs, stop - num_jobs
    return found


def _jobs_of_turn(store: Store, drawn: Draw, turn: tuple[dict[str, Any], ...], places: range) -> list[Job]:
    if not places:
        return []
    each = len(turn) * drawn.samples
    first = places.start // each
    found = snippets(store, drawn.start + first, drawn.start + -(-places.stop // each))
    return [(turn[(i % each) // drawn.samples], found[i // each - first], i % drawn.samples) for i in places]


def build(store: Store, recipe: Recipe, iteration: int) -> Record:
    """Sample every (checkpoint, snippet, sample index) of the iteration."""
    drawn = draw(store, recipe, iteration)
    size = recipe.sampling.requests_per_shard
    engine = recipe.synthesizer.engine
    plan = Plan(
        table="candidates",
        partition={"iteration": iteration},
        inputs=store.input("pool"),
        fields={
            "checkpoints": [c["checkpoint_id"] for c in drawn.checkpoints],
            "snippets": [drawn.start, drawn.stop],
            "samples": drawn.samples,
            "sampling": {k: getattr(recipe.sampling, k) for k in ("temperature", "top_p", "max_tokens")},
            "engine": engine.identity(),
            "seed": recipe.seed,
        },
        texts=prompts.versions(recipe.synthesizer.prompt),
        num_shards=-(-drawn.num_jobs // size),
        rows_per_shard=size,
    )
    if (built := store.built(plan)) is not None:
        return built

    def jobs_of(shard: int) -> list[Job]:
        return jobs(store, drawn, shard * size, (shard + 1) * size)

    def requests_of(shard: int) -> list[Request]:
        return [_request(recipe, *job) for job in jobs_of(shard)]

    def make(shard: int) -> tuple[pa.Table, Usage]:
        part = jobs_of(shard)
        completions = answers.of(shard, [_request(recipe, *job).request_id for job in part])
        rows = [_row(recipe, iteration, job, c) for job, c in zip(part, completions, strict=True)]
        table = pa.Table.from_pylist(rows, schema=CONTRACTS["candidates"].schema)
        return table, usage(engine, completions)

    spent, state = spent_before(store, plan.table, engine), batches(store, plan)
    with (
        open_checkpoints(store, engine, drawn.checkpoints, spent=spent, state=state) as opened,
        open_answers(journals(store, plan), store.missing(plan), engine, opened.generate, requests_of) as answers,
    ):
        return store.materialize(plan, make)


def require_parsed(store: Store, iteration: int) -> None:
    """Raise RuntimeError when not one candidate of an iteration parses: there is nothing to go on with."""
    counts = Counter(
        status
        for table in store.read("candidates", ["parse_status"], iteration=iteration)
        for status in table["parse_status"].to_pylist()
    )
    if not counts["ok"]:
        raise JobError(
            f"none of the {counts.total()} candidates of iteration {iteration} is a problem with a valid solution "
            f"({', '.join(f'{status}: {n}' for status, n in counts.most_common())}). Look at them with `scoder show "
            "candidates`; train the synthesizer longer, or give the teacher more snippets"
        )


def _request(recipe: Recipe, checkpoint: dict[str, Any], snippet: dict[str, Any], sample: int) -> Request:
    text = prompts.render(recipe.synthesizer.prompt, code=snippet["code"])
    sampling = recipe.sampling
    name = content_id(
        checkpoint["checkpoint_id"], snippet["snippet_id"], sample, recipe.seed, text,
        str(sampling.temperature), str(sampling.top_p), sampling.max_tokens,
    )  # fmt: skip
    return Request(
        request_id=name,
        messages=({"role": "user", "content": text},),
        adapter=checkpoint["checkpoint_id"],
        max_tokens=sampling.max_tokens,
        temperature=sampling.temperature,
        top_p=sampling.top_p,
        seed=seed_from(name),
    )


def _row(recipe: Recipe, iteration: int, job: Job, completion: Completion) -> dict[str, Any]:
    checkpoint, snippet, sample = job
    pair = parse(completion.text, completion.finish_reason)
    return {
        "candidate_id": completion.request_id,
        "iteration": iteration,
        "snippet_id": snippet["snippet_id"],
        "checkpoint_id": checkpoint["checkpoint_id"],
        "sample_index": sample,
        "problem": pair.problem,
        "solution": pair.solution,
        "completion": completion.text,
        "parse_status": pair.status,
        "text_hash": pair.text_hash,
        "finish_reason": completion.finish_reason,
        "prompt_version": prompts.version(recipe.synthesizer.prompt),
        "prompt_tokens": completion.num_prompt_tokens,
        "completion_tokens": completion.num_completion_tokens,
        "logprob": completion.logprob,
        "cost_usd": recipe.synthesizer.engine.cost(completion.num_prompt_tokens, completion.num_completion_tokens),
    }
