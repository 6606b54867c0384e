"""LoRA adapters for vLLM: checked before it gets their paths, and what it is told about them.

In: a base, and the folders of its adapters. Out: options for vLLM, or an error that names a folder
and what is wrong with it. vLLM reads an adapter when it is first asked for, in its own process, and
then ends all requests: so what it would refuse, or answer wrongly with, is refused here.

    require_usable("recipes/tiny-base", None, {"step-100": "checkpoints/step-100"})
    lora_options({"step-100": "checkpoints/step-100"})    # {"max_lora_rank": 8, …}

No weights are read: the names and shapes in the head of an adapter's file are compared with those
that PEFT gives a model of this configuration.
"""

import json
import re
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from store.errors import InputError, MissingError
from training import pretrained
from training.errors import TrainingError, loading

CONFIG, WEIGHTS = "adapter_config.json", "adapter_model.safetensors"
LARGEST_CONFIG_BYTES = 1 << 20

# vLLM takes these ranks only; an adapter of another rank is padded to the next.
LORA_RANKS = (8, 16, 32, 64, 128, 256, 320, 512)
ADAPTERS_IN_A_BATCH = 8

PLAIN_INITS = ("gaussian", "eva", "orthogonal", "mica", "lora_ga")
"""Names of `init_lora_weights` that leave the base as it is. With others, such as pissa, the base
is changed when PEFT loads the adapter."""
UNKNOWN_TO_VLLM = ("use_dora", "lora_bias", "modules_to_save", "alora_invocation_tokens", "layer_replication")
"""Settings of an adapter without which its weights mean something else."""


def require_usable(model: str, revision: str | None, adapters: Mapping[str, str]) -> None:
    """MissingError, InputError or TrainingError for an adapter that vLLM cannot use here."""
    for folder in adapters.values():
        _require_plain_lora(folder)
        _require_fit(model, revision, folder)


def _require_plain_lora(folder: str) -> None:
    config = _config(folder)
    rank, alpha = config.get("r"), config.get("lora_alpha")
    if config.get("peft_type") != "LORA":
        raise TrainingError(f"{folder} is an adapter of the kind {config.get('peft_type')}, and vLLM takes LoRA only")
    if not isinstance(rank, int) or not isinstance(alpha, int | float) or not 0 < rank <= LORA_RANKS[-1]:
        raise InputError(
            f"the adapter {folder} has r={rank!r} and lora_alpha={alpha!r}, but vLLM takes ranks from 1 to "
            f"{LORA_RANKS[-1]}: train with a smaller lora.r, or merge the adapter into the model"
        )
    _require_ranks(folder, config.get("rank_pattern") or {})
    init, bias = config.get("init_lora_weights", True), config.get("bias") or "none"
    others = [name for name in UNKNOWN_TO_VLLM if config.get(name)]
    others += [f"init_lora_weights {init!r}"] if isinstance(init, str) and init not in PLAIN_INITS else []
    others += [f"bias {bias!r}"] if bias != "none" else []
    if others:
        raise TrainingError(
            f"the adapter {folder} changes more than the products of linear layers ({', '.join(others)}), which vLLM does "
            "not do: use engine 'transformers', or convert it to an ordinary LoRA adapter (PEFT: save_pretrained with "
            "path_initial_model_for_weight_conversion)"
        )


def _require_ranks(folder: str, ranks: Any) -> None:
    """The ranks of single layers, which vLLM takes like that of all."""
    if not isinstance(ranks, dict) or not all(isinstance(r, int) and 0 < r <= LORA_RANKS[-1] for r in ranks.values()):
        raise InputError(
            f"the adapter {folder} has rank_pattern={ranks!r}, but vLLM takes ranks from 1 to {LORA_RANKS[-1]}: train with "
            "smaller ranks, or merge the adapter into the model"
        )


