"""The recipe: every choice of a run, typed, with its default and its meaning. `files` reads it from YAML."""

from __future__ import annotations

from typing import Annotated, Any, Literal

import pyarrow as pa
import pyarrow.compute as pc
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from builders.engines import prompts
from builders.engines.settings import EngineSettings, Pace
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


def _filled_as(default: str) -> AfterValidator:
    """A prompt that takes what the default one of its field takes."""

    def check(name: str) -> str:
        if prompts.slots(name) != prompts.slots(default):
            wanted, has = sorted(prompts.slots(default)), sorted(prompts.slots(name))
            raise ValueError(f"prompt {name!r} has slots {has}, here it needs {wanted}, as {default!r} has")
        return name

    return AfterValidator(check)


class Source(Settings):
    """Where source code comes from."""

    name: str
    kind: Literal["stdlib", "tree", "packages", "archive", "jsonl", "parquet", "hub"]
    path: str | None = Field(
        None,
        description="directory of a tree, or of installed packages (None: those of the running Python); file, directory or "
        "glob such as data/*.jsonl.gz, for archive (tar, zip, wheel, sdist), jsonl and parquet",
    )
    dataset: str | None = Field(None, description="Hub id or local folder of a dataset, for hub")
    revision: str | None = Field(None, description="commit of the Hub dataset")
    data_dir: str | None = Field(None, description="folder of the Hub dataset, such as data/python")
    split: str = "train"
    license: str | None = Field(
        None, description="licence of all files of a tree; of what names none in rows, packages and archives"
    )
    content_column: str = "content"
    path_column: str = "max_stars_repo_path"
    license_column: str = "max_stars_repo_licenses"
    repo_column: str = "max_stars_repo_name"
    exclude: tuple[str, ...] = Field((), description="path prefixes to leave out")
    max_files: int | None = Field(None, ge=1)
    files_per_shard: int = Field(
        200, ge=1, description="a row group of Parquet and a compressed stream are never cut, so theirs may be larger"
    )

    @model_validator(mode="after")
    def _has_what_its_kind_needs(self) -> Source:
        check_name(self.name, "source name")
        needed = {"hub": "dataset", "stdlib": None, "packages": None}.get(self.kind, "path")
        if needed and getattr(self, needed) is None:
            raise ValueError(f"source {self.name!r} of kind {self.kind!r} needs `{needed}`")
        return self


class Pool(Settings):
    """Thresholds of queries/pool_verdicts.sql; all are inclusive."""

    min_lines: int = 3
    max_lines: int = 150
    max_chars: int = 20_000
    min_tokens: int = 20
    max_tokens: int = 2000
    min_statements: int = 2
    max_cyclomatic: int = 30
    min_arguments: int = 1
    max_literal_share: float = Field(0.35, description="literals per token; more is a data table")
    min_docstring_words: int = 5
    min_docstring_ascii: float = 0.8
    min_docstring_english: float = 0.55
    min_docstring_sufficiency: float = Field(0.2, description="estimate; see builders/checks/docstrings.py")
    min_docstring_score: float = Field(
        5.0, ge=0, le=9, description="mean digit of the docstring_judge, if there is one"
    )
    max_undefined_names: int = 0
    infer_imports: bool = Field(True, description="names such as np and re count as known; else as undefined")
    max_type_errors: int | None = Field(
        0, description="of snippets without undefined names; null: type errors do not matter"
    )
    include_methods: bool = Field(False, description="methods need their class: off by default")
    licenses: tuple[str, ...] = Field(
        (), description="allow-list; a text needs all licences of one of its choices. Empty allows all"
    )
    banned_imports: tuple[str, ...] = ("argparse", "os", "subprocess", "sys", "setuptools", "distutils", "matplotlib")
    test_paths: str = Field(
        r"(^|/)(tests?|testsuite|examples?|demos?|docs?|tutorials?|benchmarks?)/|(^|/)(test_[^/]*|[^/]*_tests?|conftest)\.py$",
        description="regular expression; a snippet that was found in such files alone is a test or an example. '' is none",
    )
    generated_paths: str = Field(
        r"_pb2(_grpc)?\.py$|(^|[/_.])(auto)?generated([/_.]|$)",
        description="likewise for files that a program wrote. '' is none",
    )

    @field_validator("test_paths", "generated_paths")
    @classmethod
    def _is_an_expression(cls, value: str) -> str:
        try:
            pc.match_substring_regex(pa.array([""]), value)  # RE2, as DuckDB's
        except pa.ArrowInvalid as error:
            raise ValueError(f"{error} (RE2: no look-around)") from None
        return value


class DocstringJudge(Settings):
    """A model that says whether a docstring suffices to write its function again; asked last, of what would be the pool."""

    model: str
    revision: str | None = None
    prompt: Annotated[str, _filled_as("docstring-judge")] = "docstring-judge"
    engine: EngineSettings = EngineSettings()


