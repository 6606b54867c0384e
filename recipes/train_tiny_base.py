"""Train the tiny base model of the offline demo: a 4M-parameter Qwen2 for short Python functions.

The model learns to copy and rewrite them. In: the functions of installed packages (see
`tiny_base_examples.py`). Out, in the folder `--output`: config.json, model.safetensors (float16),
tokenizer files and generation_config.json, all rewritten at every save. In the folder `--work`: the
harvested functions, the tokenizer, checkpoint.pt, from which a killed run continues, and log.jsonl
with the held-out losses.

    python recipes/train_tiny_base.py --output recipes/tiny-base --work work/tiny-base

There are three phases:
1. Copying, in one layout of at most 256 tokens: a documented function, then its summary and the
   function without docstring. It lasts until the model has learned to copy. With many layouts from
   the start it does not learn it.
2. Widening, up to 512 tokens: the same task in varied words, functions from a specification, and
   matching with a digit in one form. By default this phase is empty, as it was for the model in
   `tiny-base`: see the model card.
3. Matching in varied forms as well.

The batches follow from `--seed` and the number of the chunk. The schedule follows the tokens seen,
or the clock where `--minutes` runs out first. So only a run that the clock does not stop repeats
exactly, and only on the same processor.
"""

import argparse
import hashlib
import json
import os
import random
import time
from pathlib import Path

import torch
from tiny_base_examples import (
    Function,
    Turn,
    copy_example,
    harvest,
    match_example,
    rewrite_example,
    simple_function,
    spec_example,
)
from tokenizers import Tokenizer, models, pre_tokenizers, trainers
from transformers import GenerationConfig, Qwen2Config, Qwen2ForCausalLM, Qwen2Tokenizer

END, START, STOP = "<|endoftext|>", "<|im_start|>", "<|im_end|>"
CHAT_TEMPLATE = (
    "{% for message in messages %}{{ '<|im_start|>' + message['role'] + '\\n' + message['content'] + '<|im_end|>\\n' }}"
    "{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\\n' }}{% endif %}"
)
VOCABULARY, POSITIONS = 4096, 1024
CHUNK_EXAMPLES, BATCH_TOKENS = 750, 4608  # a chunk is about half a minute on two CPU cores
LEARNING_RATE, WARMUP_TOKENS, DECAY_SHARE, EMA = 3e-3, 150_000, 0.25, 0.98

Row = tuple[list[int], list[float]]  # token ids and the loss weight of each


# --- data -----------------------------------------------------------------------------------------


def is_held_out(row: Function) -> bool:
    """True for one function in fifty, by a hash of its bare text."""
    return int(hashlib.md5(row.bare.encode(), usedforsecurity=False).hexdigest(), 16) % 50 == 0


def load_functions(work: Path) -> list[Function]:
    """The harvested functions, from `work` if an earlier run left them there.

    A new harvest also writes the list of packages beside them.
    """
    path = work / "functions.json"
    if not path.exists():
        rows, packages = harvest()
        (work / "packages.json").write_text(json.dumps(packages, indent=1))
        path.write_text(json.dumps(rows))
    return [Function(*row) for row in json.loads(path.read_text())]


def load_tokenizer(work: Path, functions: list[Function]) -> Tokenizer:
    """Byte-level BPE, trained on the functions and on some chats. Digits stay single, as in Qwen2.

    AutoTokenizer gives a Qwen2 model Qwen2's normaliser and pre-tokeniser whatever its
    tokenizer.json says."""
    path = work / "tokenizer.json"
    if not path.exists():
        qwen = Qwen2Tokenizer().backend_tokenizer
        tokenizer = Tokenizer(models.BPE())
        tokenizer.normalizer, tokenizer.pre_tokenizer, tokenizer.decoder = (
            qwen.normalizer,
            qwen.pre_tokenizer,
            qwen.decoder,
        )
        trainer = trainers.BpeTrainer(
            vocab_size=VOCABULARY,
            special_tokens=[END, START, STOP],
            initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
            show_progress=False,
        )
        rng = random.Random(0)
        prose = [turn.text for row in functions[::8] for turn in widened(row, functions, rng, False)]
        tokenizer.train_from_iterator(
            [row.documented for row in functions if len(row.documented) < 1500] + prose, trainer
        )
        tokenizer.save(str(path))
    return Tokenizer.from_file(str(path))


