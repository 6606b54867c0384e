"""Scoring aspects by the distribution over the digits, against decoding the scores, on one model in one vLLM engine.

    make .venv-vllm/.ready && VLLM_CPU_KVCACHE_SPACE=1 .venv-vllm/bin/python benchmarks/scoring.py

Ours asks for one token position per aspect after a shared prefix. The others decode: (a) one digit per aspect, (b) one
JSON answer with all aspects, (c) a reason of up to 64 tokens and a digit per aspect. The weights are random, so lengths
are fixed and answers mean nothing: it is the work that is compared, not the judgement.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent))

from builders.engines import ChoiceRequest, Engine, EngineSettings, Request, open_engine
from tests.engine_models import save_model

ASPECTS = ("correctness", "clarity", "completeness", "consistency", "relevance", "difficulty", "style", "usefulness")
JSON_TOKENS = 8 * len(ASPECTS)
"""`"correctness": 7, ` is about eight tokens."""
REASON_TOKENS = 64


def main() -> None:
    """Run the four ways in turn, several rounds, and print the medians."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--items", type=int, default=32)
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    os.environ.setdefault("VLLM_CPU_KVCACHE_SPACE", "1")
    os.environ.setdefault("VLLM_LOGGING_LEVEL", "ERROR")
    settings = EngineSettings(engine="vllm", max_model_tokens=1024, enforce_eager=True)
    ways = {
        "digit distribution (ours)": _distribution,
        "(a) one decoded digit per aspect": lambda e, i: _decoded(e, i, 1),
        "(b) one JSON answer for all": _json,
        "(c) reason and digit per aspect": lambda e, i: _decoded(e, i, REASON_TOKENS),
    }
    times: dict[str, list[float]] = {name: [] for name in ways}
    with tempfile.TemporaryDirectory(prefix="scoder-scoring-") as folder:
        model = _without_end(save_model(Path(folder, "model"), hidden_size=256, num_layers=4))
        with open_engine(settings, model) as engine:
            for round_ in range(options.rounds + 1):  # the first warms up
                for number, (name, way) in enumerate(ways.items()):
                    # other texts each time: the prefix cache must not answer from an earlier way
                    items = [_item(1000 * (4 * round_ + number) + i) for i in range(options.items)]
                    start = time.monotonic()
                    way(engine, items)
                    times[name].append(time.monotonic() - start)
    ours = sorted(times["digit distribution (ours)"][1:])[options.rounds // 2]
    print(f"{options.items} items x {len(ASPECTS)} aspects, median of {options.rounds} rounds")
    for name, found in times.items():
        median = sorted(found[1:])[options.rounds // 2]
        print(f"{name:34} {median:7.2f} s   {options.items / median:7.1f} items/s   {median / ours:6.2f} x ours")


def _without_end(model: str) -> str:
    """The model, made never to end by itself: every completion has its full length."""
    from safetensors.torch import load_file, save_file
    from transformers import AutoTokenizer

    path = Path(model, "model.safetensors")
    weights = load_file(path)
    weights["lm_head.weight"][AutoTokenizer.from_pretrained(model).eos_token_id] = 0.0
    save_file(weights, path, {"format": "pt"})
    return model


def _item(seed: int) -> str:
    lines = "".join(f"    value = value * {seed + i} + other\n" for i in range(8))
    return (
        f"### Problem {seed}\nCompute the value.\n### Solution\ndef compute(value, other):\n{lines}    return value\n"
    )


def _question(item: str, aspect: str) -> tuple[dict[str, str], ...]:
    return ({"role": "user", "content": f"{item}\nRate the {aspect} from 0 to 9."},)


def _distribution(engine: Engine, items: list[str]) -> None:
    requests = [ChoiceRequest(str(i), tuple(_question(item, a) for a in ASPECTS)) for i, item in enumerate(items)]
    answers = list(engine.choose(requests))
    assert all(a.probabilities is not None for a in answers), answers[0]


def _decoded(engine: Engine, items: list[str], num_tokens: int) -> None:
    requests = [
        Request(f"{i}/{a}", messages=_question(item, a), max_tokens=num_tokens, temperature=0)
        for i, item in enumerate(items)
        for a in ASPECTS
    ]
    assert len(list(engine.generate(requests))) == len(requests)


def _json(engine: Engine, items: list[str]) -> None:
    asked = f"Rate {', '.join(ASPECTS)} from 0 to 9, as JSON."
    requests = [
        Request(str(i), messages=_question(item, asked), max_tokens=JSON_TOKENS, temperature=0)
        for i, item in enumerate(items)
    ]
    assert len(list(engine.generate(requests))) == len(requests)


if __name__ == "__main__":
    main()
