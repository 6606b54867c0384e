"""The short LoRA training that a model without an adapter gets before its gradients are taken.

In: conversations, their ids, a base model, an empty folder. Out: checkpoints of an adapter with
their learning rates. LESS does the same: it trains on a random 5 % of the candidates for four
epochs and keeps a checkpoint of each (Xia et al. 2024, section 4.1).
"""

import hashlib
import json
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from training.chat_templates import Arguments
from training.errors import TrainingError
from training.settings import WarmupSettings

# The report that a training by this project writes.
REPORT = "training.json"


@dataclass(frozen=True)
class Checkpoint:
    """An adapter and its learning rate, which is its weight. The rate is None where it is not
    known.
    """

    folder: str
    learning_rate: float | None


def sample(ids: Iterable[str], settings: WarmupSettings) -> list[str]:
    """The ids of the sample: a share of all, and at least `settings.min_rows`.

    A hash with the seed chooses them, so the order of the rows does not matter.
    """
    ordered = sorted(set(ids), key=lambda name: hashlib.sha256(f"{settings.training.seed} {name}".encode()).digest())
    return ordered[: max(settings.min_rows, math.ceil(settings.share * len(ordered)))]


def warm_up(
    conversations: Sequence[Sequence[dict[str, str]]],
    base: str,
    folder: Path,
    settings: WarmupSettings,
    revision: str | None = None,
    template_arguments: Arguments | None = None,
) -> list[Checkpoint]:
    """Train, or find the same training finished in the folder. By default one checkpoint per epoch.

    ValueError if no conversation can be trained on.
    """
    # imported here: it loads transformers and TRL, seconds that a second ranking does not need
    from training import launch

    training = settings.training
    rows_per_step = training.batch_size * training.gradient_accumulation
    num_steps = math.ceil(training.epochs * len(conversations) / rows_per_step)
    kept = min(training.num_checkpoints, max(1, num_steps // 2))
    data = folder / "sample"
    data.mkdir(parents=True, exist_ok=True)
    pq.write_table(pa.table({"messages": [list(turns) for turns in conversations]}), data / "train.parquet")
    kept_settings = training.model_copy(update={"num_checkpoints": kept})
    launch.train(
        str(data),
        base,
        str(folder / "run"),
        kept_settings,
        base_revision=revision,
        template_arguments=template_arguments,
    )
    return saved(str(folder / "run"))


def saved(adapter: str) -> list[Checkpoint]:
    """The checkpoints of a folder: all those of a training's output, or the one adapter that it is.

    Learning rates come from this project's `training.json`, or from the `trainer_state.json` of a
    Hugging Face trainer.
    """
    folder = Path(adapter)
    if not folder.is_dir():
        return [Checkpoint(adapter, None)]
    if (folder / REPORT).is_file():
        report = json.loads((folder / REPORT).read_text(encoding="utf-8"))
        return [Checkpoint(str(folder / c["folder"]), float(c["learning_rate"])) for c in report["checkpoints"]]
    if not (folder / "adapter_config.json").is_file():
        raise TrainingError(
            f"{adapter} is no adapter: it has neither adapter_config.json nor {REPORT}. Give the folder of an adapter, "
            "or the output of a training."
        )
    if (folder.parent / REPORT).is_file():
        around = saved(str(folder.parent))
        return [c for c in around if Path(c.folder).name == folder.name] or [Checkpoint(adapter, None)]
    return [Checkpoint(adapter, _trainer_rate(folder / "trainer_state.json"))]


def _trainer_rate(state: Path) -> float | None:
    """Mean logged learning rate of the last epoch before the checkpoint. LESS weighs it by this."""
    if not state.is_file():
        return None
    found = json.loads(state.read_text(encoding="utf-8"))
    logged = [entry for entry in found.get("log_history", []) if "learning_rate" in entry]
    last = [e["learning_rate"] for e in logged if e.get("epoch", 0) > found.get("epoch", 0) - 1]
    return sum(last) / len(last) if last else None