def widened(row: Function, functions: list[Function], rng: random.Random, lesson: bool) -> list[Turn]:
    """One example of the widening phase. A tenth are templated functions.

    The others are copying in one and in varied words, functions from a specification, and matching.
    """
    if rng.random() < 0.12:
        row = simple_function(rng)
        return rng.choice((spec_example, spec_example, rewrite_example))(row, rng)
    if rng.random() < (0.4 if lesson else 0.2):
        return match_example(functions, rng, lesson)
    draw = rng.random()
    if draw < 0.2:
        return copy_example(row)
    return rewrite_example(row, rng) if draw < 0.85 else spec_example(row, rng)


def encode(turns: list[Turn], tokenizer: Tokenizer, rng: random.Random | None = None) -> Row:
    """Token ids and loss weights of a chat. The ids equal those of the chat template.

    With `rng` a weight below 1 is the chance that the token counts: the same gradient on average,
    for fewer logits. Without it every token has weight 1."""
    ids: list[int] = []
    weights: list[float] = []
    for turn in turns:
        head, body, tail = (tokenizer.encode(text).ids for text in (f"{START}{turn.role}\n", turn.text, f"{STOP}\n"))
        ids += head + body + tail
        weights += [0.1] * len(head) + [turn.weight] * len(body) + [min(turn.weight, 1.0), 0.1]
    if rng is None:
        return ids, [1.0] * len(ids)
    return ids, [weight if weight >= 1 else float(rng.random() < weight) for weight in weights]


def batches(functions: list[Function], tokenizer: Tokenizer, seed: int, chunk: int, phase: int) -> list[list[Row]]:
    """The batches of one chunk, in random order.

    A batch holds rows of similar length, and at most BATCH_TOKENS tokens with padding.
    """
    rng = random.Random(f"{seed}/{chunk}")
    rows: list[Row] = []
    while len(rows) < CHUNK_EXAMPLES:
        function = rng.choice(functions)
        turns = copy_example(function) if phase == 1 else widened(function, functions, rng, lesson=phase == 2)
        limit = 512 if phase > 1 and (len(turns) > 2 or rng.random() < 0.4) else 256
        if sum(len(turn.text) for turn in turns) < limit * 6:
            row = encode(turns, tokenizer, rng)
            rows += [row] if len(row[0]) <= limit else []
    rows.sort(key=lambda row: len(row[0]), reverse=True)
    groups: list[list[Row]] = [[]]
    for row in rows:
        if groups[-1] and (len(groups[-1]) + 1) * len(groups[-1][0][0]) > BATCH_TOKENS:
            groups.append([])
        groups[-1].append(row)
    rng.shuffle(groups)
    return groups


def token_losses(model: Qwen2ForCausalLM, rows: list[Row]) -> tuple[torch.Tensor, torch.Tensor]:
    """Loss and weight, both [kept], of every token with a weight above 0 but the first of a row.

    The other tokens cost no logits.
    """
    longest = max(len(ids) for ids, _ in rows)
    ids_BT = torch.tensor([ids + [0] * (longest - len(ids)) for ids, _ in rows])
    weights_BT = torch.tensor([weights + [0.0] * (longest - len(weights)) for _, weights in rows])[:, 1:]
    kept_BT = weights_BT > 0
    with torch.autocast("cpu", torch.bfloat16):
        hidden_BTD = model.model(input_ids=ids_BT[:, :-1], use_cache=False).last_hidden_state
        logits_KV = model.lm_head(hidden_BTD[kept_BT])
    losses_K = torch.nn.functional.cross_entropy(logits_KV.float(), ids_BT[:, 1:][kept_BT], reduction="none")
    return losses_K, weights_BT[kept_BT]


