"""The loss on rows that were not trained on.

In: a model (a base, with an adapter or without) and a split of a dataset. Out: the negative
log-likelihood per completion token, averaged over samples. So a long answer has no more weight than
a short one.

    heldout_nll("base", "out/checkpoint-000012", "data").nll
"""

import math

import torch
from pydantic import BaseModel, ConfigDict, Field

from training import pretrained
from training.completion_loss import MEND, check_head, hidden_states, pad, sample_losses, weights_of
from training.errors import TrainingError
from training.examples import Reject, encode_rows, load_model, load_rows, load_tokenizer
from training.model_config import longest
from training.settings import DtypeName


class HeldoutReport(BaseModel):
    """What was measured, and on how much."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    nll: float = Field(description="mean over samples of the mean NLL per completion token, in nats")
    num_rows: int
    num_tokens: int = Field(description="completion tokens")
    losses: list[float] = Field(description="mean NLL per completion token of each row that was used, in their order")
    rejects: list[Reject]

    @property
    def num_rejected(self) -> int:
        return len(self.rejects)


@torch.no_grad()
def heldout_nll(
    base: str,
    adapter: str | None,
    dataset: str,
    split: str = "validation",
    max_tokens: int = 2048,
    dtype: DtypeName = "float32",
    *,
    batch_size: int = 16,
    revision: str | None = None,
    base_revision: str | None = None,
) -> HeldoutReport:
    """Measure the loss. ValueError if no row can be used."""
    rows = load_rows(dataset, split, revision, "a conversation in every row, the last turn the assistant's")
    tokenizer = load_tokenizer(base, adapter, base_revision)
    num_places = longest(pretrained.read_config(base, base_revision), max_tokens)
    examples, rejects = encode_rows(tokenizer, rows, num_places)
    model = load_model(base, adapter, dtype, base_revision).eval()
    check_head(model, weights_of(base, adapter))
    by_length = sorted(range(len(examples)), key=lambda place: examples[place].num_tokens)
    losses = [0.0] * len(examples)
    for start in range(0, len(by_length), batch_size):
        places = by_length[start : start + batch_size]
        batch = pad([examples[place] for place in places], tokenizer.pad_token_id, model.device)
        for place, loss in zip(places, sample_losses(model, hidden_states(model, batch), batch).tolist(), strict=True):
            losses[place] = loss
    if broken := [loss for loss in losses if not math.isfinite(loss)]:
        raise TrainingError(
            f"{weights_of(base, adapter)} gives {len(broken)} of {len(losses)} rows of {dataset} a loss that is no "
            f"number ({broken[0]}): {MEND}"
        )
    return HeldoutReport(
        nll=sum(losses) / len(losses),
        num_rows=len(examples),
        num_tokens=sum(len(example.completion_ids) for example in examples),
        losses=losses,
        rejects=rejects,
    )
