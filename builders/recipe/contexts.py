"""Refuse, before any work, contexts in which a model can never do what a recipe asks of it.

In: a recipe, and the stages of a run. Out: nothing, or a SettingError with a line per field. It is
arithmetic over the recipe and the sizes of the models, and the same on every machine.

    check(recipe, ["bootstrap"])    # sampling.max_tokens is 5,000, but … holds 4,096 tokens

Three things never work. A model in vLLM has no places for so many tokens. An answer may be so long
that no prompt has room beside it. A row may be so short that the words of its prompt alone fill it.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from builders.engines import prompts
from builders.engines.settings import LocalSettings, VllmSettings
from builders.recipe import Recipe, estimate
from builders.recipe.model_shapes import model_shape
from builders.recipe.work import Asking, Gradients, Training, Work
from store.errors import SettingError


def check(recipe: Recipe, stages: Iterable[str]) -> None:
    """SettingError for tokens that can never fit: see the module."""
    wanted = set(stages)
    works = [step.work for step in estimate.plan(recipe) if step.work is not None and step.stage in wanted]
    said = dict.fromkeys(line for work in works for line in _problems(work))
    if said:
        raise SettingError("\n".join(said))


def least_tokens(prompt: str | None) -> int:
    """Tokens that a prompt has at least: one for each word of its template, and its text.

    Tokenizers cut a text at its spaces before all else, so no token holds two words.
    """
    if prompt is None:
        return 1
    return 1 + len(prompts.render(prompt, **dict.fromkeys(prompts.slots(prompt), " ")).split())


def _problems(work: Work) -> Iterator[str]:
    shape = model_shape(work.model, work.revision)
    places = None if shape is None else shape.positions
    if isinstance(work, Asking):
        yield from _of_engine(work, places)
    else:
        yield from _of_rows(work)


def _of_engine(work: Asking, places: int | None) -> Iterator[str]:
    """The transformers engine takes no more places than there are by itself; vLLM refuses them."""
    if not isinstance(work.engine, LocalSettings):
        return
    tokens, field = work.engine.max_model_tokens, f"{work.field}.max_model_tokens"
    if places is not None and tokens > places and isinstance(work.engine, VllmSettings):
        yield _no_places(field, tokens, work.model, places)
    context, least = min(tokens, places or tokens), least_tokens(work.prompt)
    if least + work.answer <= context:
        return
    if work.answer_field is None:
        yield (
            f"{field} is {tokens:,}, but the words of the prompt {work.prompt} alone take {least:,} tokens at least, and "
            f"nothing would be asked: set {field} to twice as many or more"
        )
        return
    yield (
        f"{work.answer_field} is {work.answer:,}, but {work.field} ({work.model}) holds {context:,} tokens of prompt and "
        f"answer together, and a prompt has {least:,} at least. So nothing would be asked: set "
        f"{work.answer_field}={max(1, context // 2)}, or a larger {field}"
    )


def _of_rows(work: Training | Gradients) -> Iterator[str]:
    """Rows may be shorter than the settings allow, so more tokens than places are no fault."""
    tokens, field, least = work.settings.max_tokens, f"{work.field}.max_tokens", least_tokens(work.prompt)
    if tokens <= least:
        yield (
            f"{field} is {tokens:,}, but the words of the prompt {work.prompt or ''} alone take {least:,} tokens at least. "
            f"Longer rows are rejected, so none would be left: set {field} to several times as many"
        )


def _no_places(field: str, tokens: int, model: str, places: int) -> str:
    return (
        f"{field} is {tokens:,}, but {model} has places for {places:,} tokens (max_position_embeddings of its "
        f"config.json): set {field}={places} or less"
    )
