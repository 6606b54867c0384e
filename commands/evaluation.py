"""Commands that measure models, without a store: evaluate and grade."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from commands.benchmarks import BENCHMARK, in_options, named
from commands.terminal import JsonOption, announce, app, local_folder, print_rows, track
from store.errors import InputError

if TYPE_CHECKING:
    from builders.harness.summary import Summary
    from builders.standalone.evaluation import Evaluated

PANEL = "Models"

BenchmarksOption = Annotated[list[str], typer.Option("--benchmarks", help=BENCHMARK)]
EnvironmentOption = Annotated[
    str | None, typer.Option("--environment", help="Folder of `scoder environment`: libraries that answers find.")
]
WorkersOption = Annotated[int | None, typer.Option(help="Answers judged at once. Default: one per usable CPU.")]
MemoryOption = Annotated[int | None, typer.Option(help="MiB of memory that an answer may use. Default: 4096.")]
WallOption = Annotated[
    float | None, typer.Option(help="Seconds for all tests of an answer, beside 4 × its reference's. Default: 10.")
]
ShareOption = Annotated[
    float | None, typer.Option(help="No number if more than this share of the answers is missing. Default: 0.02.")
]
FromOption = Annotated[str | None, typer.Option("--from", help="Only contests from this day on, as YYYY-MM-DD.")]
UntilOption = Annotated[str | None, typer.Option("--until", help="Only contests up to this day, as YYYY-MM-DD.")]


@app.command(rich_help_panel=PANEL)
def evaluate(
    model: Annotated[str, typer.Argument(help="Model folder or Hub id; with openai, the name of a served model.")],
    benchmarks: BenchmarksOption,
    output: Annotated[
        str | None,
        typer.Option(
            "-o",
            "--output",
            help="Folder that keeps answers and rows. The same command resumes.",
            callback=local_folder,
        ),
    ] = None,
    form: Annotated[
        list[str] | None,
        typer.Option(help="chat or completion; repeat for both. Default: chat if the model has a chat template."),
    ] = None,
    adapter: Annotated[str | None, typer.Option(help="LoRA folder of an adapter of the model.")] = None,
    samples: Annotated[int, typer.Option(help="Samples per task; more than 1 need a temperature above 0.")] = 1,
    temperature: Annotated[float, typer.Option(help="Temperature; with 0 the likeliest token is taken.")] = 0.0,
    top_p: Annotated[float, typer.Option(help="Share of the probability mass that tokens are drawn from.")] = 1.0,
    max_tokens: Annotated[int, typer.Option(help="Largest number of tokens per sample.")] = 512,
    seed: Annotated[int, typer.Option(help="The same seed gives the same samples again.")] = 0,
    engine: Annotated[str, typer.Option(help="What runs the model: transformers, vllm or openai.")] = "transformers",
    base_url: Annotated[str | None, typer.Option(help="With openai: address of the server.")] = None,
    revision: Annotated[str | None, typer.Option(help="Commit of a model of the Hub.")] = None,
    environment: EnvironmentOption = None,
    workers: WorkersOption = None,
    memory_mb: MemoryOption = None,
    wall_s: WallOption = None,
    max_error_share: ShareOption = None,
    since: FromOption = None,
    until: UntilOption = None,
    set_: Annotated[
        list[str] | None,
        typer.Option(
            "--set",
            help="Set a field as in the recipe's section evaluation: engine.dtype=bfloat16, engine.tensor_parallel=2 …",
        ),
    ] = None,
    is_base: Annotated[bool, typer.Option("--base-model", help="The same as --form completion.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Measure pass@k of a model on benchmarks. Generated code runs only in the sandbox.

    Every run says how many answers were cut, refused, or could not be judged. If too many are
    missing, there is no number, and the exit code is 1.

    Example:
    ```
    $ scoder evaluate recipes/tiny-base --benchmarks recipes/demo-benchmark.jsonl --base-model
    │ benchmark      │ form       │ tasks │ judged │ pass@1               │ answered │ …
    │ demo-benchmark │ completion │    16 │     16 │ 0.125 [0.035, 0.360] │       16 │ …
    ```
    """
    from builders.recipe import Evaluation, files
    from builders.standalone import evaluation

    given: dict[str, Any] = {
        "engine": {"engine": engine} | ({"base_url": base_url} if base_url else {}),
        "num_samples": samples,
        "temperature": temperature,
        "top_p": top_p,
        "max_tokens": max_tokens,
        "grading": _limits(environment, workers, memory_mb, wall_s),
    } | ({} if max_error_share is None else {"max_error_share": max_error_share})
    asked_forms = list(form or []) or (["completion"] if is_base else [])
    if strange := [name for name in asked_forms if name not in ("chat", "completion")]:
        raise InputError(f"--form {strange[0]} is no form: give chat or completion, or the option twice for both")
    if is_base and asked_forms != ["completion"]:
        raise InputError(f"--base-model means --form completion, but --form {asked_forms[0]} is given: leave one out")
    raw = files.override(given | ({"forms": asked_forms} if asked_forms else {}), set_ or [])
    # what --set gives has the names of a recipe
    with nullcontext() if set_ else in_options():
        settings = files.checked(Evaluation, raw)
    wanted = named(benchmarks, since, until)
    if not asked_forms and "forms" not in _set_keys(set_):
        settings = settings.model_copy(update={"forms": (_default_form(settings, model, adapter, revision),)})
    _report(
        lambda: evaluation.evaluate(
            model,
            wanted,
            settings,
            adapter=adapter,
            revision=revision,
            seed=seed,
            folder=Path(output) if output else None,
            announce=announce,
            track=track,
        ),
        as_json,
        model,
        look=f"`scoder grade {output} --failed` prints what did not pass" if output else None,
    )


