"""Scoring aspects by the distribution over the digits, against decoding the scores, on one model in one vLLM engine.

    make .venv-vllm/.ready && VLLM_CPU_KVCACHE_SPACE=1 .venv-vllm/bin/python benchmarks/scoring.py

Ours asks for one token position per aspect after a shared prefix. The others decode: (a) one digit per aspect, (b) one
JSON answer with all aspects, (c) a reason of up to 64 tokens and a digit per aspect: with our order of the prompt, whose prefix
all aspects share, and with the rubric first. Items are documented functions of the standard
library, each as snippet, problem and solution, in the scorer's own prompt with its own rubrics, under the tokenizer of
recipes/tiny-base; its architecture with random weights answers, made never to end by itself, so that lengths are fixed: it is the
work that is compared, not the judgement. Every way gets items of its own, or the prefix cache would answer for the one before.
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

sys.path.insert(0, str(Path(__file__).parent.parent))

import torch
from transformers import AutoConfig, AutoModelForCausalLM, AutoTokenizer

from builders import prompts
from builders.aspect_scores import question
from builders.engines import ChoiceRequest, Engine, EngineSettings, Request, open_engine
from store import ASPECTS

ROOT = Path(__file__).parent.parent
BASE = ROOT / "recipes" / "tiny-base"
PROMPT = "scorer"
JSON_TOKENS = 8 * len(ASPECTS)
"""`"correctness": 7, ` is about eight tokens."""
REASON_TOKENS = 64
ITEM_CHARS = (200, 1000)

Item = dict[str, str]
Asked = Callable[[Item, str], tuple[dict[str, str], ...]]


def main() -> None:
    """Run the four ways in turn, several rounds, and print the medians."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--items", type=int, default=32)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument(
        "--per-snippet", type=int, default=1, help="candidates of a snippet, as the loop has M x N of them"
    )
    options = parser.parse_args()
    os.environ.setdefault("VLLM_CPU_KVCACHE_SPACE", "1")
    os.environ.setdefault("VLLM_LOGGING_LEVEL", "ERROR")
    settings = EngineSettings(engine="vllm", max_model_tokens=1024, enforce_eager=True)
    ways = {
        "digit distribution (ours)": _distribution,
        "(a) one decoded digit per aspect": lambda e, i: _decoded(e, i, 1),
        "(b) one JSON answer for all": _json,
        "(c) reason and digit per aspect": lambda e, i: _decoded(e, i, REASON_TOKENS),
        "    the same, rubric first": lambda e, i: _decoded(e, i, REASON_TOKENS, _rubric_first),
    }
    times: dict[str, list[float]] = {name: [] for name in ways}
    with tempfile.TemporaryDirectory(prefix="scoder-scoring-") as folder:
        model = random_model(Path(folder, "model"))
        found = items(len(ways) * options.items * (options.rounds + 1), options.per_snippet)
        with open_engine(settings, model) as engine:
            for round_ in range(options.rounds + 1):  # the first warms up
                for number, (name, way) in enumerate(ways.items()):
                    first = options.items * (len(ways) * round_ + number)
                    start = time.monotonic()
                    way(engine, found[first : first + options.items])
                    times[name].append(time.monotonic() - start)
    ours = sorted(times["digit distribution (ours)"][1:])[options.rounds // 2]
    tokens = AutoTokenizer.from_pretrained(BASE)
    lengths = sorted(len(tokens(_question(item, ASPECTS[0])[0]["content"])["input_ids"]) for item in found)
    print(
        f"{options.items} items x {len(ASPECTS)} aspects, median of {options.rounds} rounds; prompts of "
        f"{lengths[0]} to {lengths[-1]} tokens, median {lengths[len(lengths) // 2]}"
    )
    for name, found in times.items():
        median = sorted(found[1:])[options.rounds // 2]
        print(f"{name:34} {median:7.2f} s   {options.items / median:7.1f} items/s   {median / ours:6.2f} x ours")


def random_model(folder: Path) -> str:
    """The architecture and tokenizer of the tiny base with random weights; no completion ends before its full length."""
    torch.manual_seed(0)
    config = AutoConfig.from_pretrained(BASE, tie_word_embeddings=False, initializer_range=0.3)
    model = AutoModelForCausalLM.from_config(config)
    with torch.no_grad():
        model.lm_head.weight[config.eos_token_id] = 0.0
    model.save_pretrained(folder)
    AutoTokenizer.from_pretrained(BASE).save_pretrained(folder)
    return str(folder)


def items(wanted: int, per_snippet: int) -> list[Item]:
    """Functions of the standard library as (snippet, problem, solution), in a seeded order; several in a row share a snippet."""
    # not at the top, which vLLM's processes import again: vLLM 0.32 on CPU cannot start where numba is loaded
    from builders.extraction import functions, without_docstring

    root = Path(sysconfig.get_paths()["stdlib"])
    paths = [
        p for p in sorted([*root.glob("*.py"), *root.glob("*/*.py")]) if p.parts[-2] not in ("test", "site-packages")
    ]
    found = [f for path in paths for f in functions(path.read_text(encoding="utf-8", errors="replace"))]
    made: list[Item] = []
    for function in random.Random(0).sample(found, len(found)):
        if ITEM_CHARS[0] <= len(function.code) <= ITEM_CHARS[1]:
            with contextlib.suppress(ValueError):  # nothing but a docstring
                solution = without_docstring(function.code)
                made.append({"code": function.code, "problem": function.docstring, "solution": solution})
    assert len(made) >= wanted, f"the standard library has {len(made)} items, {wanted} are needed: ask for fewer rounds"
    snippets = [item["code"] for item in made]
    return [item | {"code": snippets[n - n % per_snippet]} for n, item in enumerate(made[:wanted])]


def _question(item: Item, aspect: str) -> tuple[dict[str, str], ...]:
    return ({"role": "user", "content": question(PROMPT, aspect=aspect, **item)},)


def _distribution(engine: Engine, items: list[Item]) -> None:
    requests = [ChoiceRequest(str(i), tuple(_question(item, a) for a in ASPECTS)) for i, item in enumerate(items)]
    answers = list(engine.choose(requests))
    assert all(a.probabilities is not None for a in answers), answers[0]


def _rubric_first(item: Item, aspect: str) -> tuple[dict[str, str], ...]:
    """As prompts of judges mostly are: what is to be judged comes after how, so that aspects share next to nothing."""
    pair = prompts.render(PROMPT, aspect="", **item)
    return ({"role": "user", "content": f"{prompts.template(f'aspects/{aspect}')}\n\n{pair}"},)


def _decoded(engine: Engine, items: list[Item], num_tokens: int, asked: Asked = _question) -> None:
    requests = [
        Request(f"{i}/{a}", messages=asked(item, a), max_tokens=num_tokens, temperature=0)
        for i, item in enumerate(items)
        for a in ASPECTS
    ]
    assert len(list(engine.generate(requests))) == len(requests)


def _json(engine: Engine, items: list[Item]) -> None:
    rubrics = "\n".join(prompts.template(f"aspects/{aspect}") for aspect in ASPECTS)
    texts = [prompts.render(PROMPT, aspect=f"{rubrics}\nAnswer as JSON.", **item) for item in items]
    requests = [
        Request(str(i), messages=({"role": "user", "content": text},), max_tokens=JSON_TOKENS, temperature=0)
        for i, text in enumerate(texts)
    ]
    assert len(list(engine.generate(requests))) == len(requests)


if __name__ == "__main__":
    main()
