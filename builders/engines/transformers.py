"""The transformers engine: a Hugging Face causal language model in one process, on CPU or GPU.

The same list of requests gives the same bits again, in float32 on the same machine, with the same
number of threads and the same micro-batch size. For that, rows are grouped by the requests alone,
and each row draws from a generator with the seed of its own request. The sampling loop is our own,
because `generate` of transformers takes no random generator.

Shapes: B rows, T tokens so far, V vocabulary entries, Q questions, S tokens of a suffix, C choices.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import islice
from typing import Any

import torch
from torch import Tensor
from transformers import DynamicCache

from builders.engines import grouped_attention
from builders.engines.lora_adapters import LoraAdapters
from builders.engines.sampling import sample
from builders.engines.settings import TransformersSettings
from builders.engines.templates import Templates
from builders.engines.tokenizing import (
    MOST_BEFORE,
    answer_of,
    common_prefix_length,
    decode,
    encode_choices,
    first_stop,
    place_of,
    require_numbers,
)
from builders.engines.types import ChoiceCompletion, ChoiceRequest, Completion, Engine, FinishReason, Request
from training import pretrained
from training.chat_templates import Arguments
from training.model_config import longest
from training.precision import torch_dtype


@dataclass
class _Row:
    """A request under way."""

    request: Request
    prompt_ids: list[int]
    token_ids: list[int] = field(default_factory=list)
    logprob: float = 0.0
    finish_reason: FinishReason | None = None


@dataclass(frozen=True)
class _Draws:
    """What each row samples with.

    `uniforms` (B, max tokens) holds a random number for every token that a row may ever take.
    """

    temperatures: Tensor
    top_ps: Tensor
    uniforms: Tensor

    def select(self, index: Tensor) -> "_Draws":
        return _Draws(self.temperatures[index], self.top_ps[index], self.uniforms[index])


class TransformersEngine(Engine):
    """See the module. `adapters` maps names to adapter folders."""

    def __init__(
        self,
        settings: TransformersSettings,
        model: str,
        adapters: Mapping[str, str],
        revision: str | None,
        template_arguments: Arguments | None = None,
    ) -> None:
        # put back on close: later results must not depend on whether this engine was opened here
        self._threads_before = torch.get_num_threads()
        if settings.num_threads is not None:
            torch.set_num_threads(settings.num_threads)
        self._micro_batch = settings.micro_batch
        # Requests are sorted by length within so many. That saves padding in little memory.
        self._window = settings.rows_per_shard
        self._device = "cuda" if torch.cuda.is_available() else "cpu"
        self._folders: dict[str | None, str] = {None: model}
        self._folders.update(adapters)
        self._templates = Templates(pretrained.read_tokenizer(model, revision), adapters, template_arguments)
        self._tokenizer = self._templates.adapted  # for all that no template decides
        dtype = torch_dtype(settings.dtype, "engine")
        loaded = pretrained.read_model(model, dtype, revision)
        self._config = loaded.config
        self._eos_ids = _eos_ids(self._tokenizer, loaded.generation_config)
        self._max_model_tokens = longest(self._config, settings.max_model_tokens)
        grouped_attention.use(loaded)
        self._count_steps(loaded)
        self._adapters = LoraAdapters(loaded, adapters, self._device)

    def generate(self, requests: Iterable[Request]) -> Iterator[Completion]:
        stream = iter(requests)
        while window := list(islice(stream, self._window)):
            self._adapters.check({request.adapter for request in window})
            token_ids = self._templates.encoded(window)
            rows = [_Row(request, ids) for request, ids in zip(window, token_ids, strict=True)]
            fitting = [row for row in rows if self._fits(len(row.prompt_ids) + row.request.max_tokens)]
            for row in rows:
                if not self._fits(len(row.prompt_ids) + row.request.max_tokens):
                    yield Completion(row.request.request_id, "", "prompt_too_long", len(row.prompt_ids), 0, None)
            for batch in _micro_batches(fitting, self._micro_batch):
                with self._adapters.selected(batch[0].request.adapter) as model:
                    self._decode_batch(model, batch)
                yield from (self._completion(row) for row in batch)

    def choose(self, requests: Iterable[ChoiceRequest]) -> Iterator[ChoiceCompletion]:
        for request in requests:
            self._adapters.check({request.adapter})
            tokenizer = self._templates.of(request.adapter)
            choice_ids = place_of(tokenizer, request.choices).token_ids
            question_ids = encode_choices(tokenizer, request.choices, request.questions)
            num_tokens = sum(len(ids) for ids in question_ids)
            if not self._fits(max(len(ids) for ids in question_ids)):
                yield ChoiceCompletion(request.request_id, None, num_tokens, "prompt_too_long")
                continue
            with self._adapters.selected(request.adapter) as model:
                probs_QC, mass_Q = self._choice_probabilities(model, question_ids, choice_ids)
            require_numbers(
                [float(probs_QC.sum()), float(mass_Q.sum())], self._folders[request.adapter], request.request_id
            )
            probs, masses = tuple(map(tuple, probs_QC.tolist())), tuple(mass_Q.tolist())
            yield ChoiceCompletion(request.request_id, probs, num_tokens, "stop", masses=masses)

    def close(self) -> None:
        self._adapters.close()
        torch.set_num_threads(self._threads_before)
        if self._device == "cuda":
            torch.cuda.empty_cache()

    def _count_steps(self, model: torch.nn.Module) -> None:
        """Each layer that is computed is a step: on a slow machine a whole pass takes minutes."""

        def count(*_: Any) -> None:
            self.steps += 1

        for module in model.modules():
            if isinstance(module, torch.nn.Linear):
                module.register_forward_pre_hook(count)

    def _fits(self, num_tokens: int) -> bool:
        return num_tokens <= self._max_model_tokens

    @torch.inference_mode()
    def _decode_batch(self, model: Any, rows: list[_Row]) -> None:
        """Generate until every row has finished."""
        ids_BT, mask_BT = self._padded([row.prompt_ids for row in rows], left=True)
        position_BT = (mask_BT.cumsum(dim=-1) - 1).clamp(min=0)
        cache = DynamicCache(config=self._config)
        logits_BV = self._forward(model, ids_BT, mask_BT, position_BT, cache)[:, -1]
        position_B1 = position_BT[:, -1:]
        draws = _draws([row.request for row in rows], self._device)
        for step in range(draws.uniforms.shape[1]):
            token_B, logprob_B = sample(logits_BV, draws.temperatures, draws.top_ps, draws.uniforms[:, step])
            for row, token, logprob in zip(rows, token_B.tolist(), logprob_B.tolist(), strict=True):
                self._take(row, token, logprob)
            going = [i for i, row in enumerate(rows) if row.finish_reason is None]
            if not going:
                return
            # Dropping rows copies the whole cache, so finished rows are dropped only when they are
            # half.
            if 2 * len(going) <= len(rows):
                index = torch.tensor(going, device=self._device)
                cache.batch_select_indices(index)
                rows, draws = [rows[i] for i in going], draws.select(index)
                mask_BT, position_B1, token_B = mask_BT[index], position_B1[index], token_B[index]
            mask_BT = torch.cat([mask_BT, mask_BT.new_ones(len(rows), 1)], dim=1)
            # A finished row that is still carried may pass the last position. Nobody reads its
            # logits.
            position_B1 = (position_B1 + 1).clamp(max=self._max_model_tokens - 1)
            logits_BV = self._forward(model, token_B.unsqueeze(1), mask_BT, position_B1, cache)[:, -1]

    def _take(self, row: _Row, token: int, logprob: float) -> None:
        if row.finish_reason is not None:
            return
        require_numbers([logprob], self._folders[row.request.adapter], row.request.request_id)
        row.token_ids.append(token)
        row.logprob += logprob
        if self._is_end(row, token) or self._ends_in_stop(row):
            row.finish_reason = "stop"
        elif len(row.token_ids) == row.request.max_tokens:
            row.finish_reason = "length"

    def _is_end(self, row: _Row, token: int) -> bool:
        return token in self._eos_ids or token in self._templates.end_ids(row.request.adapter)

    def _ends_in_stop(self, row: _Row) -> bool:
        if not row.request.stop:
            return False
        # A token holds at least one byte. Four more, as the cut may break a character.
        num_tokens = max(len(string.encode()) for string in row.request.stop) + 4
        before = [*row.prompt_ids[-MOST_BEFORE:], *row.token_ids[:-num_tokens]][-MOST_BEFORE:]
        text = decode(self._tokenizer, row.token_ids[-num_tokens:], before)
        return first_stop(text, row.request.stop) is not None

    def _completion(self, row: _Row) -> Completion:
        text, finish_reason = decode(self._tokenizer, row.token_ids, row.prompt_ids), row.finish_reason
        assert finish_reason is not None, f"request {row.request.request_id!r} has not finished"
        if (cut := first_stop(text, row.request.stop)) is not None:
            text, finish_reason = text[:cut], "stop"
        text = answer_of(self._templates.of(row.request.adapter), text, row.request)
        num_tokens = (len(row.prompt_ids), len(row.token_ids))
        return Completion(row.request.request_id, text, finish_reason, *num_tokens, row.logprob)

    @torch.inference_mode()
    def _choice_probabilities(
        self, model: Any, question_ids: list[list[int]], choice_ids: Sequence[int]
    ) -> tuple[Tensor, Tensor]:
        """The probabilities of the choices (Q, C), and the mass of all of them together (Q,).

        The shared prefix is computed once, then the suffixes as one batch, padded on the right.
        """
        prefix = common_prefix_length(question_ids)
        cache = DynamicCache(config=self._config)
        if prefix:
            ids_1T, mask_1T = self._padded([question_ids[0][:prefix]], left=False)
            self._forward(model, ids_1T, mask_1T, mask_1T.cumsum(dim=-1) - 1, cache)
            cache.batch_repeat_interleave(len(question_ids))
        suffix_QS, suffix_mask_QS = self._padded([ids[prefix:] for ids in question_ids], left=False)
        mask_QT = torch.cat([suffix_mask_QS.new_ones(len(question_ids), prefix), suffix_mask_QS], dim=1)
        position_QS = torch.arange(suffix_QS.shape[1], device=self._device).expand_as(suffix_QS) + prefix
        last_Q = suffix_mask_QS.sum(dim=-1) - 1
        # All logits of a suffix would be S x V floats a question, so only the last ones are
        # computed.
        kept, kept_Q = last_Q.unique(return_inverse=True)
        logits_QKV = self._forward(model, suffix_QS, mask_QT, position_QS, cache, keep=kept)
        logits_QV = logits_QKV[torch.arange(len(question_ids), device=self._device), kept_Q]
        chosen_QC = logits_QV[:, list(choice_ids)].double()
        mass_Q = (chosen_QC.logsumexp(dim=-1) - logits_QV.double().logsumexp(dim=-1)).exp().clamp(max=1.0)
        return torch.softmax(chosen_QC, dim=-1), mass_Q

    def _forward(
        self,
        model: Any,
        ids_BT: Tensor,
        mask_BT: Tensor,
        position_BT: Tensor,
        cache: DynamicCache,
        keep: int | Tensor = 1,
    ) -> Tensor:
        return model(
            input_ids=ids_BT,
            attention_mask=mask_BT,
            position_ids=position_BT,
            past_key_values=cache,
            use_cache=True,
            logits_to_keep=keep,
        ).logits

    def _padded(self, sequences: Sequence[list[int]], left: bool) -> tuple[Tensor, Tensor]:
        """Ids and mask, both (B, T). Which token pads does not matter, as it is masked."""
        width = max(len(ids) for ids in sequences)
        padding = [[0] * (width - len(ids)) for ids in sequences]
        masks = [[1] * len(ids) for ids in sequences]
        pairs = list(zip(sequences, masks, padding, strict=True))
        ids_BT = [pad + ids if left else ids + pad for ids, _, pad in pairs]
        mask_BT = [pad + mask if left else mask + pad for _, mask, pad in pairs]
        return torch.tensor(ids_BT, device=self._device), torch.tensor(mask_BT, device=self._device)


def _eos_ids(tokenizer: Any, generation_config: Any) -> frozenset[int]:
    """Chat models often end a turn with a token that only the generation config names."""
    listed = getattr(generation_config, "eos_token_id", None)
    listed = listed if isinstance(listed, list) else [listed]
    return frozenset(token_id for token_id in [tokenizer.eos_token_id, *listed] if token_id is not None)


def _micro_batches(rows: list[_Row], size: int) -> Iterator[list[_Row]]:
    """Batches of rows of similar length, each with one adapter."""
    ordered = sorted(rows, key=lambda row: (row.request.adapter or "", len(row.prompt_ids), row.request.request_id))
    batch: list[_Row] = []
    for row in ordered:
        if batch and (len(batch) == size or row.request.adapter != batch[0].request.adapter):
            yield batch
            batch = []
        batch.append(row)
    if batch:
        yield batch


def _draws(requests: Sequence[Request], device: str) -> _Draws:
    num_steps = max(request.max_tokens for request in requests)
    uniform_BT = torch.zeros(len(requests), num_steps, dtype=torch.float64)
    for row, request in enumerate(requests):
        generator = torch.Generator().manual_seed(request.seed)
        uniform_BT[row, : request.max_tokens] = torch.rand(request.max_tokens, generator=generator, dtype=torch.float64)
    temperature_B = torch.tensor([request.temperature for request in requests])
    top_p_B = torch.tensor([request.top_p for request in requests])
    return _Draws(temperature_B.to(device), top_p_B.to(device), uniform_BT.to(device))
