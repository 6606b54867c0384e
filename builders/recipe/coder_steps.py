"""The steps of a plan that train the coder on the instructions, and grade it.

In: a recipe. Out: one `Step` each.
"""

from __future__ import annotations

from builders.recipe import Recipe
from builders.recipe.step import Step, pair_tokens, short
from builders.recipe.work import Asking, Training


def coder(recipe: Recipe) -> Step:
    """The coder is trained on as many rows as are published, these at most, and on its mix."""
    settings, bounds = recipe.coder, [recipe.final.max_rows, recipe.final.max_snippets]
    published = min((bound for bound in bounds if bound is not None), default=None)
    mixed = [mix.max_rows for mix in settings.mix]
    is_known = published is not None and None not in mixed
    taught = (published or 0) + sum(rows or 0 for rows in mixed) if is_known else None
    each = min(pair_tokens(recipe), settings.training.max_tokens)
    tokens = None if taught is None else int(taught * each * settings.training.epochs)
    work = Training("coder.training", settings.base, settings.revision, settings.training, tokens)
    what = f"fine-tune {short(settings.base)} on the instructions{', these at most' if is_known else ''}"
    return Step("coder", what, taught, 0, tokens, work=work)


def evaluation(recipe: Recipe) -> Step:
    """The coder answers the benchmarks that it is graded on."""
    coder, settings = recipe.coder, recipe.evaluation
    tasks = ", ".join(b.name for b in recipe.benchmarks if b.evaluate) or "nothing"
    rank = coder.training.lora.r if coder.training.lora else 0
    work = Asking(
        "evaluation.engine",
        coder.base,
        coder.revision,
        settings.engine,
        int(rank > 0),
        rank,
        None,
        None,
        None,
        settings.max_tokens,
        "evaluation.max_tokens",
    )
    is_any = any(b.evaluate for b in recipe.benchmarks)
    num = None if is_any else 0
    return Step("evaluation", f"pass@1 on {tasks}", num, num, num, work=work if is_any else None)
