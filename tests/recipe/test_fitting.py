"""What cannot fit the GPUs is refused, with a change that makes it fit. Our recipes fit."""

from __future__ import annotations

import importlib.util
import json
import re
from pathlib import Path
from typing import Any

import pytest
import yaml

import scoder
from builders.engines.settings import VllmSettings
from builders.recipe import files, fitting, planned
from builders.recipe.hours import gpu_hours
from builders.recipe.machine import Machine
from builders.recipe.model_shapes import model_shape
from builders.recipe.needs import Gpus, Need, gpus_of, longest_kept, need_of
from builders.recipe.work import Gradients
from commands import plans
from store.errors import InputError
from tests.smoke_run import scoder_here
from tests.tiny_recipes import recipe
from training.layout import num_processes
from training.memory import training_memory
from training.model_shape import shape_of
from training.settings import GradientSettings, LoraSettings

REAL = ["qwen2.5-coder-7b", "qwen2.5-coder-14b", "llama-3.1-8b"]
ONE = [80.0]
SEVEN, CODER = "Qwen/Qwen2.5-Coder-7B-Instruct", "deepseek-ai/deepseek-coder-6.7b-base"
ALL = {"lora": None, "dtype": "bfloat16", "batch_size": 4, "max_tokens": 2048, "gradient_checkpointing": True}


def refusal(made: Any, visible: list[float | None]) -> str:
    """What is said against a recipe; empty if nothing."""
    try:
        fitting.check(made, scoder.stages(made), visible)
    except InputError as error:
        return str(error)
    return ""


def with_coder(folder: Path, **training: Any) -> Any:
    return recipe(folder, coder={"model": CODER, "training": ALL | training})


def with_engine(folder: Path, **engine: Any) -> Any:
    block = {"engine": "vllm", "dtype": "bfloat16", **engine}
    return recipe(folder, synthesizer={"model": SEVEN, "engine": block, "training": {"dtype": "bfloat16"}})


def mended(made: Any, said: str) -> Any:
    """The recipe with the changes that a refusal names."""
    raw = made.model_dump(mode="json")
    changes = re.findall(r"(?:set|and) ([a-z_.]+=[\w.]+)", said)
    assert changes, said
    return type(made).model_validate(yaml.safe_load(yaml.safe_dump(files.override(raw, changes))))


@pytest.mark.parametrize("visible", [ONE, [80.0] * 8], ids=["one", "eight"])
@pytest.mark.parametrize("name", REAL)
def test_a_real_recipe_fits_gpus_of_80_gb(name: str, visible: list[float | None]) -> None:
    made = files.load(name)
    assert refusal(made, visible) == ""
    *steps, total = planned.rows(made, visible)
    assert total["fits"] is True and total["gpu_gb"] <= 80
    on_gpus = [row for row in steps if row["field"] and not row["is_billed"]]
    assert {row["gpus"] for row in on_gpus} == {len(visible)}, "all of them are used"
    assert all(row["hours"] is None or row["hours"] == row["gpu_hours"] / len(visible) for row in on_gpus)


