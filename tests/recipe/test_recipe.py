"""The recipe: every one that ships loads, and every setting says what it means.

A misspelt key is told with its nearest, and nothing secret is kept.
"""

import os
import types
import typing
from pathlib import Path

import pytest
import yaml
from pydantic import BaseModel

from builders.engines import AnyEngine
from builders.recipe import Recipe, yaml_text
from builders.recipe.files import load, override, recall, remember
from store.errors import InputError, MissingError
from training.settings import WarmupSettings

RECIPES = sorted((Path(__file__).resolve().parents[2] / "recipes").glob("*.yaml"))
LEAST = {
    "name": "mine",
    "sources": [{"name": "stdlib", "kind": "stdlib"}],
    "synthesizer": {"model": "a/model"},
    "coder": {"model": "a/model"},
    "sampling": {"checkpoints": 1},
}


def written(folder: Path, raw: dict) -> Path:
    path = folder / "mine.yaml"
    path.write_text(yaml_text.write(raw))
    return path


def error_of(folder: Path, *overrides: str, **sections) -> str:
    with pytest.raises(ValueError) as caught:
        load(written(folder, LEAST | sections), list(overrides))
    return str(caught.value)


@pytest.mark.parametrize("path", RECIPES, ids=lambda p: p.stem)
def test_every_recipe_that_ships_loads_and_says_what_it_is(path):
    assert load(path).name == path.stem
    assert path.read_text().startswith("#")


def test_there_are_recipes_that_ship():
    assert {"tiny", "smoke"} <= {p.stem for p in RECIPES}


class Kind(str):
    """Not a key: the kind of engine whose block this is."""


def all_keys(model: type[BaseModel], where: tuple = ()) -> typing.Iterator[tuple]:
    """Every key of the recipe at every depth, as a path of keys with 0 for a list entry."""
    for name, field in model.model_fields.items():
        yield (*where, name)
        for inner, is_list in settings_in(field.annotation):
            below = (*where, name, 0) if is_list else (*where, name)
            yield from all_keys(inner, (*below, Kind(inner().engine)) if issubclass(inner, AnyEngine) else below)


def settings_in(annotation, is_list=False):
    if (
        isinstance(annotation, type)
        and not isinstance(annotation, types.GenericAlias)
        and issubclass(annotation, BaseModel)
    ):
        yield annotation, is_list
    for argument in typing.get_args(annotation):
        yield from settings_in(argument, is_list or typing.get_origin(annotation) is tuple)


KEYS = list(all_keys(Recipe))


def test_the_keys_below_reach_every_depth():
    assert ("scorer", "training", "lora", "r") in KEYS and ("sources", 0, "kind") in KEYS and len(KEYS) > 130


def models_in(model: type[BaseModel]) -> typing.Iterator[type[BaseModel]]:
    yield model
    for field in model.model_fields.values():
        for inner, _ in settings_in(field.annotation):
            yield from models_in(inner)


@pytest.mark.parametrize(
    "model",
    sorted({*models_in(Recipe), *models_in(WarmupSettings)}, key=lambda m: m.__name__),
    ids=lambda m: m.__name__,
)
def test_every_setting_and_every_section_says_what_it_means(model):
    """The guide is made from these texts."""
    assert model.__doc__ and model.__doc__ != BaseModel.__doc__
    silent = [name for name, field in model.model_fields.items() if len(field.description or "") < 10]
    assert not silent, f"{model.__name__}: no description for {silent}"


@pytest.mark.parametrize("key", KEYS, ids=lambda k: ".".join(map(str, k)))
def test_a_misspelt_key_names_the_nearest(tmp_path, key):
    *parents, right = key
    wrong = right + "x" if len(right) < 3 else right[:-1] + "xq"
    raw = {**LEAST, "benchmarks": [{"name": "b", "path": "b.jsonl"}]}
    place = raw = yaml.safe_load(yaml.safe_dump(raw))  # a copy whose parts are its own
    raw["coder"]["mix"] = [{"dataset": "d"}]
    for parent in parents:
        if isinstance(parent, Kind):
            place["engine"] = str(parent)
        else:
            place = place[parent] if isinstance(place, list) else place.setdefault(parent, {})
    place[wrong] = 1
    with pytest.raises(ValueError) as caught:
        load(written(tmp_path, raw))
    where = ".".join(str(part) for part in [*parents, wrong] if not isinstance(part, Kind))
    assert f"unknown key {where!r}; did you mean {right!r}? Valid keys: " in str(caught.value)