class NearDuplicates(Settings):
    """How near-duplicates are found. The `min_` fields are thresholds of queries/pool_verdicts.sql;
    either suffices.
    """

    min_similarity_raw: float = Field(0.8, gt=0, le=1, description="Jaccard similarity of raw token grams")
    min_similarity_renamed: float = Field(
        0.85, gt=0, le=1, description="the same up to the names that a function binds"
    )
    floor: float = Field(0.6, gt=0, le=1, description="less similar pairs are not stored")
    raw_gram: int = Field(5, ge=1, le=32, description="tokens per gram")
    renamed_gram: int = Field(8, ge=1, le=32)
    short_tokens: int = Field(24, ge=1, le=32, description="functions of fewer tokens must be equal")
    bands: int = Field(24, ge=1, description="of the LSH; with 6 rows a similarity of 0.8 is found in 99.9% of cases")
    rows: int = Field(6, ge=1)
    max_heads: int = Field(16, ge=1, description="stored per snippet, the most similar ones")

    @model_validator(mode="after")
    def _can_be_decided(self) -> NearDuplicates:
        least = min(self.min_similarity_raw, self.min_similarity_renamed)
        if least < self.floor:
            raise ValueError(f"a threshold of {least} needs a floor of at most that, got {self.floor}")
        longest = max(self.raw_gram, self.renamed_gram)
        if longest > self.short_tokens:
            raise ValueError(f"grams of {longest} tokens need short_tokens of at least that, got {self.short_tokens}")
        return self


class Benchmark(Settings):
    """A benchmark to decontaminate against and, if asked, to evaluate on."""

    name: str
    path: str = Field(description="file, dataset folder or Hub id")
    config: str | None = Field(None, description="configuration of the Hub dataset, such as humaneval-py")
    split: str | None = Field(None, description="split of the dataset; None: test, or the only one")
    revision: str | None = Field(None, description="commit of the Hub dataset")
    evaluate: bool = False

    @model_validator(mode="after")
    def _name_is_a_path_segment(self) -> Benchmark:
        check_name(self.name, "benchmark name")
        return self


class Decontamination(Settings):
    """The detectors and when a hit counts; what each finds is told in builders/decontamination/detectors."""

    detectors: tuple[Literal["string", "ngram", "renamed", "prose", "literals"], ...] = Field(
        ("string", "ngram", "renamed", "prose", "literals"),
        min_length=1,
        description="what is looked for; where two of ngram or renamed, prose and literals are, their agreement counts too",
    )
    ngram: int = Field(6, ge=1, le=32, description="tokens of a raw n-gram")
    min_string_chars: int = Field(40, ge=1, description="benchmark texts shorter than this are too common to count")
    min_strength: float = Field(
        0.5,
        ge=0.2,
        le=1,
        description="a hit of this strength leaves an item out; every detector is calibrated to 0.5; weaker hits than 0.2"
        " are not kept",
    )


class Teacher(Settings, Pace):
    """The superior samples."""

    engine: Literal["docstring", "openai", "transformers", "vllm"] = "docstring"
    model: str = "docstring"
    base_url: str | None = None
    num_snippets: int = Field(1000, ge=1)
    reference_share: float = Field(0.15, ge=0, lt=1)
    validation_share: float = Field(0.15, ge=0, lt=1)
    scorer_share: float = Field(0.5, ge=0, le=1, description="of the train split, used to fine-tune the scorer")
    prompt: Annotated[str, _filled_as("teacher")] = "teacher"
    max_tokens: int = Field(2048, ge=1)
    temperature: float = Field(0.7, ge=0)
    answer_form: Literal["tagged", "json"] = Field(
        "tagged", description="json: held to a schema by the endpoint, with a prompt that asks for it"
    )
    max_reasks: int = Field(0, ge=0, description="how often an answer that holds no valid pair is asked for again")
    run_examples: bool = Field(True, description="run the examples that a sample carries, and reject it if one fails")

    @model_validator(mode="after")
    def _form_can_be_had(self) -> Teacher:
        if self.answer_form == "json" and self.engine != "openai":
            raise ValueError(f"answer_form json needs engine openai, got {self.engine}: use tagged")
        if self.answer_form == "json" and self.prompt == "teacher":
            raise ValueError("answer_form json needs a prompt that asks for JSON: set prompt to teacher-json")
        return self

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
            **{name: getattr(self, name) for name in Pace.model_fields},
        )


