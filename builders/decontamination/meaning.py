"""Decontamination by meaning: a sentence-embedding model looks at weak hits once more.

    meaning = Meaning(settings.meaning, tasks)                    # once
    found = meaning.hits(detectors.hits(index, ids, texts), ids, texts)   # per batch

In: hits of the detectors, of any strength. Out: hits of the detector 'meaning', with the schema
HITS: for each item and task that they name, how near the item's words are to the task's statement.

    similarity   the cosine of the two, in four decimals
    strength     0.5 at `min_similarity`, in proportion below it and towards 1 above it

A model of sentences finds what two texts are about: of ordinary instructions, about a fifth are
near some task. So it decides only where another detector has seen the task too.

How: of code, its docstrings are read, of other texts their beginning, up to the first example. The
vectors are the means over the tokens' last hidden states, as sentence-transformers makes them
(N. Reimers, I. Gurevych, 2019). It takes a GPU where there is one.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import torch
from transformers import AutoModel, AutoTokenizer

from builders.decontamination.detectors import FLOOR, HITS, asked
from builders.recipe import MeaningModel
from training.errors import TrainingError, loading
from training.fingerprints import model_fingerprint
from training.pretrained import without_own_code
from training.progress import quiet

MAX_TOKENS = 128
"""Of a text. What is asked for stands at its beginning, and longer texts mean less per token."""

MAX_CHARS = 8 * MAX_TOKENS
BATCH_TEXTS = 64
EVIDENCE_CHARS = 200
_PAIR = ("item_id", "benchmark", "task_id")
VERSION = 1
"""Raise it when the same text gets another vector."""


def rules(settings: MeaningModel) -> dict[str, Any]:
    """What decides about hits, as plain values. It is part of the plan of a table of hits."""
    about = {"version": VERSION, "max_tokens": MAX_TOKENS, "min_similarity": settings.min_similarity}
    return about | {"model": model_fingerprint(settings.model, settings.revision)}


class Meaning:
    """See the module. `tasks` are rows of the table `benchmarks`, of one or more benchmarks.

    TrainingError for a model that cannot be loaded.
    """

    def __init__(self, settings: MeaningModel, tasks: Sequence[Mapping[str, Any]]) -> None:
        place, revision = settings.model, settings.revision
        with quiet(), loading(f"the model {place}"), without_own_code(place):
            self._tokenizer = AutoTokenizer.from_pretrained(place, revision=revision, trust_remote_code=False)
            model, about = AutoModel.from_pretrained(
                place, revision=revision, trust_remote_code=False, dtype=torch.float32, output_loading_info=True
            )
        # A pooler is behind the last hidden states, which are all that is read.
        if missing := sorted(name for name in about["missing_keys"] if not name.startswith("pooler.")):
            raise TrainingError(
                f"the model {place} is not whole: {len(missing)} of its weights are not there ({missing[0]}), so they "
                "would be random numbers. Copy the whole folder again."
            )
        self._model = model.eval().to("cuda" if torch.cuda.is_available() else "cpu")
        self._least = settings.min_similarity
        self._places = {(task["benchmark"], task["task_id"]): place for place, task in enumerate(tasks)}
        self._statements = self.vectors([asked(task["prompt"]) for task in tasks])

    @torch.inference_mode()
    def vectors(self, texts: Sequence[str]) -> np.ndarray:
        """float32 (texts, dimensions), each of length 1. An empty text has some vector, too."""
        order = sorted(range(len(texts)), key=lambda place: len(texts[place]))
        made: dict[int, np.ndarray] = {}
        for start in range(0, len(order), BATCH_TEXTS):
            places = order[start : start + BATCH_TEXTS]
            batch = self._tokenizer(
                [texts[place][:MAX_CHARS] for place in places],
                padding=True,
                truncation=True,
                max_length=MAX_TOKENS,
                return_tensors="pt",
            ).to(self._model.device)
            states = self._model(**batch).last_hidden_state
            mask = batch["attention_mask"].unsqueeze(-1)
            means = torch.nn.functional.normalize((states * mask).sum(1) / mask.sum(1).clamp(min=1), dim=1)
            made.update(zip(places, means.cpu().numpy(), strict=True))
        return np.stack([made[place] for place in range(len(texts))]) if texts else np.empty((0, 0), np.float32)

    def hits(self, found: pa.Table, item_ids: pa.Array, texts: pa.Array) -> pa.Table:
        """The hits of the items and tasks of `found`, in their order, from FLOOR on."""
        keys = zip(*(found[name].to_pylist() for name in _PAIR), strict=True)
        bits = dict(zip(keys, found["information"].to_pylist(), strict=True))
        items = list(dict.fromkeys(item for item, _, _ in bits))
        place_of = {item: place for place, item in enumerate(item_ids.to_pylist())}
        said = {item: asked(texts[place_of[item]].as_py() or "") for item in items}
        vectors = dict(zip(items, self.vectors(list(said.values())), strict=True))
        rows = []
        for (item, benchmark, task), information in bits.items():
            statement = self._statements[self._places[benchmark, task]]
            similarity = round(float(vectors[item] @ statement), 4)
            strength = self.strength(similarity)
            if strength >= FLOOR:
                evidence = " ".join(said[item][: 4 * EVIDENCE_CHARS].split())[:EVIDENCE_CHARS]
                rows.append((item, benchmark, task, "meaning", strength, similarity, information, evidence))
        return pa.Table.from_pylist([dict(zip(HITS.names, row, strict=True)) for row in rows], schema=HITS)

    def strength(self, similarity: float) -> float:
        """Strength 0..1 of a cosine."""
        if similarity < self._least:
            return max(0.0, 0.5 * similarity / self._least)
        return 0.5 + 0.5 * (similarity - self._least) / max(1 - self._least, 1e-9)
