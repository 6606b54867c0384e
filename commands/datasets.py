"""Commands for datasets: import and publish; influence and contamination, which need no store."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from commands.terminal import (
    DEFAULT_STORE,
    JsonOption,
    RecipeOption,
    StoreOption,
    announce,
    app,
    import_app,
    local,
    local_file,
    notes,
    open_store,
    print_rows,
    progress,
    recipe_of,
    require_selection,
    track,
)
from store.counts import counted
from store.errors import InputError

PANEL = "Datasets"
MAX_WITHOUT_TEXT = 0.05
"""Public instruction sets have far less than 1% of empty rows; a kind of rows that is stored in
another form, such as those of one source among several, is a larger share."""
ColumnsOption = Annotated[
    list[str] | None,
    typer.Option(help="Columns: problem=COLUMN,solution=COLUMN, messages=COLUMN or text=COLUMN. Default: by names."),
]

TurnsOption = Annotated[
    list[str] | None,
    typer.Option(
        help="Columns: problem=COLUMN,solution=COLUMN or messages=COLUMN, in the datasets that have them. Default: by names."
    ),
]


@import_app.command("teacher")
def import_teacher(
    file: Annotated[str, typer.Argument(help="JSONL or Parquet with snippet, problem, solution (and license).")],
    force: Annotated[
        bool, typer.Option("--force", help="Replace the samples that are there. What came from them is then stale.")
    ] = False,
    recipe: RecipeOption = None,
    store: StoreOption = DEFAULT_STORE,
    as_json: JsonOption = False,
) -> None:
    """Use existing (snippet, problem, solution) triples as teacher samples.

    The store needs its pool.

    Example:
    ```
    $ scoder import teacher triples.jsonl
    │ table           │ rows │ repeated │
    │ teacher_samples │    3 │        0 │
    ```
    """
    from builders import teacher_samples
    from builders.teacher import importing
    from store.lock import coordinator

    opened = open_store(store, force=force)
    with coordinator(opened.root):
        record = teacher_samples.import_file(opened, file, recipe_of(store, recipe).teacher)
    repeated = importing.repeated(file)
    if repeated:
        notes.print(
            f"{file}: {len(repeated):,} rows are left out: {importing.shown(repeated)}", markup=False, soft_wrap=True
        )
    print_rows([{"table": "teacher_samples", "rows": record.rows, "repeated": len(repeated)}], as_json)


@app.command(rich_help_panel=PANEL)
def publish(
    what: Annotated[str, typer.Argument(help="What to publish: instructions, selected, or any table.")],
    target: Annotated[str, typer.Argument(help="Folder to write. One that was published before is replaced.")],
    iteration: Annotated[int | None, typer.Option(help="With selected: the iteration.")] = None,
    name: Annotated[str, typer.Option(help="With selected: the name of the selection.")] = "default",
    store: StoreOption = DEFAULT_STORE,
    as_json: JsonOption = False,
) -> None:
    """Write a Hugging Face dataset folder that `datasets.load_dataset` reads.

    Example:
    ```
    $ scoder publish instructions my-instructions
    │ split │ rows │ folder          │
    │ train │   14 │ my-instructions │
    ```
    """
    from builders.publishing import folder, sets
    from store.files import check_output

    folder.check_target(target)
    check_output(target)
    opened = open_store(store)
    if what == "selected" and iteration is None:
        raise InputError(
            "a selection belongs to an iteration: give --iteration K (and --name NAME, unless it is the default one)"
        )
    if what == "instructions":
        opened.input("instructions")
        counts = sets.instructions(opened, recipe_of(store, None).name, target)
    elif iteration is not None and what == "selected":
        require_selection(opened.root, iteration, name)
        inputs = sets.selection_inputs(opened, iteration, name)
        prompt = recipe_of(store, None).synthesizer.prompt
        counts = sets.selected(opened, prompt, iteration, name, target, inputs=inputs)
    else:
        counts = sets.table(opened, what, target)
    print_rows([{"split": s, "rows": n, "folder": target} for s, n in counts.items()], as_json, "published")


@app.command(rich_help_panel=PANEL)
def influence(
    dataset: Annotated[
        str, typer.Argument(help="What to rank: a file, dataset folder or Hub id (PLACE[:CONFIG][@SPLIT]).")
    ],
    reference: Annotated[
        list[str],
        typer.Option(help="Reference set: DATASET or NAME=DATASET. Repeat for several: each gets its own columns."),
    ],
    model: Annotated[str, typer.Option(help="Base model: folder or Hub id.")],
    output: Annotated[
        str, typer.Option("-o", "--output", help="Parquet file to write.", callback=local_file)
    ] = "influence.parquet",
    adapter: Annotated[
        list[str] | None,
        typer.Option(
            help="LoRA folder, or the output of a training with all its checkpoints. Without one, an adapter is "
            "trained briefly on a part of the dataset."
        ),
    ] = None,
    learning_rate: Annotated[
        list[float] | None, typer.Option(help="Learning rate of each checkpoint, if its folder does not say it.")
    ] = None,
    gradients: Annotated[
        str | None, typer.Option(help="Folder that keeps the gradients. Default: OUTPUT.gradients.", callback=local)
    ] = None,
    set_: Annotated[
        list[str] | None,
        typer.Option(
            "--set", help="A setting: gradients.dimension=1024, gradients.optimizer_map=adam, warmup.share=0.1 …"
        ),
    ] = None,
    split: Annotated[str, typer.Option(help="Split of dataset folders and Hub datasets.")] = "train",
    revision: Annotated[str | None, typer.Option(help="Commit of a model from the Hub.")] = None,
    id_column: Annotated[
        str, typer.Option(help="Column with the ids of the rows. A row without an id gets a hash of its content.")
    ] = "id",
    columns: TurnsOption = None,
    group_by: Annotated[
        str | None, typer.Option(help="Column of the reference sets: there is an influence for each of its values.")
    ] = None,
    workers: Annotated[int | None, typer.Option(help="Processes. Default: one per GPU; one without a GPU.")] = None,
    as_json: JsonOption = False,
) -> None:
    """Rank any dataset by its influence on reference sets, without a store.

    Gradients are kept: those of the dataset are not computed again for another reference set.

    Example:
    ```
    $ scoder influence mine.jsonl --reference good.jsonl --model recipes/tiny-base -o ranked.parquet
    mine: 13 rows, 13 distinct texts
    …
    13 rows, 3 checkpoints: ranked.parquet, ranked.parquet.rejects.parquet
    ```
    """
    from builders.recipe.files import checked, override
    from builders.standalone import influence as dataset_influence
    from builders.standalone import influence_request
    from training.conversations import mapping

    fields = mapping(columns or [])
    report = dataset_influence.build(
        influence_request.Request(
            dataset=influence_request.named(dataset, split, id_column, columns=fields),
            references=[influence_request.named(given, split, id_column, group_by, fields) for given in reference],
            model=model,
            output=output,
            adapters=adapter or [],
            learning_rates=learning_rate or [],
            gradients=gradients,
            revision=revision,
            choices=checked(influence_request.Choices, override(influence_request.Choices().model_dump(), set_ or [])),
            workers=workers,
        ),
        announce,
        track,
    )
    rejects = [{"dataset": d, "reason": r, "rows": n} for (d, r), n in sorted(report.rejects.items())]
    if as_json:
        found = {"output": report.output, "rows": report.num_rows, "rejects": rejects, "datasets": report.datasets}
        print(json.dumps(found))
        return
    announce(
        f"{counted(report.num_rows, 'row')}, {counted(report.num_checkpoints, 'checkpoint')}: {report.output}, {report.output}.rejects.parquet"
    )
    if rejects:
        print_rows(rejects, as_json, "left out")


@app.command(rich_help_panel=PANEL)
def contamination(
    dataset: Annotated[
        str,
        typer.Argument(help="JSON(L), CSV, Parquet or Arrow file, dataset folder, or Hub id (PLACE[:CONFIG][@SPLIT])."),
    ],
    benchmarks: Annotated[
        list[str],
        typer.Option(help="Benchmark: [NAME=]FILE or [NAME=]HUB_ID[:CONFIG][@SPLIT]. More may follow it."),
    ],
    more: Annotated[list[str] | None, typer.Argument(metavar="[BENCHMARK]...", help="Further benchmarks.")] = None,
    output: Annotated[
        str | None, typer.Option("-o", "--output", help="Parquet file: one row per hit.", callback=local_file)
    ] = None,
    verdicts: Annotated[
        str | None, typer.Option(help="Parquet file: one row per row of the dataset.", callback=local_file)
    ] = None,
    text: Annotated[
        list[str] | None,
        typer.Option(help="Column with text; repeat for several. Default: found by the columns' names."),
    ] = None,
    columns: ColumnsOption = None,
    max_without_text: Annotated[
        float,
        typer.Option(min=0, max=1, help="Share of rows without text that is allowed. Above it the exit code is 1."),
    ] = MAX_WITHOUT_TEXT,
    set_: Annotated[
        list[str] | None, typer.Option("--set", help="A setting: decontamination.min_strength=0.6 …")
    ] = None,
    execute: Annotated[
        bool,
        typer.Option("--execute", help="Also run the dataset's functions on the benchmarks' tests, in the sandbox."),
    ] = False,
    workers: Annotated[int, typer.Option(min=1, help="Processes.")] = 1,
    as_json: JsonOption = False,
) -> None:
    """Check any dataset for leaked benchmark tasks, without a store.

    The exit code is 0 whether there are leaked tasks or not. It is 1 if too many rows had no text
    to look at.

    Example:
    ```
    $ scoder contamination mine.jsonl --benchmarks recipes/demo-benchmark.jsonl
    │ benchmark      │ detector │ rows with a hit │ rows with a verdict │
    │ demo-benchmark │ renamed  │               1 │                   1 │
    …
    1 of 2 rows are contaminated
    ```
    """
    from builders.benchmarks import named
    from builders.datasets.texts import in_order
    from builders.standalone import contamination as checking
    from training.conversations import mapping, may_have_input

    if text and columns:
        raise InputError("--text and --columns both name the columns: give one of them")
    fields = mapping(columns or [])
    request = checking.Request(
        dataset=named(dataset),
        benchmarks=[named(given) for given in [*benchmarks, *(more or [])]],
        settings=checking.settings(set_ or []),
        columns=text or in_order(fields),
        has_input=may_have_input(fields),
        hits=output,
        verdicts=verdicts,
        execute=execute,
        workers=workers,
    )
    with progress(checking.num_rows(request), "contamination") as advance:
        report = checking.check(request, advance)
    if as_json:
        print(json.dumps(report.as_dict()))
        report.require_text(max_without_text)
        return
    print_rows(report.rows(), as_json, f"{Path(dataset).name}: {', '.join(report.columns)}")
    for line in report.lines():
        announce(line)
    report.require_text(max_without_text)