class Synthesizer(Settings):
    """The small model that becomes the data synthesizer."""

    model: str
    revision: str | None = None
    prompt: Annotated[str, _filled_as("synthesizer")] = "synthesizer"
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
    prompt: Annotated[str, _filled_as("scorer")] = Field(
        "scorer", description="scorer: rubrics, then the item; scorer-short: no rubrics, for a small fine-tuned scorer"
    )
    engine: EngineSettings = EngineSettings()
    training: SftSettings | None = Field(None, description="fine-tune it on labelled pairs; None: as it is")
    labels: Literal["corruptions", "teacher"] = Field(
        "corruptions",
        description="whose digits it learns: what a corruption is known to spoil, or the teacher's own scores of the same pairs",
    )
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
    reference: str = Field(
        "teacher",
        description="the reference set that selections rank by: teacher, its whole reference split, or a name below",
    )
    reference_sets: dict[str, str] = Field(
        default_factory=dict,
        description="further reference sets by name: SQL conditions on teacher_samples within its reference split; "
        "all are computed in one pass over stored gradients",
    )
    margin: float = Field(
        2.0, ge=1.0, description="gradients for this many times the candidates that the selection ranks"
    )
    workers: int | None = Field(
        None, ge=1, description="processes that compute gradients; null: one per GPU, one on a machine without"
    )

    @model_validator(mode="after")
    def _references_have_names(self) -> Influence:
        for name in (self.reference, *self.reference_sets):
            check_name(name, "reference")
        if "teacher" in self.reference_sets:
            raise ValueError("influence.reference_sets: teacher is the whole reference split; take another name")
        if self.reference not in ("teacher", *self.reference_sets):
            known = ", ".join(["teacher", *self.reference_sets])
            raise ValueError(f"influence.reference: no reference {self.reference!r}; there are {known}")
        return self


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


_SLURM_VALUE = r"^[A-Za-z0-9_.,:@+-]+$"
"""What stands in a line of a batch script."""

_EXECUTOR_KINDS = {
    "cpus_per_task": ("ray", "slurm"),
    "mem_per_cpu_gb": ("ray", "slurm"),
    "address": ("ray",),
    "retries": ("ray",),
    **dict.fromkeys(("partition", "time", "qos", "account", "sbatch", "activate"), ("slurm",)),
    **dict.fromkeys(("shards_per_task", "max_array_size", "poll_s"), ("slurm",)),
}


class Executor(Settings):
    """How shards become tasks: processes here, or tasks of a Ray or a Slurm cluster. No row depends on any of this."""

    kind: Literal["local", "ray", "slurm"] = "local"
    workers: int | Literal["auto"] = Field(
        "auto",
        description="tasks at a time; auto: one per CPU, of the machine or the Ray cluster, and on Slurm no limit",
    )
    cpus_per_task: int = Field(1, ge=1, description="ray and slurm")
    mem_per_cpu_gb: int = Field(2, ge=1, description="ray and slurm")
    address: str = Field("auto", description="ray: HOST:PORT of the cluster; auto: the one of this machine")
    retries: int = Field(3, ge=0, description="ray: attempts more for a shard whose worker or node was lost")
    partition: str | None = Field(None, pattern=_SLURM_VALUE, description="slurm")
    time: str | None = Field(None, pattern=r"^[0-9]+([:-][0-9]+)*$", description="slurm: limit of a task, as HH:MM:SS")
    qos: str | None = Field(None, pattern=_SLURM_VALUE, description="slurm")
    account: str | None = Field(None, pattern=_SLURM_VALUE, description="slurm")
    sbatch: dict[Annotated[str, Field(pattern=r"^[a-z][a-z-]*$")], Annotated[str, Field(pattern=_SLURM_VALUE)]] = Field(
        default_factory=dict, description="slurm: further options, such as {constraint: skylake}"
    )
    activate: str | None = Field(None, description="slurm: shell command before a task; None: this virtual environment")
    shards_per_task: int = Field(1, ge=1, description="slurm: raised where an array would grow too long")
    max_array_size: int = Field(1001, ge=1, description="slurm: MaxArraySize of the cluster")
    poll_s: float = Field(5.0, gt=0, description="slurm: seconds between two looks at the queue")

    @field_validator("time", mode="before")
    @classmethod
    def _time_is_text(cls, value: Any) -> Any:
        if isinstance(value, int):
            raise ValueError('YAML reads 10:00:00 as a number; write it in quotes: "10:00:00"')
        return value

    @model_validator(mode="after")
    def _fits_its_kind(self) -> Executor:
        for name, kinds in _EXECUTOR_KINDS.items():
            default = type(self).model_fields[name].get_default(call_default_factory=True)
            if self.kind not in kinds and getattr(self, name) != default:
                raise ValueError(f"executor.{name} is for {' and '.join(kinds)}, and the kind is {self.kind!r}")
        if self.kind == "slurm" and not (self.partition and self.time):
            raise ValueError('an executor of kind slurm needs `partition` and `time` (in quotes: "02:00:00")')
        if self.workers != "auto" and self.workers < 1:
            raise ValueError(f"executor.workers is at least 1, or auto; got {self.workers}")
        if self.address.startswith("ray://"):
            raise ValueError(
                "executor.address: run on a machine of the cluster, with HOST:PORT; ray:// is not supported"
            )
        return self


class Recipe(Settings):
    """One run of the method."""

    name: str
    seed: int = 0
    iterations: int = Field(2, ge=1, description="T")
    sources: tuple[Source, ...] = Field(min_length=1)
    pool: Pool = Pool()
    docstring_judge: DocstringJudge | None = None
    near_duplicates: NearDuplicates = NearDuplicates()
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
        if self.scorer.labels == "teacher" and (self.teacher.engine == "docstring" or self.scorer.training is None):
            raise ValueError(
                "scorer.labels is teacher: that needs a teacher.engine that can be asked, and scorer.training to learn them"
            )
        return self