def test_a_key_of_another_engine_says_whose_it_is(tmp_path):
    text = error_of(tmp_path, scorer={"engine": {"engine": "vllm", "micro_batch": 4}})
    assert "scorer.engine.micro_batch: 'micro_batch' is for engine transformers, and this one is vllm" in text
    text = error_of(tmp_path, teacher={"model": "m", "engine": {"engine": "openai", "dtype": "float32"}})
    assert "teacher.engine.dtype: 'dtype' is for engine transformers and vllm, and this one is openai" in text


def test_all_mistakes_are_told_at_once(tmp_path):
    text = error_of(tmp_path, pool={"max_linse": 3}, selection={"top_share": 2.0}, seed="x")
    assert "did you mean 'max_lines'" in text
    assert "selection.top_share: Input should be less than or equal to 1 (got 2.0)" in text
    assert "seed: " in text and "(got 'x')" in text


@pytest.mark.parametrize(
    "item, section, expected",
    [
        ("seed=7", lambda r: r.seed, 7),
        ("pool.max_lines=9", lambda r: r.pool.max_lines, 9),
        ("synthesizer.training.lora.r=4", lambda r: r.synthesizer.training.lora.r, 4),
        ("synthesizer.training.learning_rate=1e-3", lambda r: r.synthesizer.training.learning_rate, 0.001),
        ("synthesizer.training.lora=null", lambda r: r.synthesizer.training.lora, None),
        ("sources.0.max_files=5", lambda r: r.sources[0].max_files, 5),
        ("sources.0.exclude=[test/, idlelib/]", lambda r: r.sources[0].exclude, ("test/", "idlelib/")),
        ("scoring.weights={clarity: 1, lint: 2.5}", lambda r: r.scoring.weights, {"clarity": 1.0, "lint": 2.5}),
        ("teacher.engine={engine: openai, base_url: 'http://x:8000/v1?='}", None, None),
        ("coder.model=a/b=c", lambda r: r.coder.model, "a/b=c"),
        ("final.max_snippets=", lambda r: r.final.max_snippets, None),
    ],
)
def test_overrides_are_yaml_values_at_any_depth(tmp_path, item, section, expected):
    path = written(tmp_path, LEAST)
    if section is None:
        with pytest.raises(ValueError, match=r"teacher\.engine: base_url holds a user, a password or a key"):
            load(path, [item])
        return
    assert section(load(path, [item])) == expected
    assert section(load(path, [item, item])) == expected


@pytest.mark.parametrize(
    "item, message",
    [
        ("seed", "--set 'seed': write section.key=value"),
        ("=3", "--set '=3': write section.key=value"),
        ("sources.1.max_files=3", "there is no '1' to set 'max_files' in"),
        ("sources.first.max_files=3", "there is no 'first' to set 'max_files' in"),
        ("sources.0=3", "sources is not a section"),
        ("name.first=3", "name is not a section"),
        ("name.first.second=3", "there is no 'first' to set 'second' in"),
        ("pool.banned_imports=[os", "'[os' is not a YAML value"),
        ("pool.max_lines={", "'{' is not a YAML value"),
        ("pool.max_linse=3", "unknown key 'pool.max_linse'; did you mean 'max_lines'?"),
        ("pol.max_lines=3", "unknown key 'pol'; did you mean 'pool'?"),
        ("zzz=3", "unknown key 'zzz'. Valid keys: name, "),
        ("pool.max_lines=many", "pool.max_lines: Input should be a valid integer"),
        ("pool=3", "pool: this is a section: its keys stand below it, indented (got 3)"),
        (
            "pool.licenses=MIT",
            "pool.licenses: this is a list, write [VALUE, VALUE] or a line `- VALUE` for each (got 'MIT')",
        ),
    ],
)
def test_a_bad_override_is_told_with_its_text(tmp_path, item, message):
    assert message in error_of(tmp_path, item)


