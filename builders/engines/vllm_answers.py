"""Requests as vLLM takes them, and its outputs as answers.

In: a request. Out: vLLM's sampling parameters. In: vLLM's output. Out: a completion.
"""

from collections.abc import Sequence
from math import exp
from typing import Any

from vllm import SamplingParams
from vllm.sampling_params import RequestOutputKind

from builders.engines.tokenizing import answer_of
from builders.engines.types import ChoiceCompletion, ChoiceRequest, Completion, FinishReason, Request


def sampling_params(request: Request, stop_ids: Sequence[int]) -> Any:
    """How vLLM is to sample a request."""
    return SamplingParams(
        max_tokens=request.max_tokens,
        temperature=request.temperature,
        top_p=request.top_p,
        seed=request.seed,
        stop=list(request.stop) or None,
        # besides the eos of the tokenizer and those of the model's generation config
        stop_token_ids=list(stop_ids),
        # 0 asks for that of the sampled token only. Raw logprobs are before temperature and
        # nucleus.
        logprobs=0,
        output_kind=RequestOutputKind.FINAL_ONLY,
    )


def choice_params(choice_ids: Sequence[int]) -> Any:
    """How vLLM is to answer a question whose answer is one token."""
    return SamplingParams(
        max_tokens=1,
        temperature=0.0,
        # `logprobs` gives the twenty most likely tokens, and a choice may not be among them
        logprob_token_ids=list(choice_ids),
        detokenize=False,
        output_kind=RequestOutputKind.FINAL_ONLY,
    )


def completion(tokenizer: Any, request: Request, output: Any) -> Completion:
    """What vLLM says to a request."""
    answer, num_prompt_tokens = output.outputs[0], len(output.prompt_token_ids)
    reason: FinishReason = answer.finish_reason if answer.finish_reason in ("stop", "length") else "error"
    error = f"vLLM ended the request with {answer.finish_reason!r}" if reason == "error" else None
    num_tokens = len(answer.token_ids)
    return Completion(
        request.request_id,
        # vLLM's own detokenizer begins with tokens of the prompt, as `decode` does
        answer_of(tokenizer, answer.text, request),
        reason,
        num_prompt_tokens,
        num_tokens,
        answer.cumulative_logprob,
        error,
    )


def choice_completion(
    request: ChoiceRequest, choice_ids: Sequence[int], num_tokens: int, outputs: list[Any]
) -> ChoiceCompletion:
    """What vLLM says to the questions of a request, in their order."""
    rows, sums = [], []
    for output in outputs:
        positions = output.outputs[0].logprobs
        if not positions or any(token_id not in positions[0] for token_id in choice_ids):
            error = f"vLLM gave no logprobs of the choices (finish reason {output.outputs[0].finish_reason!r})"
            return ChoiceCompletion(request.request_id, None, num_tokens, "error", error)
        logprobs = [positions[0][token_id].logprob for token_id in choice_ids]
        masses = [exp(logprob - max(logprobs)) for logprob in logprobs]
        rows.append(tuple(mass / sum(masses) for mass in masses))
        # raw logprobs are over all tokens
        sums.append(min(1.0, sum(map(exp, logprobs))))
    return ChoiceCompletion(request.request_id, tuple(rows), num_tokens, "stop", masses=tuple(sums))
