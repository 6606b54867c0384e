"""The command line: a skin over `scoder.py`, the builders and the queries.

Exit codes: 0 done, 1 the job failed, 2 bad usage or input. A user's mistake gets one message with the fix, no traceback
(set SCODER_TRACEBACK=1 to see one). Every command takes --store and --json.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.progress import MofNCompleteColumn, Progress
from rich.progress import track as progress_bar

from store import ContractError, Store

app = typer.Typer(
    name="scoder",
    help="Build a code-instruction dataset with a small open model. Start with: scoder run recipes/tiny.yaml",
    no_args_is_help=True,
    rich_markup_mode="markdown",
    pretty_exceptions_enable=False,
    add_completion=False,
)
train_app = typer.Typer(help="Train one model on a published dataset, without a store.", no_args_is_help=True)
import_app = typer.Typer(help="Bring existing data into a store.", no_args_is_help=True)
app.add_typer(train_app, name="train")
app.add_typer(import_app, name="import")

StoreOption = Annotated[str, typer.Option("--store", help="Directory of the store.", envvar="SCODER_STORE")]
JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON for programs instead of tables for people.")]
SetOption = Annotated[list[str] | None, typer.Option("--set", help="Override a recipe field: section.key=value.")]
RecipeOption = Annotated[
    str | None, typer.Option("--recipe", help="Recipe; default: the one that this store was last run with.")
]

DEFAULT_STORE = "store-data"
HERE = Path(__file__).parent
WIDTH = None if sys.stdout.isatty() else 140
console = Console(width=WIDTH)
notes = Console(stderr=True)


def main() -> None:
    """Entry point: user mistakes become one message and exit code 2, failed jobs exit code 1."""
    # threads that spin at barriers make torch many times slower as soon as another process wants a core
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    try:
        sys.exit(app(standalone_mode=False))
    except typer.Exit as stop:
        sys.exit(stop.exit_code)
    except (typer.Abort, KeyboardInterrupt):
        notes.print("stopped; the same command resumes the work")
        sys.exit(1)
    except Exception as error:
        if os.environ.get("SCODER_TRACEBACK"):
            raise
        sys.exit(_report(error))


def _report(error: Exception) -> int:
    """Print an error for people and return its exit code."""
    message = getattr(error, "format_message", None)
    is_usage = message is not None
    text = message() if message else str(error) or type(error).__name__
    if isinstance(error, KeyError):
        text = str(error.args[0])
    is_users = is_usage or isinstance(error, ValueError | FileNotFoundError | FileExistsError | KeyError)
    notes.print(f"scoder: {text}", markup=False, style="red", highlight=False, soft_wrap=True)
    for note in getattr(error, "__notes__", []):
        notes.print(f"  {note}", markup=False, highlight=False, soft_wrap=True)
    if not is_users:
        notes.print(f"  ({type(error).__name__}; SCODER_TRACEBACK=1 shows where)", markup=False, highlight=False)
    return 2 if is_users else 1


def _open(path: str, *, force: bool = False, is_new: bool = False) -> Store:
    if not is_new and not Path(path, "_runs").is_dir():
        raise FileNotFoundError(f"no store at {path}; make one with `scoder run RECIPE --store {path}`")
    return Store(path, _announce, _track, force=force)


def _announce(message: str) -> None:
    notes.print(message, markup=False, highlight=False, style="bold" if message.startswith("[") else "", soft_wrap=True)


def _track(items: Sequence[int], label: str) -> Iterable[int]:
    if not items or not notes.is_terminal:
        return items
    return progress_bar(items, description=label, console=notes, transient=True)


@contextmanager
def _progress(total: int | None, label: str) -> Iterator[Callable[[int], None]]:
    """A bar that is told how many rows are done; without a terminal nothing is shown."""
    if not notes.is_terminal:
        yield lambda done: None
        return
    with Progress(*Progress.get_default_columns(), MofNCompleteColumn(), console=notes, transient=True) as bar:
        task = bar.add_task(label, total=total)
        yield lambda done: bar.update(task, completed=done)


def _print(rows: list[dict[str, Any]], as_json: bool, title: str = "") -> None:
    from queries.console import print_rows

    if as_json:
        print(json.dumps(rows, default=str))
    else:
        print_rows(console, rows, title)


def _recipe(store: str, recipe: str | None, overrides: list[str] | None = None) -> Any:
    """The recipe given, or the one that the store was last run with; overrides on top."""
    from builders import recipe as recipes

    if recipe:
        return recipes.load(recipe, overrides)
    return recipes.recall(store, overrides)


@app.command()
def run(
    recipe: Annotated[str, typer.Argument(help="YAML file, such as recipes/tiny.yaml.")],
    set_: SetOption = None,
    until: Annotated[str | None, typer.Option(help="Stop after this stage.")] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Validate and print the plan; build nothing.")] = False,
    force: Annotated[bool, typer.Option("--force", help="Rebuild what was built under another plan.")] = False,
    store: StoreOption = DEFAULT_STORE,
    as_json: JsonOption = False,
) -> None:
    """Run the whole loop of a recipe; the same command resumes it after a kill."""
    from builders import estimate
    from builders import recipe as recipes

    loaded = recipes.load(recipe, set_)
    if dry_run:
        _print([vars(s) for s in estimate.plan(loaded)], as_json, f"plan of {loaded.name}")
        return
    import scoder
    from store.lock import coordinator

    opened = _open(store, force=force, is_new=True)
    with coordinator(opened.root):
        recipes.remember(opened.root, loaded, is_new=True)
        scoder.run(opened, loaded, until)
        recipes.remember(opened.root, loaded)
    status(store=store, as_json=as_json)


@app.command()
def status(store: StoreOption = DEFAULT_STORE, as_json: JsonOption = False) -> None:
    """The funnel: rows and rejects per stage and iteration, tokens, cost, time, and the measured numbers."""
    from queries import console as reports

    opened = _open(store)
    found = {"tables": reports.funnel(opened), "rejects": reports.rejects(opened), "metrics": reports.metrics(opened)}
    if as_json:
        print(json.dumps(found, default=str))
        return
    for title, rows in found.items():
        reports.print_rows(console, rows, title)


@app.command()
def show(
    table: Annotated[str, typer.Argument(help="A table; docs/tables.md lists them.")],
    where: Annotated[str, typer.Option(help="SQL condition, such as \"parse_status = 'ok'\".")] = "true",
    n: Annotated[int, typer.Option("-n", help="Rows.")] = 3,
    store: StoreOption = DEFAULT_STORE,
    as_json: JsonOption = False,
) -> None:
    """Rows as a person reads them: code highlighted, long text folded."""
    from queries.console import print_records
    from store.catalog import ask
    from store.store import contract_of

    columns = ", ".join(contract_of(table).schema.names)
    order = ", ".join(contract_of(table).key)
    rows = ask(
        _open(store), f"SELECT {columns} FROM {table} WHERE ({where}) ORDER BY {order} LIMIT {int(n)}"
    ).read_all()
    if as_json:
        print(json.dumps(rows.to_pylist(), default=str))
    else:
        print_records(console, rows.to_pylist(), table)


@app.command()
def sql(
    text: Annotated[str | None, typer.Argument(help="One SELECT, or @file.sql; without it a prompt.")] = None,
    output: Annotated[str | None, typer.Option("-o", help="Write the rows to this Parquet file.")] = None,
    store: StoreOption = DEFAULT_STORE,
    as_json: JsonOption = False,
) -> None:
    """Ad-hoc SQL over all tables: exactly one SELECT, read-only."""
    opened = _open(store)
    for statement in _statements(text):
        try:
            _answer(opened, statement, output, as_json)
        except ContractError as error:
            if text is not None:
                raise
            _report(error)


def _statements(text: str | None) -> Iterator[str]:
    if text is not None:
        yield Path(text[1:]).read_text() if text.startswith("@") else text
        return
    while True:
        try:
            line = input("scoder sql> ").strip()
        except EOFError:
            return
        if line in ("exit", "quit", "\\q"):
            return
        if line:
            yield line


def _answer(store: Store, statement: str, output: str | None, as_json: bool) -> None:
    import pyarrow.parquet as pq

    from store.catalog import ask

    reader = ask(store, statement)
    if output is None:
        _print(reader.read_all().to_pylist(), as_json)
        return
    rows = 0
    with pq.ParquetWriter(output, reader.schema, compression="zstd") as writer:
        for batch in reader:
            writer.write_batch(batch)
            rows += batch.num_rows
    _announce(f"{rows:,} rows to {output}")


@app.command()
def select(
    iteration: Annotated[int, typer.Option(help="Iteration of the loop.")],
    name: Annotated[str, typer.Option(help="Name of the selection.")],
    set_: SetOption = None,
    compare: Annotated[str | None, typer.Option(help="Show the differences with this selection.")] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Show the funnel; write nothing.")] = False,
    force: Annotated[bool, typer.Option("--force", help="Replace a selection of this name.")] = False,
    recipe: RecipeOption = None,
    store: StoreOption = DEFAULT_STORE,
    as_json: JsonOption = False,
) -> None:
    """Write a selection under other thresholds or weights beside the default one. Never calls a model."""
    import scoder
    from builders import selected
    from queries import console as reports
    from store import check_name
    from store.lock import coordinator

    check_name(name, "selection name")
    opened = _open(store, force=force)
    loaded = _recipe(store, recipe, set_)
    found = selected.verdicts(opened, loaded, iteration, name)
    report = {"selection": name, "iteration": iteration, "funnel": reports.verdict_funnel(found)}
    if compare:
        report["compared"] = reports.compare(opened, found, iteration, compare)
    if not dry_run:
        with coordinator(opened.root):
            scoder.select(opened, loaded, iteration, name)
    if as_json:
        print(json.dumps(report, default=str))
        return
    reports.print_selection(console, report)
    if reports.num_missing(found):
        extra = " ".join(f"--set {s}" for s in set_ or [])
        _announce(
            f"{reports.num_missing(found)} candidates have no influence yet and are left out. To compute it: "
            f"scoder fill --iteration {iteration} --name {name} {extra}".rstrip()
        )


@app.command()
def fill(
    iteration: Annotated[int, typer.Option(help="Iteration of the loop.")],
    name: Annotated[str, typer.Option(help="Name of the selection.")],
    set_: SetOption = None,
    recipe: RecipeOption = None,
    store: StoreOption = DEFAULT_STORE,
    as_json: JsonOption = False,
) -> None:
    """Compute the gradients and influence that a selection lacks, exactly those, and select again."""
    import scoder
    from store.lock import coordinator

    opened = _open(store)
    with coordinator(opened.root):
        filled = scoder.fill(opened, _recipe(store, recipe, set_), iteration, name)
    _print([{"selection": name, "iteration": iteration, "filled": filled}], as_json)


@app.command()
def trace(
    id_: Annotated[str, typer.Argument(metavar="ID", help="Any id: of a snippet, sample, candidate or checkpoint.")],
    store: StoreOption = DEFAULT_STORE,
    as_json: JsonOption = False,
) -> None:
    """Everything that led to a row, and all that came of it."""
    from queries import console as reports

    found = reports.trace(_open(store), id_)
    if as_json:
        print(json.dumps(found, default=str))
        return
    for table, rows in found.items():
        reports.print_records(console, rows, table)


@import_app.command("teacher")
def import_teacher(
    file: Annotated[str, typer.Argument(help="JSONL or Parquet with snippet, problem, solution (and license).")],
    recipe: RecipeOption = None,
    store: StoreOption = DEFAULT_STORE,
    as_json: JsonOption = False,
) -> None:
    """Use existing (snippet, problem, solution) triples as the teacher samples of a store that has its pool."""
    from builders import teacher_samples
    from store.lock import coordinator

    opened = _open(store)
    with coordinator(opened.root):
        record = teacher_samples.import_file(opened, file, _recipe(store, recipe).teacher)
    _print([{"table": "teacher_samples", "rows": record.rows}], as_json)


@app.command()
def publish(
    what: Annotated[str, typer.Argument(help="instructions, selected, or any table.")],
    target: Annotated[str, typer.Argument(help="Folder to write.")],
    iteration: Annotated[int | None, typer.Option(help="For selected.")] = None,
    name: Annotated[str, typer.Option(help="For selected: the selection.")] = "default",
    store: StoreOption = DEFAULT_STORE,
    as_json: JsonOption = False,
) -> None:
    """Write a Hugging Face dataset folder that `datasets.load_dataset` reads."""
    from builders import releases

    opened = _open(store)
    if what == "selected" and iteration is None:
        raise ValueError("publishing a selection needs --iteration K (and --name NAME for another than the default)")
    if what == "instructions":
        opened.input("instructions")
        counts = releases.instructions(opened, _recipe(store, None).name, target)
    elif iteration is not None and what == "selected":
        opened.input("selected", iteration=iteration, selection=name)
        counts = releases.selected(opened, _recipe(store, None), iteration, name, target)
    else:
        counts = releases.table(opened, what, target)
    _print([{"split": s, "rows": n, "folder": target} for s, n in counts.items()], as_json, "published")


DatasetOption = Annotated[str, typer.Option(help="Published folder or Hub id.")]
BaseOption = Annotated[str, typer.Option(help="Base model: folder or Hub id.")]
OutputOption = Annotated[str, typer.Option(help="Checkpoint directory to write.")]
SettingsOption = Annotated[list[str] | None, typer.Option("--set", help="A training setting: key=value, lora.r=8.")]


def _train(role: str, dataset: str, base: str, output: str, set_: list[str] | None, as_json: bool) -> None:
    from builders.checkpoints import trainer
    from builders.recipe import override

    train, default = trainer(role)
    settings = type(default).model_validate(override(default.model_dump(), set_ or []))
    report = train(dataset, base, output, settings)
    rows = [{"folder": f"{output}/{c.folder}", "step": c.step, "loss": c.loss} for c in report.checkpoints]
    _print(rows, as_json, f"{role}: {report.num_rows:,} rows, {len(report.rejects)} left out")


@train_app.command("synthesizer")
def train_synthesizer(
    dataset: DatasetOption,
    base: BaseOption,
    output: OutputOption,
    set_: SettingsOption = None,
    as_json: JsonOption = False,
) -> None:
    """Train a data synthesizer (snippet to problem and solution)."""
    _train("synthesizer", dataset, base, output, set_, as_json)


@train_app.command("scorer")
def train_scorer(
    dataset: DatasetOption,
    base: BaseOption,
    output: OutputOption,
    set_: SettingsOption = None,
    as_json: JsonOption = False,
) -> None:
    """Train an aspect scorer (pair and rubric to digit)."""
    _train("scorer", dataset, base, output, set_, as_json)


@train_app.command("coder")
def train_coder(
    dataset: DatasetOption,
    base: BaseOption,
    output: OutputOption,
    set_: SettingsOption = None,
    as_json: JsonOption = False,
) -> None:
    """Train a coder (problem to solution)."""
    _train("coder", dataset, base, output, set_, as_json)


@app.command()
def evaluate(
    model: Annotated[str, typer.Argument(help="Model folder or Hub id.")],
    benchmarks: Annotated[list[str], typer.Option(help="Benchmark file; repeat for several.")],
    adapter: Annotated[str | None, typer.Option(help="LoRA folder over the model.")] = None,
    samples: Annotated[int, typer.Option(help="Samples per task.")] = 1,
    temperature: Annotated[float, typer.Option(help="0 is greedy.")] = 0.0,
    max_tokens: Annotated[int, typer.Option(help="Tokens per sample.")] = 512,
    engine: Annotated[str, typer.Option(help="transformers, vllm or openai.")] = "transformers",
    base_url: Annotated[str | None, typer.Option(help="For openai.")] = None,
    is_base: Annotated[
        bool, typer.Option("--base-model", help="Continue the prompt as it stands, without a chat.")
    ] = False,
    as_json: JsonOption = False,
) -> None:
    """pass@k of a model on benchmark files; generated code runs only in the sandbox."""
    from builders import evaluations
    from builders.benchmark_files import read_tasks
    from builders.engines.settings import EngineSettings
    from builders.recipe import Evaluation

    settings = Evaluation(
        engine=EngineSettings.model_validate({"engine": engine, "base_url": base_url}),
        num_samples=samples,
        temperature=temperature,
        max_tokens=max_tokens,
    )
    rows = []
    for path in benchmarks:
        graded = evaluations.evaluate(model, list(read_tasks(path)), settings, adapter, seed=0, is_base=is_base)
        rows.append({"benchmark": path, **evaluations.pass_rates(graded, samples)})
    _print(rows, as_json, model)


@app.command()
def influence(
    dataset: Annotated[str, typer.Argument(help="JSONL or Parquet file, dataset folder or Hub id: what is ranked.")],
    reference: Annotated[
        list[str],
        typer.Option(help="Reference set: DATASET or NAME=DATASET; repeat for several, each gets its columns."),
    ],
    model: Annotated[str, typer.Option(help="Base model: folder or Hub id.")],
    output: Annotated[str, typer.Option("-o", "--output", help="Parquet file to write.")] = "influence.parquet",
    adapter: Annotated[
        list[str] | None,
        typer.Option(help="LoRA folder, or a training's output with all its checkpoints; none: one is warmed up."),
    ] = None,
    learning_rate: Annotated[
        list[float] | None, typer.Option(help="Weight of each checkpoint, where its folder does not tell.")
    ] = None,
    gradients: Annotated[
        str | None, typer.Option(help="Folder that keeps the gradients; default: OUTPUT.gradients.")
    ] = None,
    set_: Annotated[
        list[str] | None,
        typer.Option("--set", help="gradients.dimension=1024, gradients.optimizer_map=adam, warmup.share=0.1 …"),
    ] = None,
    split: Annotated[str, typer.Option(help="Split of dataset folders and Hub datasets.")] = "train",
    revision: Annotated[str | None, typer.Option(help="Commit of a model of the Hub.")] = None,
    id_column: Annotated[
        str, typer.Option(help="Column with the rows' own ids; rows without one get their content's.")
    ] = "id",
    group_by: Annotated[
        str | None, typer.Option(help="Column of the reference sets: an influence for each of its values.")
    ] = None,
    workers: Annotated[int | None, typer.Option(help="Processes; default: one per GPU, or one.")] = None,
    as_json: JsonOption = False,
) -> None:
    """Rank any dataset by its influence on reference sets. Gradients are kept: another reference set costs no model."""
    from builders import dataset_influence, influence_request
    from builders.recipe import override

    report = dataset_influence.build(
        influence_request.Request(
            dataset=influence_request.named(dataset, split, id_column),
            references=[influence_request.named(given, split, id_column, group_by) for given in reference],
            model=model,
            output=output,
            adapters=adapter or [],
            learning_rates=learning_rate or [],
            gradients=gradients,
            revision=revision,
            choices=influence_request.Choices.model_validate(
                override(influence_request.Choices().model_dump(), set_ or [])
            ),
            workers=workers,
        ),
        _announce,
        _track,
    )
    rejects = [{"dataset": d, "reason": r, "rows": n} for (d, r), n in sorted(report.rejects.items())]
    if as_json:
        print(json.dumps({"output": report.output, "rows": report.num_rows, "rejects": rejects}))
        return
    _announce(
        f"{report.num_rows:,} rows, {report.num_checkpoints} checkpoints: {report.output}, {report.output}.rejects.parquet"
    )
    if rejects:
        _print(rejects, as_json, "left out")


@app.command()
def contamination(
    dataset: Annotated[
        str, typer.Argument(help="JSONL, JSON or Parquet file, dataset folder, or Hub id (ID[:CONFIG][@SPLIT]).")
    ],
    benchmarks: Annotated[
        list[str],
        typer.Option(help="Benchmark: [NAME=]FILE or [NAME=]HUB_ID[:CONFIG][@SPLIT]; further ones may follow."),
    ],
    more: Annotated[list[str] | None, typer.Argument(metavar="[BENCHMARK]...", help="Further benchmarks.")] = None,
    output: Annotated[str | None, typer.Option("-o", "--output", help="Parquet file: one row per hit.")] = None,
    verdicts: Annotated[str | None, typer.Option(help="Parquet file: one row per row of the dataset.")] = None,
    text: Annotated[
        list[str] | None, typer.Option(help="Column with the text; repeat for several. Default: told by the columns.")
    ] = None,
    set_: Annotated[list[str] | None, typer.Option("--set", help="decontamination.min_strength=0.6 …")] = None,
    execute: Annotated[
        bool, typer.Option("--execute", help="Also run functions against the benchmarks' tests, in the sandbox.")
    ] = False,
    workers: Annotated[int, typer.Option(min=1, help="Processes.")] = 1,
    as_json: JsonOption = False,
) -> None:
    """Check any dataset for leaked benchmark tasks, without a store. Exit code 0 whether there are any or not."""
    from builders import dataset_contamination as checking
    from builders.benchmarks import named

    request = checking.Request(
        dataset=named(dataset),
        benchmarks=[named(given) for given in [*benchmarks, *(more or [])]],
        settings=checking.settings(set_ or []),
        columns=text or [],
        hits=output,
        verdicts=verdicts,
        execute=execute,
        workers=workers,
    )
    with _progress(checking.num_rows(request), "contamination") as advance:
        report = checking.check(request, advance)
    if as_json:
        print(json.dumps(report.as_dict()))
        return
    _print(report.rows(), as_json, f"{Path(dataset).name}: {', '.join(report.columns)}")
    for line in report.lines():
        _announce(line)


@app.command()
def fork(
    source: Annotated[str, typer.Argument(metavar="SRC", help="Store to branch from.")],
    target: Annotated[str, typer.Argument(metavar="DST", help="New store.")],
    until: Annotated[str, typer.Option(help="Last stage to keep, such as iteration-1.")],
    as_json: JsonOption = False,
) -> None:
    """Hard-link the finished partitions up to a stage into a new store, to branch off without paying again."""
    from builders.lineage import fork as branch

    linked = branch(_open(source), _open(target, is_new=True), until)
    _print([{"partition": p} for p in linked], as_json, f"linked into {target}")


@app.command()
def verify(store: StoreOption = DEFAULT_STORE, as_json: JsonOption = False) -> None:
    """Re-read checksums, contracts and audits; exit code 1 when anything is wrong."""
    from queries.console import verify as check

    problems = check(_open(store))
    _print(problems or [{"check": "all", "result": "ok"}], as_json, "verify")
    if problems:
        raise typer.Exit(1)


@app.command()
def doctor(as_json: JsonOption = False) -> None:
    """What this machine has and lacks: Python, libraries, sandbox, GPU, disk."""
    from builders.doctor import checks

    found = checks()
    _print(found, as_json, "doctor")
    if any(c["needed"] and not c["ok"] for c in found):
        raise typer.Exit(1)


if __name__ == "__main__":
    main()