def test_override_changes_nothing_else():
    raw = {"a": {"b": 1, "c": [{"d": 2}]}}
    assert override(raw, ["a.c.0.d=3", "e.f.g=4"]) == {"a": {"b": 1, "c": [{"d": 3}]}, "e": {"f": {"g": 4}}}
    assert override({"a": None}, ["a.b.c=1"]) == {"a": {"b": {"c": 1}}}


@pytest.mark.parametrize("section", ["scoring", "selection"])
@pytest.mark.parametrize(
    "weights, message",
    [
        ({"clarty": 1.0}, "unknown aspects ['clarty']; there are consistency, correctness"),
        ({"clarity": -1.0, "lint": 2.0}, "no weight may be below 0, and one must be above 0"),
        ({"clarity": 0.0}, "no weight may be below 0, and one must be above 0"),
    ],
)
def test_weights_name_aspects(tmp_path, section, weights, message):
    assert f"{section}.weights: {message}" in error_of(tmp_path, **{section: {"weights": weights}})


@pytest.mark.parametrize("address", ["http://user:hunter2@host/v1", "https://host/v1?key=hunter2", "ftp://hunter2/v1"])
@pytest.mark.parametrize(
    "section",
    [
        lambda a: {"teacher": {"engine": {"engine": "openai", "base_url": a}}},
        lambda a: {"scorer": {"engine": {"engine": "openai", "base_url": a}}},
    ],
)
def test_an_address_with_credentials_is_refused_and_not_repeated(tmp_path, address, section):
    text = error_of(tmp_path, **section(address))
    assert "base_url" in text and "hunter2" not in text


@pytest.mark.parametrize(
    "sections, message",
    [
        ({"sources": []}, "sources: Tuple should have at least 1 item"),
        ({"scorer": {"prompt": "scorer-shrt"}}, "scorer.prompt: no prompt 'scorer-shrt'; there are docstring-judge"),
        (
            {"scorer": {"prompt": "teacher"}},
            "prompt 'teacher' has slots ['code']; here it needs those of 'scorer': ['aspect', 'code', 'problem'",
        ),
        ({"teacher": {"prompt": "scorer"}}, "teacher.prompt: prompt 'scorer' has slots"),
        ({"sources": [{"name": "A", "kind": "stdlib"}]}, "source name 'A' must match"),
        ({"sources": [{"name": "a", "kind": "stdlib"}] * 2}, "two entries of sources have the same name: a"),
        ({"benchmarks": [{"name": "b", "path": p} for p in "xy"]}, "two entries of benchmarks have the same name: b"),
        ({"sources": [{"name": "a", "kind": "jsonl"}]}, "source 'a' of kind 'jsonl' needs `path`"),
        ({"sources": [{"name": "a", "kind": "csv"}]}, "sources.0.kind: Input should be 'stdlib', 'tree'"),
        ({"teacher": {"reference_share": 0.5, "validation_share": 0.5}}, "so no sample is left to train on"),
        ({"scorer": {"labels": "teacher", "training": {}}}, "a teacher that can be asked: set teacher.engine"),
        (
            {"scorer": {"labels": "teacher"}, "teacher": {"model": "m", "engine": {"engine": "openai"}}},
            "That needs scorer.training",
        ),
        ({"teacher": {"num_snippets": 0}}, "teacher.num_snippets: Input should be greater than or equal to 1 (got 0)"),
        ({"decontamination": {"ngram": 0}}, "decontamination.ngram"),
        (
            {"sampling": {"checkpoints": 3}, "synthesizer": {"model": "a", "training": {"num_checkpoints": 1}}},
            "sampling.checkpoints is 3, but a training saves only synthesizer.training.num_checkpoints=1",
        ),
        ({"evaluation": {"temperature": -0.1}}, "evaluation.temperature: Input should be greater than or equal to 0"),
        ({"evaluation": {"max_tokens": 0}}, "evaluation.max_tokens: Input should be greater than or equal to 1"),
        ({"evaluation": {"grading": {"wall_s": 0}}}, "evaluation.grading.wall_s: Input should be greater than 0"),
        ({"evaluation": {"wall_s": 30}}, "wall_s is a limit of grading now: set grading.wall_s to 30 instead"),
        ({"evaluation": {"num_samples": 2}}, "at temperature 0 all answers to a task are the same"),
        ({"evaluation": {"forms": ["chat", "chat"]}}, "forms names one form twice"),
        ({"evaluation": {"forms": []}}, "evaluation.forms: Tuple should have at least 1 item"),
        ({"evaluation": {"temperature": None}}, "temperature is null, which leaves it to an endpoint"),
        ({"sampling": {"checkpoints": 1, "top_p": None}}, "sampling.top_p is null, which leaves it to an endpoint"),
        ({"evaluation": {"top_p": 0}}, "evaluation.top_p: Input should be greater than 0"),
        ({"selection_name": "My Selection"}, "selection_name 'My Selection' must match"),
        ({"iterations": 0}, "iterations: Input should be greater than or equal to 1 (got 0)"),
    ],
)
def test_what_cannot_run_is_refused_before_anything_runs(tmp_path, sections, message):
    assert message in error_of(tmp_path, **sections)