# --- training -------------------------------------------------------------------------------------


def new_model(seed: int) -> Qwen2ForCausalLM:
    """A random model: 4 layers of width 256, tied embeddings."""
    torch.manual_seed(seed)
    config = Qwen2Config(
        vocab_size=VOCABULARY,
        hidden_size=256,
        intermediate_size=704,
        num_hidden_layers=4,
        num_attention_heads=4,
        num_key_value_heads=4,
        max_position_embeddings=POSITIONS,
        tie_word_embeddings=True,
        bos_token_id=None,
        eos_token_id=2,
        pad_token_id=0,
    )
    model = Qwen2ForCausalLM(config)
    model.set_attn_implementation("eager")  # a third less processor time than sdpa at these lengths
    return model


def optimizers(model: Qwen2ForCausalLM) -> list[torch.optim.Optimizer]:
    """Muon for the matrices, AdamW for embeddings, norms and biases.

    With Muon the model learns to copy in fewer tokens than with AdamW.
    """
    named = list(model.named_parameters())
    matrices = [p for name, p in named if p.ndim == 2 and "embed" not in name]
    rest = [p for name, p in named if p.ndim != 2 or "embed" in name]
    return [
        torch.optim.Muon(matrices, lr=LEARNING_RATE, weight_decay=0.05, adjust_lr_fn="match_rms_adamw"),
        torch.optim.AdamW(rest, lr=LEARNING_RATE, betas=(0.9, 0.95), weight_decay=0.0),
    ]


def learning_rate(tokens: int, progress: float) -> float:
    """Linear warm-up, constant, and a linear decay to 3% over the last DECAY_SHARE of the run."""
    return LEARNING_RATE * min(1.0, (tokens + 1) / WARMUP_TOKENS, max(0.03, (1 - progress) / DECAY_SHARE))


@torch.no_grad()
def held_out_losses(model: Qwen2ForCausalLM, functions: list[Function], tokenizer: Tokenizer) -> dict[str, float]:
    """Mean loss a token on held-out functions of phase 1: function, then summary, then its copy."""
    sums: dict[str, list[float]] = {"function": [0.0, 0], "summary": [0.0, 0], "copy": [0.0, 0]}
    rows = [(row, encode(copy_example(row), tokenizer)) for row in functions if len(row.documented) < 600][:48]
    for row, encoded in [pair for pair in rows if len(pair[1][0]) <= 256]:
        losses_T = token_losses(model, [encoded])[0]
        copy = len(tokenizer.encode(row.bare).ids) + 2
        reply = len(tokenizer.encode(f"{row.summary}\n\n{row.bare}").ids) + 2
        parts = {"function": losses_T[:-reply], "summary": losses_T[-reply:-copy], "copy": losses_T[-copy:-1]}
        for name, part in parts.items():
            sums[name][0] += part.sum().item()
            sums[name][1] += part.numel()
    return {name: round(total / count, 3) for name, (total, count) in sums.items()}


def export(state: dict[str, torch.Tensor], tokenizer_file: Path, output: Path) -> None:
    """Write a loadable model folder: built beside `output`, then moved over it file by file."""
    partial = output.with_name(output.name + ".partial")
    model = new_model(0)
    model.load_state_dict(state)
    model.half().save_pretrained(partial)
    GenerationConfig(eos_token_id=2, pad_token_id=0).save_pretrained(partial)
    bpe = json.loads(tokenizer_file.read_text())["model"]
    tokenizer = Qwen2Tokenizer(
        vocab=bpe["vocab"],
        merges=[tuple(merge) for merge in bpe["merges"]],
        eos_token=STOP,
        pad_token=END,
        unk_token=END,
        extra_special_tokens=[START],
        chat_template=CHAT_TEMPLATE,
        model_max_length=POSITIONS,
    )
    tokenizer.save_pretrained(partial, save_jinja_files=False)
    output.mkdir(parents=True, exist_ok=True)
    for file in partial.iterdir():
        file.chmod(0o644)
        os.replace(file, output / file.name)
    partial.rmdir()


