"""candidates: one row is what one checkpoint wrote for one snippet, in one sample.

In: the pool, the teacher samples, and the checkpoints of the synthesizer G_{t-1}. Out:
`candidates/iteration-t`, with M checkpoints x N samples per snippet. Two iterations are special: in
iteration 0 the untrained base model writes, and iteration T+1 is the final generation, where only
the last checkpoint of G_T does.

No snippet of a teacher sample is written about again: validation and reference samples would leak
into the training. `queries/free_snippets.sql` says which snippets are free.

A generation that is not a problem with a solution is a row, too: its `parse_status` says what is
wrong with it.

Checkpoints that are adapters answer together in one engine. Checkpoints of full weights take turns:
one answers for all snippets, then the next is loaded.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import Any

import pyarrow as pa

import queries
from builders import teacher_samples
from builders.engines import Completion, Request, prompts
from builders.engines.answers import batches, journals, open_answers, spent_before, usage
from builders.engines.checkpoints import last_checkpoints, open_checkpoints, share_an_engine
from builders.executors.gpu_tasks import cluster_of
from builders.pairs import reading
from builders.recipe import Recipe
from store import CONTRACTS, Plan, Record, Store, Usage, content_id, seed_from
from store.catalog import connect
from store.errors import InputError, JobError
from store.staging import SMALL, Staged, staged

Job = tuple[dict[str, Any], dict[str, Any], int]
"""(checkpoint, snippet, sample index)"""


@dataclass(frozen=True)
class Draw:
    """Which snippets are asked about, of which checkpoints, and how often.

    The snippets stand at the places `start` (included) to `stop` (excluded) among the free ones of
    the pool, in the order of their positions. The first `num_asked` positions are not free: a
    teacher was asked about them. The checkpoints of one turn answer together; `made_by` is their
    partition of the table checkpoints.
    """

    start: int
    stop: int
    num_asked: int
    made_by: dict[str, str | int]
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
    """What an iteration draws from the free snippets of the pool.

    Each iteration of the loop takes snippets that no iteration before it had. Iteration 0 takes the
    first. The final generation takes all, or the first `final.max_snippets`. InputError if too few
    are free.
    """
    sampling = recipe.sampling
    asked = recipe.teacher.num_snippets if teacher_samples.is_asked(store) else 0
    free = queries.rows(connect(store, _snippet_inputs(store)), "free_snippets_count", {"num_asked": asked})
    num_free = int(free[0]["num_snippets"])
    if iteration == 0:
        start, stop, each = 0, sampling.base_snippets, 1
        made_by: dict[str, Any] = {"role": "base"}
        num = 1
    elif iteration > recipe.iterations:
        start, stop, each = 0, max(1, num_free), recipe.final.samples
        stop = stop if recipe.final.max_snippets is None else min(stop, recipe.final.max_snippets)
        made_by, num = {"role": "synthesizer", "iteration": recipe.iterations}, 1
    else:
        start, each = (iteration - 1) * sampling.snippets_per_iteration, sampling.samples_per_checkpoint
        stop = start + sampling.snippets_per_iteration
        made_by, num = {"role": "synthesizer", "iteration": iteration - 1}, sampling.checkpoints
    if stop > num_free:
        pool = store.record("pool")
        raise InputError(
            f"iteration {iteration} needs {stop:,} free snippets, those before it included, but {num_free:,} of the "
            f"{pool.rows if pool else 0:,} snippets of the pool are free: the others are the teacher's. Relax the "
            "thresholds of `pool`, add sources, or ask for fewer snippets per iteration"
        )
    used = last_checkpoints(store, made_by["role"], made_by.get("iteration"), num)
    return Draw(start, stop, asked, made_by, _turns(recipe, used), each)


def _snippet_inputs(store: Store) -> dict[str, str]:
    """What decides which snippets are free."""
    return store.input("pool") | store.input("teacher_samples")


def _turns(recipe: Recipe, used: list[dict[str, Any]]) -> tuple[tuple[dict[str, Any], ...], ...]:
    is_shared = share_an_engine(recipe.synthesizer.engine, used)
    return (tuple(used),) if is_shared else tuple((checkpoint,) for checkpoint in used)


def jobs(drawn: Draw, snippets: Staged, start: int, stop: int) -> list[Job]:
    """The jobs at places `start` (included) to `stop` (excluded) of a draw.

    They are ordered by turn, and in a turn by snippet. So a shard reads only its own snippets.
    """
    found: list[Job] = []
    for turn in drawn.turns:
        each = len(turn) * drawn.samples
        num_jobs = drawn.num_snippets * each
        found += _jobs_of_turn(drawn, snippets, turn, range(max(0, start), min(stop, num_jobs)))
        start, stop = start - num_jobs, stop - num_jobs
    return found


def _jobs_of_turn(drawn: Draw, snippets: Staged, turn: tuple[dict[str, Any], ...], places: range) -> list[Job]:
    if not places:
        return []
    each = len(turn) * drawn.samples
    first = places.start // each
    found = snippets.rows(first, -(-places.stop // each))
    return [(turn[(i % each) // drawn.samples], found[i // each - first], i % drawn.samples) for i in places]


def build(store: Store, recipe: Recipe, iteration: int) -> Record:
    """Sample every (checkpoint, snippet, sample index) of the iteration."""
    drawn = draw(store, recipe, iteration)
    engine = recipe.synthesizer.engine
    size = recipe.sampling.requests_per_shard or engine.rows_per_shard
    plan = Plan(
        table="candidates",
        partition={"iteration": iteration},
        inputs=_snippet_inputs(store) | store.input("raw_pool") | store.input("checkpoints", **drawn.made_by),
        fields={
            "checkpoints": [c["checkpoint_id"] for c in drawn.checkpoints],
            "snippets": [drawn.start, drawn.stop],
            "num_asked": drawn.num_asked,
            "samples": drawn.samples,
            "sampling": {k: getattr(recipe.sampling, k) for k in ("temperature", "top_p", "max_tokens")},
            "engine": engine.identity(),
            "seed": recipe.seed,
        },
        texts=prompts.versions(recipe.synthesizer.prompt) | queries.versions("free_snippets"),
        num_shards=-(-drawn.num_jobs // size),
        rows_per_shard=size,
    )
    if (built := store.built(plan)) is not None:
        return built

    def free() -> pa.RecordBatchReader:
        window = {"num_asked": drawn.num_asked, "start": drawn.start, "stop": drawn.stop}
        return queries.stream(connect(store, plan.inputs, **SMALL), "free_snippets", window)

    def jobs_of(shard: int) -> list[Job]:
        return jobs(drawn, snippets, shard * size, (shard + 1) * size)

    def requests_of(shard: int) -> list[Request]:
        return [_request(recipe, *job) for job in jobs_of(shard)]

    def make(shard: int) -> tuple[pa.Table, Usage]:
        part = jobs_of(shard)
        completions = answers.of(shard, [_request(recipe, *job).request_id for job in part])
        rows = [_row(recipe, iteration, job, c) for job, c in zip(part, completions, strict=True)]
        table = pa.Table.from_pylist(rows, schema=CONTRACTS["candidates"].schema)
        return table, usage(engine, completions)

    spent, state = spent_before(store, plan.table, engine), batches(store, plan)
    cluster = cluster_of(store, recipe.executor)
    with (
        staged(store, plan, free, by=("position", "snippet_id")) as snippets,
        open_checkpoints(
            store,
            engine,
            drawn.checkpoints,
            template_arguments=recipe.synthesizer.template_arguments,
            spent=spent,
            state=state,
            cluster=cluster,
        ) as opened,
        open_answers(
            journals(store, plan), store.missing(plan), engine, opened.generate, requests_of, cluster=cluster
        ) as answers,
    ):
        return store.materialize(plan, make)


def require_parsed(store: Store, iteration: int) -> None:
    """Raise JobError when no candidate of an iteration parses: the loop cannot go on then."""
    counts = Counter(
        status
        for table in store.read("candidates", ["parse_status"], iteration=iteration)
        for status in table["parse_status"].to_pylist()
    )
    if not counts["ok"]:
        raise JobError(
            f"none of the {counts.total()} candidates of iteration {iteration} is a problem with a valid solution "
            f"({', '.join(f'{status}: {n}' for status, n in counts.most_common())}). Look at them with "
            f"`scoder show candidates`. Then {_advice(counts)}"
        )


def _advice(counts: Counter[str]) -> str:
    """What helps against the most frequent reason."""
    if counts and counts.most_common(1)[0][0] == "prompt_too_long":
        return (
            "lower sampling.max_tokens, or raise synthesizer.engine.max_model_tokens: prompt and answer together must have "
            "room in it. Shorter snippets (pool.max_tokens) help, too"
        )
    if counts and counts.most_common(1)[0][0] in ("unfinished", "no_answer"):
        return (
            "raise sampling.max_tokens, or synthesizer.engine.max_thinking_tokens for a model that thinks. To a template that "
            "can leave the thinking out, say so with synthesizer.template_arguments, such as {enable_thinking: false}"
        )
    return "train the synthesizer longer, or give the teacher more snippets"


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
        max_tokens=sampling.max_tokens + recipe.synthesizer.engine.max_thinking_tokens,
        temperature=sampling.temperature,
        top_p=sampling.top_p,
        seed=seed_from(name),
    )


def _row(recipe: Recipe, iteration: int, job: Job, completion: Completion) -> dict[str, Any]:
    checkpoint, snippet, sample = job
    found = reading.answer(completion)
    pair = found.pair
    return {
        "candidate_id": completion.request_id,
        "iteration": iteration,
        "snippet_id": snippet["snippet_id"],
        "checkpoint_id": checkpoint["checkpoint_id"],
        "sample_index": sample,
        "problem": pair.problem,
        "solution": pair.solution,
        "completion": found.text,
        "reasoning": found.reasoning,
        "parse_status": pair.status,
        "text_hash": pair.text_hash,
        "finish_reason": completion.finish_reason,
        "prompt_version": prompts.version(recipe.synthesizer.prompt),
        "prompt_tokens": completion.num_prompt_tokens,
        "completion_tokens": completion.num_completion_tokens,
        "logprob": completion.logprob,
        "cost_usd": recipe.synthesizer.engine.cost(completion.num_prompt_tokens, completion.num_completion_tokens),
    }