@pytest.mark.parametrize(
    "text, message", [("a: [", "is not valid YAML"), ("- a\n", "a recipe is a mapping of sections, got list")]
)
def test_a_file_that_is_no_recipe(tmp_path, text, message):
    path = tmp_path / "mine.yaml"
    path.write_text(text)
    with pytest.raises(ValueError, match=message):
        load(path)


@pytest.mark.parametrize("name", ["gone.yaml", ".", "tiny"])
def test_an_absent_recipe_lists_those_that_ship(tmp_path, name):
    with pytest.raises(FileNotFoundError, match=r"no recipe .*: give the path .* names: .*, qwen2\.5-coder-7b, .*tiny"):
        load(tmp_path / name)


@pytest.mark.parametrize("path", RECIPES, ids=lambda p: p.stem)
def test_a_recipe_that_ships_is_found_by_its_name_from_any_folder(tmp_path, monkeypatch, path):
    monkeypatch.chdir(tmp_path)
    assert load(path.stem) == load(path)


def test_a_part_of_a_name_is_no_name(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(FileNotFoundError, match=r"no recipe qwen2\.5:"):
        load("qwen2.5")


def test_a_file_that_exists_comes_before_a_name_and_a_folder_does_not(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "smoke").mkdir()
    assert load("smoke").name == "smoke"
    (tmp_path / "tiny").write_text(yaml_text.write(LEAST))
    assert load("tiny").name == "mine"


def test_paths_of_a_shipped_recipe_are_relative_to_its_own_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "tiny-base").mkdir()
    (tmp_path / "demo-benchmark.jsonl").write_text("")
    made, folder = load("smoke"), RECIPES[0].parent
    assert (made.coder.model, made.benchmarks[0].path) == (
        str(folder / "tiny-base"),
        str(folder / "demo-benchmark.jsonl"),
    )


def test_paths_are_relative_to_the_recipe_and_hub_names_stay(tmp_path, monkeypatch):
    folder = tmp_path / "recipes"
    (folder / "code").mkdir(parents=True)
    (folder / "b.jsonl").write_text("")
    raw = LEAST | {
        "sources": [{"name": "a", "kind": "tree", "path": "code"}, {"name": "c", "kind": "tree", "path": "/absolute"}],
        "benchmarks": [{"name": "b", "path": "b.jsonl"}],
        "coder": {"model": "code", "mix": [{"dataset": "b.jsonl"}, {"dataset": "owner/set"}]},
        "teacher": {"engine": {"engine": "transformers"}, "model": "code"},
    }
    monkeypatch.chdir(tmp_path)
    made = load(written(folder, raw))
    assert [m.dataset for m in made.coder.mix] == [str(folder / "b.jsonl"), "owner/set"]
    assert made.teacher.model == str(folder / "code")
    assert [s.path for s in made.sources] == [str(folder / "code"), "/absolute"]
    assert (made.benchmarks[0].path, made.coder.model) == (str(folder / "b.jsonl"), str(folder / "code"))
    assert made.synthesizer.model == "a/model"


@pytest.mark.parametrize("path", RECIPES, ids=lambda p: p.stem)
def test_a_store_remembers_its_recipe(tmp_path, path):
    made = load(path, ["seed=5", "selection.min_score=0.1", "scoring.weights={clarity: 0.3}"])
    remember(str(tmp_path), made)
    assert recall(str(tmp_path)) == made
    assert recall(str(tmp_path), ["selection.min_score=2"]).selection.min_score == 2.0
    assert recall(str(tmp_path)) == made


