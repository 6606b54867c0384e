"""The models that a recipe does not name, and the stages that cannot run without them.

In: a recipe. Out: which field each such stage lacks. A recipe that only makes a pool needs no
model, and one that ends with the dataset needs no coder.

    unnamed(recipe)    # {"scorer": "synthesizer.model", "coder": "coder.model"}
"""

from __future__ import annotations

from builders.recipe import Recipe
from store.errors import InputError


def unnamed(recipe: Recipe) -> dict[str, str]:
    """`{stage: field}`: the first stage that needs a model, and the field that does not name it.

    The stages after it need what it makes.
    """
    found: dict[str, str] = {}
    if recipe.synthesizer.model is None:
        found["scorer" if recipe.scorer.model is None else "bootstrap"] = "synthesizer.model"
    if recipe.coder.model is None:
        found["coder"] = "coder.model"
    return found


def check(recipe: Recipe, stages: list[str]) -> None:
    """InputError for stages of a run that need a model which the recipe does not name."""
    lacking = {stage: field for stage, field in unnamed(recipe).items() if stage in stages}
    if not lacking:
        return
    said = [f"{field} is not set, and the run needs it from stage {stage} on" for stage, field in lacking.items()]
    before = stages[stages.index(next(iter(lacking))) - 1]
    raise InputError(
        f"{'; '.join(said)}: set it to a model folder or a Hub id, or end the run before with --until {before}"
    )
