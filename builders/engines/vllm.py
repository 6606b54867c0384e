"""vLLM in one process, which is a replica. One engine serves all adapters of an iteration.

A prompt goes in as soon as an answer comes out, across the borders of shards. So the engine stays
full to the last request, and memory does not grow with the number of requests. The samples of one
adapter share the computation of their prefix (vLLM's cache is keyed by adapter). Every request has
its own seed, but vLLM does not promise the same bits when other requests are in the batch.
"""

import gc
import os
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from itertools import count
from typing import Any

from builders.engines.settings import INSTALL_VLLM, VllmSettings
from builders.engines.templates import Templates
from builders.engines.tokenizing import encode_choices, place_of, require_numbers
from builders.engines.types import (
    ChoiceCompletion,
    ChoiceRequest,
    Completion,
    Engine,
    EngineDiedError,
    Request,
)
from builders.engines.vllm_adapters import adapter_of_zeros, lora_options, require_usable
from store.errors import MissingLibraryError
from store.held_folders import temporary_folder
from training import pretrained
from training.chat_templates import Arguments

try:
    from vllm import LLM
    from vllm.lora.request import LoRARequest
    from vllm.platforms import current_platform
    from vllm.v1.engine.exceptions import EngineDeadError

    from builders.engines.vllm_answers import choice_completion, choice_params, completion, sampling_params
    from builders.engines.vllm_start import dtype, folder_of_sockets, num_cores, tokenizer_options
except ImportError as error:
    raise MissingLibraryError(
        f"engine 'vllm' needs vLLM, which cannot be imported ({error}): {INSTALL_VLLM}"
    ) from error

# Sequences that vLLM decodes at once on a GPU, as far as its cache has room for them; the others
# wait there. Its own default is 1,024 on an H100, H200 or B200 only, and 256 on an A100 and on
# smaller GPUs (0.32, `get_batch_defaults`), where bandwidth for many more is left over. On a CPU it
# stays at 256, as more only share the same few cores.
SEQUENCES = 1024
# More prompts than that, so that its scheduler never waits for ours.
PROMPTS_IN_FLIGHT = 1536
# Requests whose texts become token ids together.
TOKENIZED_TOGETHER = 64

# Prefixes are shared in whole blocks. vLLM's default on a CPU is 128 tokens: each question of a
# scorer would compute half a block again. Its kernels take multiples of 32. On GPUs it is 16.
CPU_BLOCK_TOKENS = 32

# vLLM keeps one CPU core for its scheduler. With two cores that is half of the computing power.
CORES_ALL_COMPUTE = 2


@dataclass
class _Waiting:
    """A request with unanswered prompts. `outputs` are vLLM's, in the order of the prompts."""

    request: Any
    num_prompt_tokens: int
    outputs: list[Any]
    num_open: int = field(init=False)

    def __post_init__(self) -> None:
        self.num_open = len(self.outputs)


@dataclass(frozen=True)
class _Prompt:
    """One prompt of a request, ready for vLLM."""

    waiting: _Waiting
    position: int
    token_ids: list[int]
    params: Any


