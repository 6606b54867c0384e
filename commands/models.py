"""Commands for models, without a store: train and evaluate."""

from __future__ import annotations

from typing import Annotated

import typer

from commands.terminal import JsonOption, app, local, print_rows, train_app
from store.counts import counted

PANEL = "Models"


DatasetOption = Annotated[str, typer.Option(help="Published folder or Hub id.")]
BaseOption = Annotated[str, typer.Option(help="Base model: folder or Hub id.")]
OutputOption = Annotated[str, typer.Option(help="Checkpoint directory to write.", callback=local)]
SettingsOption = Annotated[list[str] | None, typer.Option("--set", help="A training setting: key=value, lora.r=8.")]


def _train(role: str, dataset: str, base: str, output: str, set_: list[str] | None, as_json: bool) -> None:
    from builders.checkpoints import trainer
    from builders.recipe.files import checked, override

    train, default = trainer(role)
    settings = checked(type(default), override(default.model_dump(), set_ or []))
    report = train(dataset, base, output, settings)
    rows = [{"folder": f"{output}/{c.folder}", "step": c.step, "loss": c.loss} for c in report.checkpoints]
    print_rows(rows, as_json, f"{role}: {counted(report.num_rows, 'row')}, {len(report.rejects)} left out")


@train_app.command("synthesizer")
def train_synthesizer(
    dataset: DatasetOption,
    base: BaseOption,
    output: OutputOption,
    set_: SettingsOption = None,
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
    _train("synthesizer", dataset, base, output, set_, as_json)


@train_app.command("scorer")
def train_scorer(
    dataset: DatasetOption,
    base: BaseOption,
    output: OutputOption,
    set_: SettingsOption = None,
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
    _train("scorer", dataset, base, output, set_, as_json)


@train_app.command("coder")
def train_coder(
    dataset: DatasetOption,
    base: BaseOption,
    output: OutputOption,
    set_: SettingsOption = None,
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
    _train("coder", dataset, base, output, set_, as_json)


@app.command(rich_help_panel=PANEL)
def evaluate(
    model: Annotated[str, typer.Argument(help="Model folder or Hub id.")],
    benchmarks: Annotated[list[str], typer.Option(help="Benchmark file; repeat for several.")],
    adapter: Annotated[str | None, typer.Option(help="LoRA folder of an adapter of the model.")] = None,
    samples: Annotated[int, typer.Option(help="Samples per task.")] = 1,
    temperature: Annotated[float, typer.Option(help="Temperature; with 0 the likeliest token is taken.")] = 0.0,
    max_tokens: Annotated[int, typer.Option(help="Largest number of tokens per sample.")] = 512,
    engine: Annotated[str, typer.Option(help="What runs the model: transformers, vllm or openai.")] = "transformers",
    base_url: Annotated[str | None, typer.Option(help="With openai: address of the server.")] = None,
    set_: Annotated[
        list[str] | None,
        typer.Option(
            "--set",
            help="Set a field as in the recipe's section evaluation: engine.dtype=bfloat16, engine.tensor_parallel=2 …",
        ),
    ] = None,
    is_base: Annotated[
        bool, typer.Option("--base-model", help="The model knows no chat: let it continue the bare prompt.")
    ] = False,
    as_json: JsonOption = False,
) -> None:
    """Measure pass@k of a model on benchmark files. Generated code runs only in the sandbox.

    Example:
    ```
    $ scoder evaluate recipes/tiny-base --benchmarks recipes/demo-benchmark.jsonl --base-model
    │ benchmark                    │ tasks │ pass@1 │
    │ recipes/demo-benchmark.jsonl │    16 │  0.125 │
    ```
    """
    from builders import evaluations
    from builders.harness.files import read_tasks
    from builders.harness.statistics import pass_rates
    from builders.recipe import Evaluation, files

    given = {
        "engine": {"engine": engine} | ({"base_url": base_url} if base_url else {}),
        "num_samples": samples,
        "temperature": temperature,
        "max_tokens": max_tokens,
    }
    settings = files.checked(Evaluation, files.override(given, set_ or []))
    rows = []
    for path in benchmarks:
        graded = evaluations.evaluate(model, list(read_tasks(path)), settings, adapter, seed=0, is_base=is_base)
        rows.append({"benchmark": path, **pass_rates(graded, settings.num_samples)})
    print_rows(rows, as_json, model)
