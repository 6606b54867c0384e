"""The recipe: every choice of a run, typed, with its default and its meaning.

In: a YAML file and `key=value` overrides. Out: a frozen `Recipe`, or a ValueError that names the nearest valid key.
Paths in a recipe are relative to the recipe's own folder.
"""

from __future__ import annotations

import difflib
from pathlib import Path
from typing import Any, Literal

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from builders.engines.settings import EngineSettings
from store import ASPECTS, CODE_ASPECTS, check_name
from training.settings import GradientSettings, SftSettings


class Settings(BaseModel):
    """Frozen, and strict about unknown keys."""

    model_config = ConfigDict(frozen=True, extra="forbid")


def _check_aspects(weights: dict[str, float], where: str) -> None:
    unknown = [a for a in weights if a not in ASPECTS + CODE_ASPECTS]
    if unknown:
        raise ValueError(f"{where}: unknown aspects {unknown}; there are {', '.join(ASPECTS + CODE_ASPECTS)}")
    if weights and (min(weights.values()) < 0 or sum(weights.values()) <= 0):
        raise ValueError(f"{where}: weights must be non-negative with a positive sum, got {weights}")


class Source(Settings):
    """Where source code comes from."""

    name: str
    kind: Literal["stdlib", "tree", "jsonl", "parquet", "hub"]
    path: str | None = Field(None, description="directory or file, for tree, jsonl and parquet")
    dataset: str | None = Field(None, description="Hub id, for hub")
    revision: str | None = Field(None, description="commit of the Hub dataset")
    data_dir: str | None = Field(None, description="folder of the Hub dataset, such as data/python")
    split: str = "train"
    license: str | None = Field(None, description="licence of all files of a tree; rows bring their own column")
    content_column: str = "content"
    path_column: str = "max_stars_repo_path"
    license_column: str = "max_stars_repo_licenses"
    repo_column: str = "max_stars_repo_name"
    exclude: tuple[str, ...] = Field((), description="path prefixes to leave out")
    max_files: int | None = Field(None, ge=1)
    files_per_shard: int = Field(200, ge=1)

    @model_validator(mode="after")
    def _has_what_its_kind_needs(self) -> Source:
        check_name(self.name, "source name")
        needed = {"tree": "path", "jsonl": "path", "parquet": "path", "hub": "dataset"}.get(self.kind)
        if needed and getattr(self, needed) is None:
            raise ValueError(f"source {self.name!r} of kind {self.kind!r} needs `{needed}`")
        return self


class Pool(Settings):
    """Thresholds of queries/pool.sql."""

    min_lines: int = 3
    max_lines: int = 150
    max_chars: int = 20_000
    min_tokens: int = 20
    max_tokens: int = 2000
    min_statements: int = 2
    max_cyclomatic: int = 30
    min_arguments: int = 1
    min_docstring_words: int = 5
    min_docstring_ascii: float = 0.95
    max_undefined_names: int = 0
    include_methods: bool = Field(False, description="methods need their class: off by default")
    licenses: tuple[str, ...] = Field((), description="allow-list for every licence of a file; empty allows all")
    banned_imports: tuple[str, ...] = ("argparse", "os", "subprocess", "sys", "setuptools", "distutils", "matplotlib")


class Benchmark(Settings):
    """A benchmark to decontaminate against and, if asked, to evaluate on."""

    name: str
    path: str
    evaluate: bool = False

    @model_validator(mode="after")
    def _name_is_a_path_segment(self) -> Benchmark:
        check_name(self.name, "benchmark name")
        return self


class Decontamination(Settings):
    """The two detectors and when a hit counts."""

    ngram: int = Field(10, ge=1, description="length of token n-grams")
    min_string_chars: int = Field(40, ge=1, description="benchmark texts shorter than this are too common to count")
    min_strength: float = Field(
        0.5,
        ge=0.2,
        description="share of a task's n-grams that an item must hold to be left out; weaker hits are not kept",
    )