class VllmEngine(Engine):
    """See the module. `adapters` maps names to local adapter folders."""

    def __init__(
        self,
        settings: VllmSettings,
        model: str,
        adapters: Mapping[str, str],
        revision: str | None,
        template_arguments: Arguments | None = None,
    ) -> None:
        self._folders: dict[str | None, str] = {None: model}
        self._folders.update(adapters)
        # Before vLLM starts, which takes long. It also keeps a template that does not end from it.
        self._templates = Templates(pretrained.read_tokenizer(model, revision), adapters, template_arguments)
        self._tokenizer = self._templates.adapted  # for all that no template decides
        require_usable(model, revision, adapters)
        self._max_model_tokens = settings.max_model_tokens
        self._adapters = {
            name: LoRARequest(name, number, path) for number, (name, path) in enumerate(adapters.items(), start=1)
        }
        self._names = map(str, count())
        self._nothing = None
        self._scratch = temporary_folder("vllm")
        self._sockets = folder_of_sockets(self._scratch)
        if adapters and current_platform.is_cpu():
            # vLLM's CPU kernels take "no adapter" (index -1) for the last one loaded (its pull
            # requests 48421 and 49656, open in July 2026). So the base answers through an adapter
            # of zeros.
            zeros = adapter_of_zeros(str(self._scratch.path / "zeros"), adapters)
            self._nothing = LoRARequest("none", len(adapters) + 1, zeros)
        if current_platform.is_cpu() and num_cores() <= CORES_ALL_COMPUTE:
            os.environ.setdefault("VLLM_CPU_NUM_OF_RESERVED_CPU", "0")
        with pretrained.without_own_code(model):
            self._llm: Any = LLM(
                model=model,
                revision=revision,
                trust_remote_code=False,
                dtype=dtype(settings),
                max_model_len=settings.max_model_tokens,
                gpu_memory_utilization=settings.gpu_memory_utilization,
                tensor_parallel_size=settings.tensor_parallel,
                enforce_eager=settings.enforce_eager,
                enable_prefix_caching=True,
                # raw: under the model at temperature 1, as every engine reports them
                logprobs_mode="raw_logprobs",
                # the model's own generation_config would change sampling behind the recipe's back
                generation_config="vllm",
                seed=0,
                **lora_options(adapters),
                **tokenizer_options(model, revision, self._tokenizer, self._scratch.path),
                **({"block_size": CPU_BLOCK_TOKENS} if current_platform.is_cpu() else {"max_num_seqs": SEQUENCES}),
            )

    def generate(self, requests: Iterable[Request]) -> Iterator[Completion]:
        for waiting in self._run(self._generation_prompts(requests)):
            if isinstance(waiting, Completion):
                yield waiting
                continue
            given = completion(self._templates.of(waiting.request.adapter), waiting.request, waiting.outputs[0])
            require_numbers([given.logprob], self._weights_of(waiting), given.request_id)
            yield given

    def choose(self, requests: Iterable[ChoiceRequest]) -> Iterator[ChoiceCompletion]:
        for waiting in self._run(self._choice_prompts(requests)):
            if isinstance(waiting, ChoiceCompletion):
                yield waiting
            else:
                tokenizer = self._templates.of(waiting.request.adapter)
                choice_ids = place_of(tokenizer, waiting.request.choices).token_ids
                given = choice_completion(waiting.request, choice_ids, waiting.num_prompt_tokens, waiting.outputs)
                sums = [sum(row) for row in given.probabilities or ()]
                require_numbers(sums, self._weights_of(waiting), given.request_id)
                yield given

    def close(self) -> None:
        if self._llm is None:
            return
        # The engine core is another process. It holds the GPU's memory until it is told to end.
        self._llm.llm_engine.engine_core.shutdown()
        self._llm = None
        for folder in {self._scratch, self._sockets}:
            folder.close()
        gc.collect()

    def _generation_prompts(self, requests: Iterable[Request | None]) -> Iterator[_Prompt | Completion | None]:
        for together in _together(requests, TOKENIZED_TOGETHER):
            if not together:
                yield None
                continue
            for request, ids in zip(together, self._templates.encoded(together), strict=True):
                if self._fits(len(ids) + request.max_tokens):
                    params = sampling_params(request, self._stop_ids(request.adapter))
                    yield _Prompt(_Waiting(request, len(ids), [None]), 0, ids, params)
                else:
                    yield Completion(request.request_id, "", "prompt_too_long", len(ids), 0, None)

    def _choice_prompts(self, requests: Iterable[ChoiceRequest | None]) -> Iterator[_Prompt | ChoiceCompletion | None]:
        for request in requests:
            if request is None:
                yield None
                continue
            tokenizer = self._templates.of(request.adapter)
            choice_ids = place_of(tokenizer, request.choices).token_ids
            questions = encode_choices(tokenizer, request.choices, request.questions)
            num_tokens = sum(map(len, questions))
            # One token is generated after each question.
            if not self._fits(max(map(len, questions)) + 1):
                yield ChoiceCompletion(request.request_id, None, num_tokens, "prompt_too_long")
                continue
            waiting = _Waiting(request, num_tokens, [None] * len(questions))
            for position, ids in enumerate(questions):
                yield _Prompt(waiting, position, ids, choice_params(choice_ids))

    def _weights_of(self, waiting: _Waiting) -> str:
        """The folder of the weights that answered, for an error.

        What is no number spreads in a batch: vLLM multiplies the numbers of other adapters by zero.
        """
        beside = " (or an adapter that was asked beside it)" if len(self._adapters) > 1 else ""
        return self._folders[waiting.request.adapter] + beside

    def _stop_ids(self, adapter: str | None) -> list[int]:
        """Where an answer ends, besides the end token of the tokenizer."""
        return sorted(self._templates.end_ids(adapter) - {self._tokenizer.eos_token_id})

    def _fits(self, num_tokens: int) -> bool:
        return num_tokens <= self._max_model_tokens

    def _run(self, prompts: Iterator[Any]) -> Iterator[Any]:
        """Each request when its last prompt is answered. What is not a prompt passes through.

        `prompts` says None when it has no more at the moment. It waits by itself where nothing is
        under way.
        """
        engine = self._llm.llm_engine
        in_flight: dict[str, _Prompt] = {}
        is_over = False
        try:
            while not is_over or in_flight:
                passing: list[Any] = []
                while not is_over and len(in_flight) + len(passing) < PROMPTS_IN_FLIGHT:
                    prompt = next(prompts, _OVER)
                    if prompt is None:
                        break
                    is_over = prompt is _OVER
                    if isinstance(prompt, _Prompt):
                        in_flight[self._add(engine, prompt)] = prompt
                    elif not is_over:
                        passing.append(prompt)
                yield from passing
                outputs = engine.step() if in_flight else ()
                self.steps += 1  # returns when the core, which is another process, has made a step
                for output in outputs:
                    if output.finished:
                        prompt = in_flight.pop(output.request_id)
                        waiting = prompt.waiting
                        waiting.outputs[prompt.position] = output
                        waiting.num_open -= 1
                        if not waiting.num_open:
                            yield waiting
        except EngineDeadError as error:
            in_flight.clear()
            raise EngineDiedError(f"a process of vLLM died: {error}") from error
        finally:
            # If the caller stops early, its prompts must not be answered in the next call.
            if in_flight and self._llm is not None:
                engine.abort_request(list(in_flight))

    def _add(self, engine: Any, prompt: _Prompt) -> str:
        adapter = prompt.waiting.request.adapter
        if adapter is not None and adapter not in self._adapters:
            raise ValueError(f"adapter {adapter!r} is unknown: the engine has {sorted(self._adapters)}")
        name = next(self._names)
        engine.add_request(
            name,
            {"prompt_token_ids": prompt.token_ids},
            prompt.params,
            lora_request=self._nothing if adapter is None else self._adapters[adapter],
        )
        return name


_OVER = object()
"""What follows the last prompt."""


def _together(requests: Iterable[Request | None], most: int) -> Iterator[list[Request]]:
    """Requests in lists of at most so many. A None ends a list; an empty list stands for a None."""
    held: list[Request] = []
    for request in requests:
        if request is not None:
            held.append(request)
        if request is None or len(held) == most:
            yield held
            held = []
    if held:
        yield held
