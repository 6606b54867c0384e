"""Sampling with a LoRA adapter on a CPU: the transformers engine, and transformers' own `generate`.

In: a model folder such as `scoder model smollm2 smollm2` makes. An adapter with random weights is
made on it. Both write the same number of tokens for the same prompts, which hold code. Printed:
tokens per second, CPU seconds and peak memory of each, and the quotients.

    .venv/bin/python benchmarks/engines/decoding.py smollm2 --rows 24 --tokens 128
"""

import argparse
import json
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2]))

SAMPLES = Path(__file__).parents[2] / "recipes" / "teacher-samples.jsonl"


def prompts(rows: int) -> list[str]:
    """Snippets of the superior samples, repeated to about 1,200 characters."""
    snippets = [json.loads(line)["snippet"] for line in SAMPLES.read_text(encoding="utf-8").splitlines()]
    return [(snippet + "\n\n\n") * (1 + 1200 // len(snippet)) for snippet in snippets[:rows]]


def make_adapter(model: str, folder: str) -> None:
    import torch
    from peft import LoraConfig, get_peft_model
    from transformers import AutoModelForCausalLM

    torch.manual_seed(0)
    config = LoraConfig(r=16, lora_alpha=32, target_modules="all-linear")
    get_peft_model(AutoModelForCausalLM.from_pretrained(model, dtype="float32"), config).save_pretrained(folder)


def ours(model: str, adapter: str, rows: int, tokens: int) -> dict[str, float]:
    from builders.engines import Request, TransformersSettings, open_engine

    settings = TransformersSettings(dtype="float32", micro_batch=rows, max_model_tokens=4096)
    asked = [
        Request(str(i), prompt=text, max_tokens=tokens, temperature=0.8, top_p=0.95, seed=i, adapter="a")
        for i, text in enumerate(prompts(rows))
    ]
    with open_engine(settings, model, {"a": adapter}) as engine:
        engine._eos_ids = frozenset()  # so that all rows have the same length
        list(engine.generate([Request("warm", prompt="x", max_tokens=2, adapter="a")]))
        return measured(lambda: sum(c.num_completion_tokens for c in engine.generate(asked)))


def theirs(model: str, adapter: str, rows: int, tokens: int) -> dict[str, float]:
    import torch
    from peft import PeftModel
    from transformers import AutoModelForCausalLM, AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(model, padding_side="left")
    tokenizer.pad_token = tokenizer.eos_token
    adapted = PeftModel.from_pretrained(AutoModelForCausalLM.from_pretrained(model, dtype="float32"), adapter).eval()
    ids = tokenizer(prompts(rows), return_tensors="pt", padding=True)
    length = {"max_new_tokens": tokens, "min_new_tokens": tokens}

    def run() -> int:
        found = adapted.generate(**ids, **length, do_sample=True, temperature=0.8, top_p=0.95, top_k=0)
        return found[:, ids["input_ids"].shape[1] :].numel()

    torch.manual_seed(0)
    return measured(run)


def measured(run) -> dict[str, float]:
    wall, cpu = time.perf_counter(), time.process_time()
    num_tokens = run()
    wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
    return {
        "tokens": num_tokens,
        "wall_s": wall,
        "cpu_s": cpu,
        "peak_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", help="folder of a model")
    parser.add_argument("--rows", type=int, default=24, help="prompts that are written at once")
    parser.add_argument("--tokens", type=int, default=128, help="tokens for each")
    parser.add_argument("--child", help=argparse.SUPPRESS)
    parser.add_argument("--adapter", help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.child:
        run = {"ours": ours, "transformers": theirs}[given.child]
        print(json.dumps(run(given.model, given.adapter, given.rows, given.tokens)))
        return
    with tempfile.TemporaryDirectory() as folder:
        make_adapter(given.model, folder)
        found = {}
        for name in ("transformers", "ours"):
            command = [sys.executable, __file__, *sys.argv[1:], "--child", name, "--adapter", folder]
            out = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout
            found[name] = json.loads(out.splitlines()[-1])
    print(f"{'':14}{'tokens/s':>10}{'CPU s':>10}{'peak MB':>10}")
    for name, row in found.items():
        print(f"{name:14}{row['tokens'] / row['wall_s']:10.1f}{row['cpu_s']:10.1f}{row['peak_mb']:10.0f}")
    theirs_, ours_ = found["transformers"], found["ours"]
    print(f"wall: {theirs_['wall_s'] / ours_['wall_s']:.2f} ×, CPU: {theirs_['cpu_s'] / ours_['cpu_s']:.2f} ×")


if __name__ == "__main__":
    main()
