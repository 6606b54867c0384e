"""The tables of settings in `docs/guide.md`, made from the settings themselves.

In: a page with places such as `<!-- generated: pool -->` … `<!-- end -->`. Out: the page with these
places filled, one per section of a recipe. A test fails when the guide is stale.

    python -m builders.recipe.reference docs/guide.md    # fills the page in place
"""

from __future__ import annotations

import re
import sys
from pathlib import Path
from types import NoneType, UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from pydantic import BaseModel
from pydantic.fields import FieldInfo
from pydantic_core import PydanticUndefined

from builders.engines.any_engine import AnyEngine
from builders.engines.settings import ENGINES
from builders.recipe import GpuTasks, Grading, MeaningModel, Mix, Recipe
from store.errors import InputError
from training.settings import GradientSettings, LoraSettings, SftSettings

PLACE = re.compile(r"<!-- generated: (\S+) -->\n.*?<!-- end -->", re.DOTALL)
SHARED: dict[str, type[BaseModel]] = {
    **{f"engine-{name}": settings for name, settings in ENGINES.items()},
    "training": SftSettings,
    "lora": LoraSettings,
    "gradients": GradientSettings,
    "grading": Grading,
    "gpu": GpuTasks,
    "mix": Mix,
    "meaning": MeaningModel,
}
"""Blocks that stand inside sections; a table names them instead of repeating them."""
WORDS = {str: "text", int: "whole number", float: "number", bool: "true or false", NoneType: "null"}
BOUNDS = {"ge": "≥", "gt": ">", "le": "≤", "lt": "<"}


def sections() -> dict[str, type[BaseModel]]:
    """Every section of a recipe by its key; `run` are the keys that stand in no section."""
    found: dict[str, type[BaseModel]] = {"run": Recipe}
    for name, field in Recipe.model_fields.items():
        if models := _models(field.annotation):
            found[name] = models[0]
    return found | SHARED


def filled(page: str) -> str:
    """The page with all its generated places filled; an unknown section is an InputError."""
    known = sections()

    def table(place: re.Match[str]) -> str:
        name = place.group(1)
        if name not in known:
            raise InputError(f"no section {name!r} of a recipe; there are {', '.join(known)}")
        return f"<!-- generated: {name} -->\n{markdown(name, known[name])}\n<!-- end -->"

    return PLACE.sub(table, page)


def markdown(name: str, model: type[BaseModel]) -> str:
    """The settings of one section as a table."""
    fields = [(key, f) for key, f in model.model_fields.items() if name != "run" or not _models(f.annotation)]
    if name.startswith("engine-"):
        fields.sort(key=lambda entry: entry[0] != "engine")
    rows = [f"| `{key}` | {_type(field)} | {_default(field)} | {_text(field)} |" for key, field in fields]
    return "\n".join(["| setting | value | default | meaning |", "|---|---|---|---|", *rows])


def _models(annotation: Any) -> list[type[BaseModel]]:
    """The settings classes in an annotation such as `tuple[Source, ...]`."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return [annotation]
    return [model for argument in get_args(annotation) for model in _models(argument)]


def _type(field: FieldInfo) -> str:
    bounds = [
        f"{sign} {getattr(m, name):g}" for m in field.metadata for name, sign in BOUNDS.items() if hasattr(m, name)
    ]
    return ", ".join([_kind(field.annotation), *bounds])


def _kind(annotation: Any) -> str:
    """A type in words."""
    origin, arguments = get_origin(annotation), get_args(annotation)
    if annotation in WORDS:
        return WORDS[annotation]
    if origin is Annotated:
        return _kind(arguments[0])
    if origin is Literal:
        return ", ".join(f"`{value}`" for value in arguments)
    if origin in (Union, UnionType):
        return " or ".join(dict.fromkeys(_kind(argument) for argument in arguments))
    if origin in (tuple, list):
        return f"list of {_kind(arguments[0])}"
    if origin is dict:
        return f"mapping of {_kind(arguments[0])} to {_kind(arguments[1])}"
    if isinstance(annotation, type) and issubclass(annotation, AnyEngine):
        return "block [engine](#engine)"
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        named = next(name for name, model in SHARED.items() if model is annotation)
        return f"block [{named}](#{named})"
    return getattr(annotation, "__name__", str(annotation))


def _default(field: FieldInfo) -> str:
    if field.is_required():
        return "required"
    value = field.get_default(call_default_factory=True)
    if value is PydanticUndefined or isinstance(value, BaseModel):
        return "its own"
    return f"`{_yaml(value)}`"


def _yaml(value: Any) -> str:
    """A default as it stands in a recipe, on one line."""
    if value is None or isinstance(value, bool):
        return {None: "null", True: "true", False: "false"}[value]
    if isinstance(value, tuple | list):
        return f"[{', '.join(map(_yaml, value))}]"
    return (str(value) or "''").replace("|", r"\|")


def _text(field: FieldInfo) -> str:
    return (field.description or "").replace("|", r"\|")


if __name__ == "__main__":
    for given in sys.argv[1:]:
        Path(given).write_text(filled(Path(given).read_text()))