class Teacher(Settings):
    """The superior samples."""

    engine: Literal["docstring", "openai", "transformers", "vllm"] = "docstring"
    model: str = "docstring"
    base_url: str | None = None
    api_key_env: str = Field("OPENAI_API_KEY", pattern=r"^[A-Z_][A-Z0-9_]*$")
    num_snippets: int = Field(1000, ge=1)
    reference_share: float = Field(0.15, ge=0, lt=1)
    validation_share: float = Field(0.15, ge=0, lt=1)
    scorer_share: float = Field(0.5, ge=0, le=1, description="of the train split, used to fine-tune the scorer")
    prompt: str = "teacher"
    max_tokens: int = Field(2048, ge=1)
    temperature: float = Field(0.7, ge=0)
    price_per_million_input: float | None = None
    price_per_million_output: float | None = None

    @model_validator(mode="after")
    def _splits_and_address(self) -> Teacher:
        held_out = self.reference_share + self.validation_share
        if held_out >= 1:
            raise ValueError(f"reference_share and validation_share add up to {held_out}: nothing is left to train on")
        try:
            EngineSettings(base_url=self.base_url)
        except ValidationError as error:
            # its text would show the address, and with it the credentials that it refuses
            raise ValueError(error.errors()[0]["msg"].removeprefix("Value error, ")) from None
        return self

    def engine_settings(self) -> EngineSettings:
        """The engine that asks the teacher."""
        if self.engine == "docstring":
            raise ValueError("the docstring teacher needs no engine")
        return EngineSettings(
            engine=self.engine,
            base_url=self.base_url,
            api_key_env=self.api_key_env,
            price_per_million_input=self.price_per_million_input,
            price_per_million_output=self.price_per_million_output,
        )


class Synthesizer(Settings):
    """The small model that becomes the data synthesizer."""

    model: str
    revision: str | None = None
    prompt: str = "synthesizer"
    engine: EngineSettings = EngineSettings()
    training: SftSettings = SftSettings()
    train_from: Literal["base", "previous"] = "base"
    accumulate: bool = Field(False, description="train G_t on the selections of all iterations instead of the last")


class Sampling(Settings):
    """Multi-checkpoint sampling."""

    checkpoints: int = Field(4, ge=1, description="M")
    samples_per_checkpoint: int = Field(4, ge=1, description="N")
    snippets_per_iteration: int = Field(10_000, ge=1)
    temperature: float = Field(0.8, ge=0)
    top_p: float = Field(0.95, gt=0, le=1)
    max_tokens: int = Field(1024, ge=1)
    requests_per_shard: int = Field(256, ge=1)
    base_snippets: int = Field(
        0, ge=0, description="snippets that the untrained base is sampled on, to report its parse rate"
    )


class Scorer(Settings):
    """Who scores the aspects."""

    model: str | None = Field(None, description="None: the synthesizer's base")
    revision: str | None = None
    prompt: str = "scorer"
    engine: EngineSettings = EngineSettings()
    training: SftSettings | None = Field(None, description="fine-tune on labels from corruptions; None: as it is")
    corruptions_per_sample: int = Field(4, ge=0)


class Scoring(Settings):
    """The weighting of the aspects."""

    method: Literal["contrast", "fixed"] = "contrast"
    weights: dict[str, float] = Field(default_factory=dict, description="for fixed; empty gives equal weights")
    l2: float = Field(1.0, ge=0)

    @model_validator(mode="after")
    def _weights_name_aspects(self) -> Scoring:
        _check_aspects(self.weights, "scoring.weights")
        return self


class Influence(Settings):
    """Gradient-based influence."""

    gradients: GradientSettings = GradientSettings()
    reference: str = Field("teacher", description="name of the reference set: the teacher's reference split")
    margin: float = Field(
        2.0, ge=1.0, description="gradients for this many times the candidates that the selection ranks"
    )