def train(args: argparse.Namespace) -> None:
    """The whole run, from its checkpoint when there is one."""
    args.work.mkdir(parents=True, exist_ok=True)
    functions = load_functions(args.work)
    tokenizer = load_tokenizer(args.work, functions)
    held_out = [row for row in functions if is_held_out(row)]
    functions = [row for row in functions if not is_held_out(row)]
    model = new_model(args.seed)
    opts = optimizers(model)
    ema = {name: value.clone() for name, value in model.state_dict().items()}
    chunk, tokens, seconds = 0, 0, 0.0
    checkpoint = args.work / "checkpoint.pt"
    if checkpoint.exists():
        saved = torch.load(checkpoint, weights_only=True)
        model.load_state_dict(saved["model"])
        for opt, state in zip(opts, saved["optimizers"], strict=True):
            opt.load_state_dict(state)
        ema, chunk, tokens, seconds = saved["ema"], saved["chunk"], saved["tokens"], saved["seconds"]
    last_save = seconds
    while (progress := max(tokens / args.tokens, seconds / 60 / args.minutes)) < 1:
        began = time.monotonic()
        losses = []
        phase = 1 + (progress >= args.phase1) + (progress >= args.phase2)
        for rows in batches(functions, tokenizer, args.seed, chunk, phase):
            losses_K, weights_K = token_losses(model, rows)
            loss = (losses_K * weights_K).sum() / weights_K.sum()
            loss.backward()
            torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            for opt in opts:
                opt.param_groups[0]["lr"] = learning_rate(tokens, progress)
                opt.step()
                opt.zero_grad()
            for name, value in model.state_dict().items():
                ema[name].lerp_(value, 1 - EMA)
            tokens += sum(len(ids) for ids, _ in rows)
            losses.append(loss.item())
        chunk, seconds = chunk + 1, seconds + time.monotonic() - began
        line = {"chunk": chunk, "tokens": tokens, "minutes": round(seconds / 60, 1), "phase": phase}
        line |= {"loss": round(sum(losses) / len(losses), 3)} | held_out_losses(model, held_out, tokenizer)
        with (args.work / "log.jsonl").open("a") as log:
            log.write(json.dumps(line) + "\n")
        if seconds - last_save > args.save_every * 60:
            saved = {"model": model.state_dict(), "optimizers": [opt.state_dict() for opt in opts], "ema": ema}
            torch.save(saved | {"chunk": chunk, "tokens": tokens, "seconds": seconds}, checkpoint.with_suffix(".new"))
            os.replace(checkpoint.with_suffix(".new"), checkpoint)
            export(ema, args.work / "tokenizer.json", args.output)
            last_save = seconds
    export(ema, args.work / "tokenizer.json", args.output)


def main() -> None:
    """Parse the command line and train."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--output", type=Path, default=Path("recipes/tiny-base"))
    parser.add_argument("--work", type=Path, default=Path("work/tiny-base"))
    parser.add_argument(
        "--minutes", type=float, default=240, help="ends the run early; the schedule then follows the clock"
    )
    parser.add_argument("--tokens", type=int, default=11_000_000, help="positions trained on, without padding")
    parser.add_argument("--phase1", type=float, default=0.229, help="share of the run after which layouts widen")
    parser.add_argument(
        "--phase2", type=float, default=0.229, help="share after which matching varies; phase 2 lasts until then"
    )
    parser.add_argument("--save-every", type=float, default=5, help="minutes between saves")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--threads", type=int, default=2)
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    train(args)


if __name__ == "__main__":
    main()