def test_a_store_that_was_never_run_says_so(tmp_path):
    with pytest.raises(FileNotFoundError, match="as it was never run: name one with --recipe"):
        recall(str(tmp_path))


@pytest.mark.parametrize(
    "data",
    [b"", b"\0\0\0\0", b"name: [tiny", b"\xff\xfe", b"- a list\n", b"just a word\n"],
    ids=["empty", "zeros", "cut", "no text", "list", "word"],
)
def test_a_damaged_recipe_of_a_store_names_its_file(tmp_path, data):
    path = tmp_path / "_runs" / "recipe.yaml"
    path.parent.mkdir()
    path.write_bytes(data)
    with pytest.raises(InputError, match=rf"(?s){path}.*is damaged: name one with --recipe") as told:
        recall(str(tmp_path))
    assert not isinstance(told.value, MissingError)
    path.unlink()
    path.mkdir()
    with pytest.raises(InputError, match=rf"{path} cannot be read: Is a directory"):
        recall(str(tmp_path))


def test_a_recipe_is_remembered_whole_or_not_at_all(tmp_path, monkeypatch):
    """The disk is full while the second one is written."""
    first, second = load("tiny"), load("tiny", ["seed=5"])
    remember(str(tmp_path), first)

    def full(descriptor):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space left"):
        remember(str(tmp_path), second)
    assert recall(str(tmp_path)) == first
    assert [p.name for p in (tmp_path / "_runs").iterdir()] == ["recipe.yaml"]


def test_adams_map_without_an_adapter_is_refused_before_any_work(tmp_path):
    whole = {"model": "a/model", "training": {"lora": None}}
    adam = {"gradients": {"optimizer_map": "adam"}}
    text = error_of(tmp_path, synthesizer=whole, influence=adam)
    assert "optimizer_map is adam, but synthesizer.training.lora is null" in text
    assert "Set optimizer_map to sgd, or synthesizer.training.lora to {r: 16" in text
    assert load(written(tmp_path, LEAST | {"synthesizer": whole})).influence.gradients.optimizer_map == "sgd"
    assert load(written(tmp_path, LEAST | {"influence": adam})).synthesizer.training.lora is not None
    with pytest.raises(ValueError, match="gradients are taken of an adapter"):
        WarmupSettings.model_validate({"training": {"lora": None}})


def test_arguments_of_a_chat_template_are_those_of_one_model(tmp_path):
    off = {"template_arguments": {"enable_thinking": False}}
    model = {"model": "a/model"}
    text = error_of(tmp_path, synthesizer=model | off, scorer={"template_arguments": {}})
    assert "scorer.template_arguments is {}" in text and "write the same in both" in text
    both = load(written(tmp_path, LEAST | {"synthesizer": model | off, "scorer": off}))
    assert both.scorer.template_arguments == both.synthesizer.template_arguments == {"enable_thinking": False}
    assert load(written(tmp_path, LEAST | {"synthesizer": model | off, "scorer": {"model": "b/model"}}))
    assert load(written(tmp_path, LEAST | {"coder": model | off})).coder.template_arguments
    text = error_of(tmp_path, coder=model, evaluation=off)
    assert "evaluation.template_arguments" in text and "model of coder" in text
    text = error_of(tmp_path, coder=model | off, evaluation={"engine": {"engine": "openai"}})
    assert "coder.template_arguments: https://api.openai.com/v1 takes no arguments of a chat template" in text
    for name in ("messages", "eos_token", "no name"):
        assert "an argument of a chat template is a name" in error_of(
            tmp_path, coder=model | {"template_arguments": {name: True}}
        )


def test_a_single_tracker_is_a_list_of_one() -> None:
    reported = [
        load("smoke", [f"coder.training.report_to={given}"]).coder.training.report_to
        for given in ("wandb", "[wandb]", "[wandb, mlflow]", "[]")
    ]
    assert reported == [("wandb",), ("wandb",), ("wandb", "mlflow"), ()]


def test_a_list_with_a_wrong_entry_is_not_called_empty(tmp_path):
    text = error_of(tmp_path, sources=[{"name": "a", "kind": "nokind"}])
    assert "sources.0.kind: Input should be 'stdlib'" in text and "at least 1 item" not in text