class Selection(Settings):
    """Thresholds of queries/selected.sql."""

    min_score: float = 0.0
    max_per_snippet: int = Field(1, ge=1)
    top_share: float = Field(0.5, gt=0.0, le=1.0, description="p, kept by influence")
    max_rows: int | None = None
    max_per_difficulty: int | None = Field(None, ge=1, description="quota: candidates of one difficulty digit")
    min_influence: float = -1.0
    weights: dict[str, float] = Field(
        default_factory=dict, description="another weighting than scoring's; empty: scoring's"
    )

    @model_validator(mode="after")
    def _weights_name_aspects(self) -> Selection:
        _check_aspects(self.weights, "selection.weights")
        return self


class Final(Settings):
    """The final generation and the published instructions."""

    max_snippets: int | None = Field(None, description="None: the whole pool outside the teacher's snippets")
    samples: int = Field(1, ge=1)
    min_score: float = 0.0
    max_rows: int | None = None


class Mix(Settings):
    """A public instruction set that the coder is trained on too."""

    dataset: str = Field(description="Hub id, dataset folder, or a JSON(L) or Parquet file")
    revision: str | None = None
    split: str = "train"
    max_rows: int | None = Field(None, ge=1)
    license: str = Field("unknown", description="of rows that name none")


class Coder(Settings):
    """The code model that is fine-tuned on the instructions."""

    model: str
    revision: str | None = None
    mix: tuple[Mix, ...] = ()
    training: SftSettings = SftSettings()


class Evaluation(Settings):
    """pass@k in the sandbox."""

    engine: EngineSettings = EngineSettings()
    num_samples: int = Field(1, ge=1)
    temperature: float = 0.0
    max_tokens: int = 512
    wall_s: float = 10.0


class Executor(Settings):
    """How shards become tasks."""

    kind: Literal["local"] = "local"
    workers: int = 2


class Recipe(Settings):
    """One run of the method."""

    name: str
    seed: int = 0
    iterations: int = Field(2, ge=1, description="T")
    sources: tuple[Source, ...] = Field(min_length=1)
    pool: Pool = Pool()
    benchmarks: tuple[Benchmark, ...] = ()
    decontamination: Decontamination = Decontamination()
    teacher: Teacher = Teacher()
    synthesizer: Synthesizer
    sampling: Sampling = Sampling()
    scorer: Scorer = Scorer()
    scoring: Scoring = Scoring()
    influence: Influence = Influence()
    selection: Selection = Selection()
    selection_name: str = Field("default", description="the selection that training reads")
    final: Final = Final()
    coder: Coder
    evaluation: Evaluation = Evaluation()
    executor: Executor = Executor()

    @model_validator(mode="after")
    def _names_are_path_segments(self) -> Recipe:
        check_name(self.selection_name, "selection_name")
        for what, names in (
            ("source", [s.name for s in self.sources]),
            ("benchmark", [b.name for b in self.benchmarks]),
        ):
            if twice := sorted({n for n in names if names.count(n) > 1}):
                raise ValueError(
                    f"{what} names must differ, as they name files of the store; twice: {', '.join(twice)}"
                )
        if self.sampling.checkpoints > self.synthesizer.training.num_checkpoints:
            raise ValueError(
                f"sampling.checkpoints is {self.sampling.checkpoints} but synthesizer.training.num_checkpoints "
                f"saves only {self.synthesizer.training.num_checkpoints}"
            )
        return self


def load(path: str | Path, overrides: list[str] | None = None) -> Recipe:
    """The recipe of a YAML file with `section.key=value` overrides (values are YAML)."""
    path = Path(path)
    if not path.is_file():
        known = ", ".join(sorted(p.stem for p in (Path(__file__).parent.parent / "recipes").glob("*.yaml")))
        raise FileNotFoundError(f"no recipe {path}; recipes/ has {known}")
    try:
        raw = yaml.safe_load(path.read_text()) or {}
    except yaml.YAMLError as error:
        raise ValueError(f"{path} is not valid YAML: {error}") from None
    if not isinstance(raw, dict):
        raise ValueError(f"{path}: a recipe is a mapping of sections, got {type(raw).__name__}")
    override(raw, overrides or [])
    try:
        return Recipe.model_validate(_resolve_paths(raw, path.parent))
    except ValidationError as error:
        raise ValueError(f"{path}: " + "; ".join(_explain(e, raw) for e in error.errors())) from None


