"""Scoring aspects by the distribution over the digits, against decoding the scores.

One model in one vLLM engine:

    make .venv-vllm/.ready
    VLLM_CPU_KVCACHE_SPACE=1 .venv-vllm/bin/python benchmarks/engines/scoring.py

Ours asks for one token position per aspect, after a prefix that all aspects share. The others
decode:

    (a)  one digit per aspect
    (b)  one JSON answer with all aspects
    (c)  a reason of 64 tokens and then a score per aspect, in three prompts: the rubric of the one
         aspect after the pair, as in Prometheus; before the pair, as in UltraFeedback; and our own
         prompt, which saves (c) nearly all that it saves us

Items are documented functions of the standard library, each as snippet, problem and solution, with
the scorer's own rubrics and the tokenizer of recipes/tiny-base. Sixteen in a row have the same
snippet, like the recipes' four checkpoints with four samples (`--per-snippet`).

The model has the tiny base's architecture with random weights, and never ends by itself. So lengths
are fixed: we compare the work, not the judgement. Every way gets items of its own, because
otherwise the prefix cache would already hold what the way before it asked.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import random
import sys
import sysconfig
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2]))

import torch
from transformers import AutoConfig, AutoModelForCausalLM, AutoTokenizer

from builders.engines import ChoiceRequest, Engine, Request, VllmSettings, open_engine, prompts
from store import ASPECTS

ROOT = Path(__file__).parents[2]
BASE = ROOT / "recipes" / "tiny-base"
PROMPT = "scorer"
JSON_TOKENS = 8 * len(ASPECTS)
"""`"correctness": 7, ` has about eight tokens."""
REASON_TOKENS = 64 + 4
"""A reason, and `\\nScore: 7`, which has four tokens."""
ITEM_CHARS = (200, 800)

Item = dict[str, str]
Asked = Callable[[Item, str], tuple[dict[str, str], ...]]


def main() -> None:
    """Run the ways in turn, several rounds, and print the medians."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--items", type=int, default=64)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--per-snippet", type=int, default=16, help="candidates of a snippet, M x N of the loop")
    options = parser.parse_args()
    os.environ.setdefault("VLLM_CPU_KVCACHE_SPACE", "1")
    os.environ.setdefault("VLLM_LOGGING_LEVEL", "ERROR")
    settings = VllmSettings(max_model_tokens=1024, enforce_eager=True)
    ways = {
        "digit distribution (ours)": _distribution,
        "(a) one decoded digit per aspect": lambda e, i: _decoded(e, i, 1),
        "(b) one JSON answer for all": _json,
        "(c) reason and score per aspect, rubric last": lambda e, i: _decoded(e, i, REASON_TOKENS, _rubric_last),
        "    the same, rubric first": lambda e, i: _decoded(e, i, REASON_TOKENS, _rubric_first),
        "    the same, in our prompt": lambda e, i: _decoded(e, i, REASON_TOKENS),
    }
    times: dict[str, list[float]] = {name: [] for name in ways}
    with tempfile.TemporaryDirectory(prefix="scoder-scoring-") as folder:
        model = random_model(Path(folder, "model"))
        found = items(len(ways) * options.items * (options.rounds + 1), options.per_snippet)
        lengths = prompt_lengths(found)
        with open_engine(settings, model) as engine:
            for round_ in range(options.rounds + 1):  # the first warms up
                for number, (name, way) in enumerate(ways.items()):
                    first = options.items * (len(ways) * round_ + number)
                    start = time.monotonic()
                    way(engine, found[first : first + options.items])
                    times[name].append(time.monotonic() - start)
    ours = sorted(times["digit distribution (ours)"][1:])[options.rounds // 2]
    print(
        f"{options.items} items x {len(ASPECTS)} aspects, {options.per_snippet} items of a snippet, median of "
        f"{options.rounds} rounds; prompts of {lengths[0]} to {lengths[-1]} tokens, median {lengths[len(lengths) // 2]}"
    )
    for name, measured in times.items():
        median = sorted(measured[1:])[options.rounds // 2]
        print(f"{name:45} {median:7.2f} s   {options.items / median:7.1f} items/s   {median / ours:6.2f} x ours")


def random_model(folder: Path) -> str:
    """The architecture and tokenizer of the tiny base, with random weights.

    No completion ends before its full length.
    """
    torch.manual_seed(0)
    config = AutoConfig.from_pretrained(BASE, tie_word_embeddings=False, initializer_range=0.3)
    model = AutoModelForCausalLM.from_config(config)
    with torch.no_grad():
        model.lm_head.weight[config.eos_token_id] = 0.0
    model.save_pretrained(folder)
    AutoTokenizer.from_pretrained(BASE).save_pretrained(folder)
    return str(folder)


def items(wanted: int, per_snippet: int) -> list[Item]:
    """(snippet, problem, solution) in a seeded order.

    `per_snippet` items in a row have one snippet, which is the function of the first. Problems and
    solutions are docstrings and bodies of functions of the standard library, each used once.
    """
    # Imported here, because vLLM's processes import the top of this file again, and vLLM 0.32 on
    # CPU cannot start where numba is loaded.
    from builders.code.functions import functions, without_docstring

    root = Path(sysconfig.get_paths()["stdlib"])
    tests = ("test", "tests", "idle_test", "site-packages")
    paths = [p for p in sorted(root.rglob("*.py")) if not set(tests) & set(p.relative_to(root).parts)]
    found = [f for path in paths for f in functions(path.read_text(encoding="utf-8", errors="replace"))]
    made: list[Item] = []
    for function in random.Random(0).sample(found, len(found)):
        if ITEM_CHARS[0] <= len(function.code) <= ITEM_CHARS[1]:
            with contextlib.suppress(ValueError):  # nothing but a docstring
                solution = without_docstring(function.code)
                made.append({"code": function.code, "problem": function.docstring, "solution": solution})
    if len(made) < wanted:
        sys.exit(f"the standard library has {len(made)} items, {wanted} are needed: ask for fewer items or rounds")
    snippets = [item["code"] for item in made]
    return [item | {"code": snippets[n - n % per_snippet]} for n, item in enumerate(made[:wanted])]


def prompt_lengths(items: list[Item]) -> list[int]:
    """Tokens of one question about each item, in order of size."""
    tokens = AutoTokenizer.from_pretrained(BASE)
    return sorted(len(ids) for ids in tokens([_question(i, ASPECTS[0])[0]["content"] for i in items])["input_ids"])


def _text(item: Item, aspect: str) -> str:
    from builders.aspect_scores import question  # as in `items`

    return question(PROMPT, aspect=aspect, **item)


def _question(item: Item, aspect: str) -> tuple[dict[str, str], ...]:
    return ({"role": "user", "content": _text(item, aspect)},)


def _distribution(engine: Engine, items: list[Item]) -> None:
    requests = [ChoiceRequest(str(i), tuple(_question(item, a) for a in ASPECTS)) for i, item in enumerate(items)]
    answers = list(engine.choose(requests))
    assert all(a.probabilities is not None for a in answers), answers[0]


def _parts(item: Item, aspect: str) -> tuple[str, str]:
    """The rubric of the aspect, and the pair."""
    rubrics, pair = _text(item, aspect).rpartition("\n")[0].split("\n\nCode:", 1)
    return next(line for line in rubrics.splitlines() if line.startswith(aspect.capitalize())), f"Code:{pair}".strip()


def _rubric_last(item: Item, aspect: str) -> tuple[dict[str, str], ...]:
    rubric, pair = _parts(item, aspect)
    return ({"role": "user", "content": f"{pair}\n\n{rubric}"},)


def _rubric_first(item: Item, aspect: str) -> tuple[dict[str, str], ...]:
    rubric, pair = _parts(item, aspect)
    return ({"role": "user", "content": f"{rubric}\n\n{pair}"},)


def _decoded(engine: Engine, items: list[Item], num_tokens: int, asked: Asked = _question) -> None:
    requests = [
        Request(f"{i}/{a}", messages=asked(item, a), max_tokens=num_tokens, temperature=0)
        for i, item in enumerate(items)
        for a in ASPECTS
    ]
    _answered_in_full(engine, requests)


def _json(engine: Engine, items: list[Item]) -> None:
    texts = [prompts.render(PROMPT, aspect="All aspects, as JSON", **item) for item in items]
    requests = [
        Request(str(i), messages=({"role": "user", "content": text},), max_tokens=JSON_TOKENS, temperature=0)
        for i, text in enumerate(texts)
    ]
    _answered_in_full(engine, requests)


def _answered_in_full(engine: Engine, requests: list[Request]) -> None:
    answers = list(engine.generate(requests))
    lengths = {answer.request_id: answer.num_completion_tokens for answer in answers}
    assert lengths == {request.request_id: request.max_tokens for request in requests}


if __name__ == "__main__":
    main()