@pytest.mark.parametrize("name", REAL)
def test_a_dry_run_of_a_real_recipe_says_that_it_fits(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SCODER_SIMULATED_GPUS", "1x80")
    done = scoder_here("run", name, "--dry-run", folder=tmp_path)
    assert done.returncode == 0, done.stderr
    (memory,) = [line for line in done.stdout.splitlines() if line.startswith("memory: the tightest stage is ")]
    assert memory.endswith("predicted within 15%: fits") and "DOES NOT FIT" not in done.stdout
    assert "1 GPU of 80.0 GB, simulated by SCODER_SIMULATED_GPUS" in done.stdout and "seen here" not in done.stdout
    assert "dollars: endpoints 70.38, GPUs unknown" in done.stdout, "no price was given, so nothing is 0"


@pytest.mark.parametrize("name", ["tiny", "smoke", "smollm2", "laptop"])
def test_eight_gpus_of_unknown_memory_refuse_nothing(name: str) -> None:
    made = files.load(name)
    assert refusal(made, [None] * 8) == ""
    trained = {"synthesizer": made.synthesizer, "scorer": made.scorer, "coder": made.coder}
    used = {f"{name}.training": num_processes(block.training, 8) for name, block in trained.items() if block.training}
    for row in planned.rows(made, [None] * 8):
        assert not row["field"] or row["gpus"] == used.get(row["field"], 8), row["field"]


def test_a_total_with_an_unknown_part_is_unknown_and_says_what_is_known(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SCODER_SIMULATED_GPUS", "1x80")
    done = scoder_here("run", REAL[0], "--dry-run", "--json", folder=tmp_path)
    *steps, total = json.loads(done.stdout)["plan"]
    judge = steps[1]
    assert judge["field"] == "docstring_judge.engine" and judge["gpu_hours"] is None and judge["tokens"] is None
    assert total["gpu_hours"] is None and total["gpu_usd"] is None and total["known_gpu_hours"] > 1
    assert {"stage", "what", "rows", "model_calls", "tokens", "cost_usd"} <= steps[0].keys()
    told = scoder_here("run", REAL[0], "--dry-run", folder=tmp_path).stdout
    assert "on 1 GPU, and unknown for docstring_judge.engine, evaluation.engine" in told


@pytest.mark.parametrize("name", ["tiny", "smoke", "smollm2", "laptop"])
def test_a_machine_without_a_gpu_refuses_nothing(name: str) -> None:
    made = files.load(name)
    assert refusal(made, []) == ""
    assert "no GPU is seen here" in planned.grounds(made, [])[0]


def test_a_coder_in_float32_is_refused_with_what_fits(tmp_path: Path) -> None:
    made = with_coder(tmp_path)
    said = refusal(made, ONE)
    assert "coder.training" in said and "optimizer=adamw_8bit_sr" in said and "machine.check=false" in said
    assert refusal(mended(made, said), ONE) == ""
    assert refusal(made, [80.0] * 8) == "", "eight share the weights"


def test_activations_that_are_kept_are_refused_with_a_change_that_keeps_the_weights(tmp_path: Path) -> None:
    made = with_coder(tmp_path, optimizer="adamw_8bit_sr", gradient_checkpointing=False, batch_size=16)
    said = refusal(made, ONE)
    assert "gradient_checkpointing=true" in said or "micro_batch=" in said
    assert "optimizer=" not in said, "what changes no weight is tried first"
    assert refusal(mended(made, said), ONE) == ""


def test_too_many_rows_at_once_are_refused_with_fewer(tmp_path: Path) -> None:
    made = with_coder(tmp_path, optimizer="adamw_8bit_sr", batch_size=64)
    said = refusal(made, ONE)
    assert "set coder.training.micro_batch=" in said and "optimizer=" not in said
    assert refusal(mended(made, said), ONE) == ""


@pytest.mark.parametrize(
    ("engine", "visible", "expected"),
    [
        ({"tensor_parallel": 2}, ONE, "tensor_parallel is 2, but there is 1 GPU"),
        ({"gpu_memory_utilization": 0.1}, ONE, "gpu_memory_utilization=0.92"),
        ({}, [16.0, 16.0], "tensor_parallel=2"),
        ({"max_model_tokens": 131_072}, [24.0], "max_model_tokens="),
    ],
)
def test_an_engine_that_does_not_fit_is_refused_with_what_fits(
    tmp_path: Path, engine: dict[str, Any], visible: list[float | None], expected: str
) -> None:
    made = with_engine(tmp_path, **engine)
    (said,) = [line for line in refusal(made, visible).splitlines() if "synthesizer.engine" in line]
    assert expected in said
    assert "synthesizer.engine" not in refusal(mended(made, said), visible)


def test_gradients_that_do_not_fit_are_refused_with_a_number_of_tokens(tmp_path: Path) -> None:
    training = {"dtype": "bfloat16", "gradient_checkpointing": True, "lora": {"r": 64}, "micro_batch": 1}
    synthesizer = {"model": SEVEN, "engine": {"engine": "vllm", "dtype": "bfloat16"}, "training": training}
    made = recipe(tmp_path, synthesizer=synthesizer, influence={"gradients": {"max_tokens": 16_384}})
    (said,) = [line for line in refusal(made, [20.0]).splitlines() if "influence.gradients" in line]
    assert "influence.gradients.max_tokens=" in said
    assert "influence.gradients" not in refusal(mended(made, said), [20.0])
    assert "influence.gradients" not in refusal(made, ONE)  # batches are halved until they fit


def test_more_devices_than_gpus_are_refused(tmp_path: Path) -> None:
    said = refusal(with_coder(tmp_path, optimizer="adamw_8bit_sr", devices=4), [80.0, 80.0])
    assert "coder.training.devices is 4, but there are 2 GPUs" in said and "devices=2" in said


def test_a_prediction_can_be_overruled(tmp_path: Path) -> None:
    made = with_coder(tmp_path)
    told = recipe(tmp_path, coder={"model": CODER, "training": ALL}, machine={"check": False})
    assert refusal(made, ONE) and not refusal(told, ONE)


def test_a_stage_that_is_not_run_is_not_refused(tmp_path: Path) -> None:
    made = with_coder(tmp_path)
    fitting.check(made, ["pool", "teacher", "bootstrap"], ONE)
    with pytest.raises(InputError, match=r"coder\.training"):
        fitting.check(made, ["coder"], ONE)


def test_a_model_that_nobody_knows_is_unknown_and_not_refused(tmp_path: Path) -> None:
    made = recipe(tmp_path, coder={"model": "someone/new-model", "training": ALL})
    assert refusal(made, ONE) == ""
    (coder,) = [row for row in planned.rows(made, ONE) if row["stage"] == "coder"]
    assert {coder[k] for k in ("weights_gb", "states_gb", "gpu_gb", "gpu_hours", "disk_gb", "fits")} == {None}


def test_the_recipe_names_the_machine_over_what_is_seen(tmp_path: Path) -> None:
    made = recipe(tmp_path, machine={"gpus": 8, "gpu_memory_gb": 40.0})
    found = gpus_of(made.machine, ONE)
    assert (found.count, found.memory) == (8, 40e9)
    assert gpus_of(recipe(tmp_path).machine, [80.0, 24.0]).memory == 24e9, "the smallest one decides"
    assert gpus_of(recipe(tmp_path).machine, [None, 80.0]).memory is None
    assert not gpus_of(recipe(tmp_path, machine={"gpus": 0}).machine, ONE).is_checked


def test_a_refused_run_does_nothing_and_its_plan_is_printed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SCODER_SIMULATED_GPUS", "1x80")
    change = ("--set", "coder.training.optimizer=adamw")
    store = ("--store", str(tmp_path / "store"))
    planned_ = scoder_here("run", "qwen2.5-coder-7b", *change, "--dry-run", *store, folder=tmp_path)
    assert planned_.returncode == 2 and "DOES NOT FIT" in planned_.stdout
    assert "coder.training.optimizer=adamw_8bit_sr" in planned_.stderr
    big = ("--set", f"coder={{model: {CODER}, training: {{lora: null}}}}", "--set", "machine.gpus=1")
    ran = scoder_here("run", "smoke", *big, *store, folder=tmp_path)
    assert ran.returncode == 2 and "coder.training" in ran.stderr
    assert not list(tmp_path.rglob("*.parquet")), "nothing was built"


def test_sizes_of_models_come_from_a_folder_or_the_table() -> None:
    tiny = model_shape(str(files.SHIPPED / "tiny-base"))
    assert tiny is not None and tiny.num_parameters < 1e7
    sizes = {name: model_shape(name) for name in (SEVEN, CODER, "Qwen/Qwen2.5-Coder-14B", "meta-llama/Llama-3.1-8B")}
    assert {name: round(s.num_parameters / 1e9, 2) for name, s in sizes.items() if s} == {
        SEVEN: 7.62, CODER: 6.74, "Qwen/Qwen2.5-Coder-14B": 14.77, "meta-llama/Llama-3.1-8B": 8.03,
    }  # fmt: skip
    assert model_shape("/nowhere/at/all") is None and model_shape("none") is None


def test_dollars_of_gpus_follow_from_hours_and_a_price(tmp_path: Path) -> None:
    final = {"max_snippets": 1000}
    made = recipe(tmp_path, coder={"model": CODER, "training": ALL}, final=final, machine={"price_per_gpu_hour": 2.0})
    (coder,) = [row for row in planned.rows(made, ONE) if row["stage"] == "coder"]
    flops = 1000 * 600 * 3 * 8 * 6.740512768e9  # 6, and 2 for gradient checkpointing
    assert coder["gpu_hours"] == pytest.approx(flops / (989e12 * 0.35) / 3600)
    assert coder["gpu_usd"] == pytest.approx(2 * coder["gpu_hours"])
    (unpriced,) = [row for row in planned.rows(with_coder(tmp_path), ONE) if row["stage"] == "coder"]
    assert unpriced["gpu_usd"] is None and unpriced["gpu_hours"] is None


def test_disk_has_checkpoints_and_twice_the_state_that_is_resumed_from() -> None:
    rows = {(row["stage"], row["field"]): row for row in planned.rows(files.load("qwen2.5-coder-7b"), ONE)}
    coder, synthesizer = rows["coder", "coder.training"], rows["bootstrap", "synthesizer.training"]
    assert coder["disk_gb"] == pytest.approx(13.48, abs=0.01), "weights in bfloat16, and no optimizer's states"
    assert coder["passing_disk_gb"] == pytest.approx(2 * 6.7405 * (2 + 2.05), rel=0.001)
    lora = 161_480_704
    assert synthesizer["disk_gb"] * 1e9 == pytest.approx(4 * lora * (4 + 8), rel=0.001), "Adam's map reads the states"


def test_gpus_that_cannot_share_a_step_evenly_are_not_counted(tmp_path: Path) -> None:
    coder = with_coder(tmp_path, optimizer="adamw_8bit_sr", gradient_accumulation=16)
    row = {n: next(r for r in planned.rows(coder, [80.0] * n) if r["stage"] == "coder") for n in (2, 3)}
    assert row[3]["gpus"] == 2 and row[3]["gpu_gb"] == row[2]["gpu_gb"]
    told = refusal(with_coder(tmp_path, devices=8, optimizer="adamw_8bit_sr", gradient_accumulation=16), [80.0] * 3)
    assert "set coder.training.devices=2" in told


def test_no_adapter_is_told_to_be_sharded(tmp_path: Path) -> None:
    adapter = with_coder(tmp_path, lora={"r": 64, "alpha": 128}, max_tokens=4096)
    told = refusal(adapter, [12.0] * 8)
    assert "coder.training" in told and "fsdp2" not in told


def test_more_replicas_than_gpus_are_refused_before_anything_is_paid(tmp_path: Path) -> None:
    made = with_engine(tmp_path, replicas=8)
    (said,) = [line for line in refusal(made, [80.0] * 2).splitlines() if "replicas" in line]
    assert "asks for 8 GPUs" in said and "synthesizer.engine.replicas=2" in said
    assert "replicas" not in refusal(made, [80.0] * 8)


def test_what_cannot_fit_names_what_would(tmp_path: Path) -> None:
    said = refusal(with_coder(tmp_path, optimizer="adamw_8bit_sr"), [24.0])
    assert "coder.training" in said and "(lora)" in said


def gradients(tokens: int, **settings: Any) -> Gradients:
    """The gradients of 10 rows of a 7B."""
    made = GradientSettings(**{"max_tokens": 8192, "optimizer_map": "adam"} | settings)
    return Gradients("influence.gradients", SEVEN, None, made, LoraSettings(r=64), "bfloat16", 10, 10 * tokens)


def gpus(gb: float | None) -> Gpus:
    return gpus_of(Machine(gpus=1, gpu_memory_gb=gb), [])


def test_gradients_on_an_unknown_gpu_show_no_batch(tmp_path: Path) -> None:
    made = files.load(REAL[0])
    row = {name: next(r for r in planned.rows(made, [gb]) if r["field"] == "influence.gradients") for name, gb in
           {"unknown": None, "known": 80.0}.items()}  # fmt: skip
    assert (row["unknown"]["gpu_gb"], row["unknown"]["activations_gb"], row["unknown"]["fits"]) == (None, None, None)
    assert (
        row["unknown"]["least_gb"] == row["known"]["least_gb"] < row["known"]["gpu_gb"] == pytest.approx(67.9, abs=0.1)
    )
    told = scoder_here("run", REAL[0], "--dry-run", "--set", "machine.gpus=1", folder=tmp_path).stdout
    assert f"≥ {row['known']['least_gb']:.1f}" in told and "102.7" not in told


def test_a_bound_on_the_memory_of_gradients_bounds_what_is_planned() -> None:
    needs = [need_of(gradients(900, max_tokens=1024, memory_gb=gb), gpus(None)).total for gb in (6.0, 12.0)]
    assert None not in needs and needs[0] + 3e9 < needs[1]


def test_gradients_that_are_computed_twice_take_half_as_long_again() -> None:
    kept = longest_kept(gradients(900), gpus(24.0))
    assert kept is not None and 256 < kept < 2048
    short, long = gradients(kept), gradients(kept + 1)
    assert gpu_hours(long, Machine(), gpus(24.0)) == pytest.approx(1.5 * (kept + 1) / kept * gpu_hours(short, Machine(), gpus(24.0)))  # fmt: skip
    assert gpu_hours(long, Machine(), gpus(80.0)) == pytest.approx(gpu_hours(short, Machine(), gpus(24.0)) * (kept + 1) / kept)  # fmt: skip
    assert longest_kept(short, gpus(10.0)) == 0 and longest_kept(short, gpus(None)) is None


def test_a_plan_says_which_gradients_are_computed_twice() -> None:
    made = files.load(REAL[0])
    (small,) = [line for line in planned.grounds(made, [32.0]) if line.startswith("gradients:")]
    assert "are computed forward twice" in small and "as a row has 900 tokens in the mean" in small
    (unknown,) = [line for line in planned.grounds(made, [None]) if line.startswith("gradients:")]
    assert "an unknown GPU" in unknown and not [g for g in planned.grounds(made, ONE) if g.startswith("gradients:")]


@pytest.mark.parametrize(
    ("need", "fits", "is_tight"), [(60.0, True, False), (70.0, True, True), (90.0, True, True), (93.0, False, False)]
)
def test_only_what_cannot_fit_is_refused_and_what_may_not_fit_is_close(need: float, fits: bool, is_tight: bool) -> None:
    made = Need(1, total=int(need * 1e9), least=int(need * 1e9))
    assert (made.fits(gpus(80.0)), made.is_tight(gpus(80.0))) == (fits, is_tight)
    assert made.fits(gpus(None)) is None and not made.is_tight(gpus(None))


def test_a_stage_that_is_close_to_the_limit_is_told_and_not_refused(tmp_path: Path) -> None:
    made = with_coder(tmp_path, optimizer="adamw_8bit_sr", micro_batch=4)
    (row,) = [r for r in planned.rows(made, [48.0]) if r["stage"] == "coder"]
    assert row["fits"] is True and row["is_tight"] is True and refusal(made, [48.0]) == ""
    (said,) = fitting.close(made, ["coder"], [48.0])
    assert "coder.training" in said and "close to the limit" in said and "15%" in said
    assert fitting.close(made, ["coder"], ONE) == [] == fitting.close(made, ["pool"], [48.0])


def test_dollars_of_each_stage_stand_in_the_table(tmp_path: Path) -> None:
    price = ("--set", "machine.price_per_gpu_hour=3", "--set", "machine.gpus=1", "--set", "machine.gpu_memory_gb=80")
    told = scoder_here("run", REAL[0], "--dry-run", *price, folder=tmp_path).stdout
    (row,) = [line for line in told.splitlines() if "│coder.training" in line]
    hours, _, dollars, _ = [part.strip() for part in row.strip("│").split("│")][-4:]
    assert float(dollars) == pytest.approx(3 * float(hours), abs=0.02) and float(dollars) > 5


def test_yarn_stretches_the_places_of_a_model() -> None:
    config = {"model_type": "qwen2", "hidden_size": 64, "intermediate_size": 128, "num_hidden_layers": 2,
              "num_attention_heads": 2, "vocab_size": 100, "max_position_embeddings": 32_768}  # fmt: skip
    yarn = {"rope_type": "yarn", "factor": 4.0, "original_max_position_embeddings": 32_768}
    places = [shape_of(config | given).positions for given in ({}, {"rope_scaling": yarn}, {"rope_scaling": {"type": "linear", "factor": 4}})]  # type: ignore[union-attr] # a plain model has a shape  # fmt: skip
    assert places == [32_768, 131_072, 32_768]
    assert VllmSettings().max_model_tokens <= 32_768


def test_all_refusals_are_said_at_once_by_a_plan_and_by_a_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SCODER_SIMULATED_GPUS", "1x80")
    monkeypatch.setenv("OPENAI_API_KEY", "a key")
    changes = ("--set", "coder.training.optimizer=adamw", "--set", "synthesizer.engine.max_model_tokens=40000")
    store = ("--store", str(tmp_path / "store"))
    both = [scoder_here("run", "qwen2.5-coder-7b", *changes, *more, *store, folder=tmp_path) for more in ([], ["--dry-run"])]  # fmt: skip
    assert [done.returncode for done in both] == [2, 2]
    number = 10 if importlib.util.find_spec("vllm") is None else 9
    ran, planned_ = (done.stderr[done.stderr.index(f"{number} things are in the way") :] for done in both)
    assert ran.strip() == planned_.strip()
    for part in ("benchmark 'humaneval'", "benchmark 'bigcodebench-hard'", "max_model_tokens=32768", "optimizer=adamw_8bit_sr"):  # fmt: skip
        assert part in ran, part


def summary(name: str, gb: float | None, *changes: str) -> tuple[str, list[dict[str, Any]]]:
    """The line on memory under the plan, and the steps above it."""
    *steps, total = planned.rows(files.load(name, list(changes)), [gb])
    return plans.totals(steps, total)[-1], steps


def test_the_summary_names_the_tightest_stage_and_agrees_with_the_table() -> None:
    said, steps = summary(REAL[0], 80.0)
    known = [row for row in steps if row["gpus"]]
    shares = {row["field"]: row["needed_gb"] / (80 * (0.9 if row["field"].endswith("engine") else 1)) for row in known}
    tightest = max(shares, key=lambda field: shares[field])
    assert f"the tightest stage is {tightest}, " in said and said.endswith(": fits")
    assert tightest == "coder.training" and "needs 46.5 of the 80.0 GB" in said
    said, steps = summary(REAL[0], 36.0)
    lacking = {row["field"] for row in steps if row["fits"] is False}
    assert lacking == {"scorer.training", "coder.training"} and ": DOES NOT FIT" in said and "close" not in said
    assert all(field in said for field in lacking)
    said, steps = summary(REAL[0], 50.0)
    assert not [row for row in steps if row["fits"] is False] and said.endswith(": close")
    unknown, _ = summary(REAL[0], None)
    assert unknown.startswith("memory: unknown for ") and "coder.training" in unknown
    said, _ = summary(REAL[0], 80.0, "coder.model=someone/new-model")
    assert said.endswith(": fits; unknown for coder.training, evaluation.engine")


def test_a_mend_that_is_close_itself_is_called_so_and_another_training_is_offered_last(tmp_path: Path) -> None:
    """On 24 GB one row at a time needs 21.3 GB, which may be 15% more."""
    said = next(line for line in refusal(files.load(REAL[0]), [24.0]).splitlines() if "scorer.training (" in line)
    first, second = said.split(", or ")
    assert "micro_batch=1, which needs 21.3 GB and so is close" in first
    tokens = re.search(r"max_tokens=(\d+), which needs ([\d.]+) GB \(that is another training", second)
    assert tokens is not None and float(tokens[2]) / 0.85 <= 24 and int(tokens[1]) < 6144
    more = files.load(REAL[0], ["scorer.training.micro_batch=1", f"scorer.training.max_tokens={int(tokens[1]) + 256}"])
    shape = model_shape(SEVEN)
    assert shape is not None and more.scorer.training is not None
    assert training_memory(shape, more.scorer.training).total / 0.85 > 24e9, "the longest rows that surely fit"


def test_a_mend_that_surely_fits_goes_before_one_that_is_close() -> None:
    said = next(line for line in refusal(files.load(REAL[0]), [36.0]).splitlines() if "scorer.training (" in line)
    # 4 rows need 31.0, and that is close
    assert said.endswith("set scorer.training.micro_batch=2, which needs 24.5 GB")


def test_what_is_close_is_told_the_same_mends_as_what_does_not_fit() -> None:
    made = files.load(REAL[1], ["synthesizer.training.micro_batch=2"])
    (said,) = [line for line in fitting.close(made, ["bootstrap"], [40.0]) if line.startswith("synthesizer.training")]
    assert "set synthesizer.training.micro_batch=1" in said and "use GPUs with more memory" not in said


def test_a_count_that_does_not_fit_is_no_matter_of_predicted_bytes(tmp_path: Path) -> None:
    said = refusal(with_engine(tmp_path, replicas=8), [80.0] * 2)
    assert "replicas" in said and "predicted" not in said.splitlines()[0]


def test_the_laptop_recipe_fits_a_small_gpu() -> None:
    """8 GB, with room for a wrong prediction; its comment says 6."""
    for gb, ends in ((8.0, ": fits"), (6.0, ": close")):
        said, _ = summary("laptop", gb)
        assert said.endswith(ends), said
        assert refusal(files.load("laptop"), [gb]) == ""
    kept = [f"{name}.training.gradient_checkpointing=false" for name in ("scorer", "synthesizer", "coder")]
    assert "scorer.training" in refusal(files.load("laptop", kept), [16.0])
