"""Sampling from M checkpoints: one vLLM engine for all adapters, or one engine load per checkpoint.

    make .venv-vllm/.ready
    VLLM_CPU_KVCACHE_SPACE=1 .venv-vllm/bin/python benchmarks/engines/multi_checkpoint.py

Both ways answer the same requests on the same base and adapters. Weights are random, and every
completion has its full length. Both ways have equal prompts, so their texts should be equal too:
the script prints how many are, then the times and their ratio.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2]))

from builders.engines import Request, VllmSettings, open_engine
from tests.engine_models import save_adapter, save_model


def main() -> None:
    """Run both ways and print their times."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--checkpoints", type=int, default=3)
    parser.add_argument("--snippets", type=int, default=100)
    parser.add_argument("--samples", type=int, default=2)
    parser.add_argument("--max-tokens", type=int, default=64)
    options = parser.parse_args()
    os.environ.setdefault("VLLM_CPU_KVCACHE_SPACE", "1")
    os.environ.setdefault("VLLM_LOGGING_LEVEL", "ERROR")
    settings = VllmSettings(max_model_tokens=512, enforce_eager=True)
    with tempfile.TemporaryDirectory(prefix="scoder-multi-") as folder:
        model = save_model(Path(folder, "model"), hidden_size=256, num_layers=4)
        adapters = {f"step-{n}": save_adapter(model, Path(folder, str(n)), n) for n in range(options.checkpoints)}
        requests = [
            Request(f"{name}/{s}/{n}", prompt=_snippet(s), adapter=name, max_tokens=options.max_tokens, temperature=0)
            for s in range(options.snippets)
            for name in adapters
            for n in range(options.samples)
        ]

        start = time.monotonic()
        together = {}
        with open_engine(settings, model, adapters) as engine:
            loaded = time.monotonic() - start
            together = {c.request_id: c.text for c in engine.generate(requests)}
        one = time.monotonic() - start

        start = time.monotonic()
        apart = {}
        for name, path in adapters.items():
            with open_engine(settings, model, {name: path}) as engine:
                own = [r for r in requests if r.adapter == name]
                apart |= {c.request_id: c.text for c in engine.generate(own)}
        each = time.monotonic() - start

    same = sum(together[key] == apart[key] for key in apart)
    print(f"{len(requests)} completions of up to {options.max_tokens} tokens, {options.checkpoints} checkpoints")
    print(f"equal texts both ways (greedy): {same} of {len(requests)}")
    print(f"one engine, all adapters     {one:7.1f} s, of which loading {loaded:.1f} s")
    print(f"one engine per checkpoint    {each:7.1f} s")
    print(f"ratio                        {each / one:7.2f}")


def _snippet(number: int) -> str:
    return f"def function_{number}(a, b):\n" + "".join(f"    a = a + b * {number + i}\n" for i in range(6))


if __name__ == "__main__":
    main()