@app.command(rich_help_panel=PANEL)
def grade(
    answers: Annotated[
        str, typer.Argument(help="Folder of `evaluate -o` or `grade -o`, or samples of EvalPlus or bigcode's harness.")
    ],
    benchmarks: Annotated[list[str] | None, typer.Option(help=f"For samples. {BENCHMARK}")] = None,
    output: Annotated[
        str | None,
        typer.Option("-o", "--output", help="For samples. Folder that keeps rows and summary.", callback=local_folder),
    ] = None,
    failed: Annotated[
        bool, typer.Option("--failed", help="Print the answers that did not pass, and why, instead of the summary.")
    ] = False,
    environment: EnvironmentOption = None,
    workers: WorkersOption = None,
    memory_mb: MemoryOption = None,
    wall_s: WallOption = None,
    max_error_share: ShareOption = None,
    since: FromOption = None,
    until: UntilOption = None,
    set_: Annotated[
        list[str] | None, typer.Option("--set", help="Set a field as in the recipe's section evaluation.grading.")
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Judge saved answers again, without a model: with other limits, or another environment.

    Samples are JSON lines of task_id and solution (or completion), EvalPlus's folders, or
    generations.json. They run as they are, as in these harnesses, and a completion is appended to
    the prompt. So sanitize answers with prose or fences first. A program does not say in which form
    its model was asked. So its form is `samples`, but not in files that `evaluate -o` wrote.

    Example:
    ```
    $ scoder grade my-samples.jsonl --benchmarks recipes/demo-benchmark.jsonl
    │ benchmark      │ form    │ tasks │ judged │ pass@1               │ answered │ …
    │ demo-benchmark │ samples │    16 │     16 │ 1.000 [0.806, 1.000] │       16 │ …
    ```
    """
    from builders.harness import saved
    from builders.recipe import Evaluation, Grading, files
    from builders.standalone import grading

    place, again = Path(answers), "the same command with --failed prints what did not pass"
    is_saved = (place / saved.SETTINGS).is_file()
    changed = files.override(_limits(environment, workers, memory_mb, wall_s), set_ or [])
    if is_saved:
        if output:
            raise InputError(f"{answers} keeps its results itself: leave -o {output} out")
        if benchmarks or since or until:
            raise InputError(f"{answers} names its benchmarks itself: leave --benchmarks, --from and --until out")
        before = saved.settings_of(place)["evaluation"]["grading"]
        limits = files.checked(Grading, before | changed)
        _report(
            lambda: grading.grade(place, limits, max_error_share, announce=announce), as_json, answers, failed, again
        )
        return
    if not place.exists():
        raise InputError(f"no file or folder {answers}")
    if not benchmarks:
        raise InputError(f"{answers} does not say which --benchmarks it answers: name them")
    share = Evaluation().max_error_share if max_error_share is None else max_error_share
    limits, wanted = files.checked(Grading, changed), named(benchmarks, since, until)
    folder = Path(output) if output else None
    _report(
        lambda: grading.grade_samples(place, wanted, limits, share, folder=folder, announce=announce),
        as_json,
        answers,
        failed,
        again + (f", and all of them are in {output}/rows.parquet" if output else ""),
    )


def _report(
    measure: Callable[[], Evaluated], as_json: bool, title: str, failed: bool = False, look: str | None = None
) -> None:
    """Print what came of it, also where there is no number, and then raise.

    With `failed`, the answers that did not pass are printed. `look` says how to see
    them.
    """
    from builders.harness.summary import NoNumberError

    error: NoNumberError | None = None
    try:
        found = measure()
        told, rows = found.summaries, found.rows
    except NoNumberError as raised:
        error, told, rows = raised, raised.summaries, raised.rows
    if failed:
        print_rows([_verdict(row) for row in rows if not row["is_passed"]], as_json, f"{title}: what did not pass")
    else:
        print_rows([summary.as_json() for summary in told] if as_json else _lines(told), as_json, title)
    for summary in told:
        for remark in summary.remarks():
            announce(remark)
    if look and not failed and any(not row["is_passed"] for row in rows):
        announce(f"single verdicts: {look}")
    if error is not None:
        raise error


def _verdict(row: Mapping[str, Any]) -> dict[str, Any]:
    """What people want to know of one answer that did not pass."""
    told = {name: row[name] for name in ("benchmark", "form", "task_id", "sample_index", "status")}
    return told | {"message": row["message"] or row["error"]}


def _lines(told: list[Summary]) -> list[dict[str, Any]]:
    """The lines of the table for people, without counts of nothing."""
    lines = [summary.as_line() for summary in told]
    quiet = {name for line in lines for name in line if all(other.get(name) == 0 for other in lines)}
    return [{name: value for name, value in line.items() if name not in quiet} for line in lines]


def _limits(
    environment: str | None, workers: int | None, memory_mb: int | None, wall_s: float | None
) -> dict[str, Any]:
    """The limits that were given. An environment is named by its whole path."""
    place = str(Path(environment).absolute()) if environment else None
    if environment is not None:
        from builders import sandbox

        try:
            sandbox.modules_missing((), place)  # looks at the environment as every verdict does
        except InputError as error:
            error.add_note(f"`scoder environment {environment} …` makes one with libraries")
            raise
    given = {"environment": place, "workers": workers, "memory_mb": memory_mb, "wall_s": wall_s}
    return {name: value for name, value in given.items() if value is not None}


def _set_keys(set_: list[str] | None) -> set[str]:
    return {item.partition("=")[0] for item in set_ or []}


def _default_form(settings: Any, model: str, adapter: str | None, revision: str | None) -> str:
    """chat for a model with a chat template and for an endpoint, else completion. It is said."""
    from builders.engines import forms

    if settings.engine.is_endpoint:
        reason, why = None, "it is an endpoint"
    else:
        reason, why = (
            forms.without_chat(model, {"adapter": adapter} if adapter else {}, revision),
            "it has a chat template",
        )
    form = "completion" if reason else "chat"
    announce(f"{model} is asked in the form {form}: {reason or why} (--form chat or --form completion says otherwise)")
    return form