def override(raw: dict[str, Any], items: list[str]) -> dict[str, Any]:
    """`raw` with `section.key=value` items set; values are YAML, list entries are named by their number."""
    for item in items:
        key, sign, value = item.partition("=")
        if not sign or not key:
            raise ValueError(f"--set {item!r}: write section.key=value, such as --set selection.min_score=5")
        *parents, last = key.split(".")
        place: Any = raw
        for parent in parents:
            try:
                place = place[int(parent)] if isinstance(place, list) else place.setdefault(parent, {})
            except (ValueError, IndexError, AttributeError):
                raise ValueError(f"--set {item!r}: there is no {parent!r} to set {last!r} in") from None
        if not isinstance(place, dict):
            raise ValueError(f"--set {item!r}: {'.'.join(parents)} is not a section")
        try:
            place[last] = yaml.safe_load(value)
        except yaml.YAMLError:
            raise ValueError(f"--set {item!r}: {value!r} is not a YAML value") from None
    return raw


def remember(store: str, recipe: Recipe, *, is_new: bool = False) -> None:
    """Keep the recipe in the store, so that `select` and `fill` find it; `is_new` keeps one that is there already.

    A recipe that is refused must not take the place of the one that the store was built with.
    """
    path = Path(store, "_runs", "recipe.yaml")
    if is_new and path.exists():
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(yaml.safe_dump(recipe.model_dump(mode="json"), sort_keys=False))


def recall(store: str, overrides: list[str] | None = None) -> Recipe:
    """The recipe that a store was last run with."""
    path = Path(store, "_runs", "recipe.yaml")
    if not path.exists():
        raise FileNotFoundError(f"the store {store} was never run; name a recipe with --recipe")
    return load(path, overrides)


def _resolve_paths(raw: dict[str, Any], folder: Path) -> dict[str, Any]:
    """Relative paths that exist beside the recipe become absolute; Hub ids stay as they are."""

    def resolved(value: Any) -> Any:
        beside = folder / str(value)
        return str(beside.resolve()) if value and beside.exists() else value

    for section, key in (("sources", "path"), ("benchmarks", "path")):
        for entry in raw.get(section) or []:
            if isinstance(entry, dict) and key in entry:
                entry[key] = resolved(entry[key])
    for section in ("synthesizer", "scorer", "coder"):
        entry = raw.get(section)
        if isinstance(entry, dict) and "model" in entry:
            entry["model"] = resolved(entry["model"])
    return raw


def _explain(error: Any, raw: dict[str, Any]) -> str:
    """One validation error in words, with the nearest valid key for an unknown one."""
    where = ".".join(str(part) for part in error["loc"])
    if error["type"] != "extra_forbidden":
        return f"{where or 'recipe'}: {error['msg'].removeprefix('Value error, ')}" + (
            f" (got {error['input']!r})" if where and not isinstance(error["input"], dict) else ""
        )
    valid = _valid_keys(error["loc"][:-1])
    near = difflib.get_close_matches(str(error["loc"][-1]), valid, n=1, cutoff=0.0)
    return f"unknown key {where!r}; did you mean {near[0]!r}? Valid keys: {', '.join(valid)}"


def _valid_keys(location: tuple[Any, ...]) -> list[str]:
    model: Any = Recipe
    for part in location:
        if isinstance(part, int):
            continue
        model = _settings_in(model.model_fields[part].annotation)
    return list(model.model_fields)


def _settings_in(annotation: Any) -> Any:
    """The settings class inside an annotation such as `tuple[Source, ...]` or `SftSettings | None`."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    for argument in getattr(annotation, "__args__", ()):
        found = _settings_in(argument)
        if found is not None:
            return found
    return None