def _config(folder: str) -> dict[str, Any]:
    for name in (CONFIG, WEIGHTS):
        if not Path(folder, name).is_file():
            raise MissingError(f"no {name} in {folder!r}: give the folder of a saved LoRA adapter")
    size = Path(folder, CONFIG).stat().st_size
    if size > LARGEST_CONFIG_BYTES:
        raise TrainingError(f"{folder}/{CONFIG} has {size:,} bytes, and no adapter needs {LARGEST_CONFIG_BYTES:,}")
    try:
        config = json.loads(Path(folder, CONFIG).read_text(encoding="utf-8"))
    except ValueError as error:
        raise TrainingError(f"{folder}/{CONFIG} is no JSON ({error}): copy the folder again") from None
    if not isinstance(config, dict):
        raise TrainingError(f"{folder}/{CONFIG} is no object of JSON: copy the folder again")
    return config


def _require_fit(model: str, revision: str | None, folder: str) -> None:
    """TrainingError where a weight is missing, or has another shape than the base asks for."""
    wanted, there = _shapes_wanted(model, revision, folder), _shapes_there(folder)
    missing, unknown = sorted(wanted.keys() - there.keys()), sorted(there.keys() - wanted.keys())
    others = [f"{n} {there[n]} for {wanted[n]}" for n in sorted(wanted.keys() & there) if wanted[n] != there[n]]
    if missing or unknown or others:
        first = [f"{len(names)} {what} (such as {names[0]})" for names, what in (
            (missing, "weights are not there"), (unknown, "fit no layer"), (others, "have another shape")) if names]  # fmt: skip
        raise TrainingError(
            f"the adapter {folder} does not fit the model {model}: {', '.join(first)}. Give the base that it was trained "
            "over, or copy its folder again"
        )


def _shapes_wanted(model: str, revision: str | None, folder: str) -> dict[str, tuple[int, ...]]:
    """The shapes of an adapter's weights over this base, without any weights."""
    import torch
    from peft import PeftConfig, get_peft_model, get_peft_model_state_dict

    base = pretrained.read_shape(model, torch.float32, revision)
    try:
        with loading(f"the adapter {folder}"), torch.device("meta"):
            adapted = get_peft_model(base, PeftConfig.from_pretrained(folder))
            # embeddings that were saved beside the adapter are told by their names
            found = get_peft_model_state_dict(adapted, save_embedding_layers=False)
    except (TypeError, AttributeError, re.error) as error:  # fields of another type
        raise TrainingError(f"the adapter {folder} cannot be loaded: {error}") from error
    return {name: tuple(weight.shape) for name, weight in found.items()}


def _shapes_there(folder: str) -> dict[str, tuple[int, ...]]:
    from safetensors import safe_open

    with loading(f"the adapter {folder}"), safe_open(Path(folder, WEIGHTS), "pt") as file:
        return {name: tuple(file.get_slice(name).get_shape()) for name in file.keys()}  # noqa: SIM118 no dict


def lora_options(adapters: Mapping[str, str]) -> dict[str, Any]:
    """What vLLM is told when it starts about adapters that were checked."""
    if not adapters:
        return {}
    rank = max(_lora_rank(path) for path in adapters.values())
    return {
        "enable_lora": True,
        "max_lora_rank": next(allowed for allowed in LORA_RANKS if allowed >= rank),
        "max_loras": min(len(adapters), ADAPTERS_IN_A_BATCH),
        "max_cpu_loras": len(adapters) + 1,
    }


def _lora_rank(path: str) -> int:
    """The largest rank of an adapter that was checked."""
    config = json.loads(Path(path, CONFIG).read_text(encoding="utf-8"))
    return max([config["r"], *(config.get("rank_pattern") or {}).values()])


def adapter_of_zeros(folder: str, adapters: Mapping[str, str]) -> str:
    """A copy of the first adapter with zeros for weights; returns the folder."""
    import torch
    from safetensors.torch import load_file, save_file

    source = next(iter(adapters.values()))
    Path(folder).mkdir()
    shutil.copy(Path(source, "adapter_config.json"), folder)
    weights = load_file(Path(source, "adapter_model.safetensors"))
    save_file(
        {name: torch.zeros_like(weight) for name, weight in weights.items()}, Path(folder, "adapter_model.safetensors")
    )
    return folder
