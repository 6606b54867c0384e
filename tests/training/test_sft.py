"""Training: what is rejected, what the loss is on, what is saved, and that runs repeat exactly."""

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from peft import PeftModel
from safetensors.torch import load_file
from transformers import AutoModelForCausalLM, AutoTokenizer

from tests.small_training import trains_here
from tests.tiny_models import tiny_llama, tiny_qwen
from training import coder, fitting, scorer, sft, synthesizer
from training.checkpoints import checkpoint_steps
from training.completion_loss import hidden_states, pad, sample_losses
from training.errors import TrainingError
from training.examples import Example, as_messages, encode, load_model, load_rows, load_tokenizer
from training.settings import LoraSettings, SftSettings

TINY = SftSettings(
    epochs=2,
    learning_rate=1e-2,
    batch_size=2,
    max_tokens=200,
    num_checkpoints=3,
    lora=LoraSettings(r=4, alpha=8, dropout=0.1),
    dtype="float32",
)


def chat(user: str, assistant: str) -> list[dict[str, str]]:
    return [{"role": "user", "content": user}, {"role": "assistant", "content": assistant}]


GOOD = [chat(f"add {n} and {n}" + " please" * n, f"def add():\n    return {n} + {n}\n") for n in range(7)]


@pytest.fixture(scope="module", autouse=True)
def one_thread() -> Iterator[None]:
    # Two threads wait for each other longer than these models compute.
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def qwen(tmp_path_factory: pytest.TempPathFactory) -> str:
    return tiny_qwen(tmp_path_factory.mktemp("qwen"))


@pytest.fixture(scope="module")
def llama(tmp_path_factory: pytest.TempPathFactory) -> str:
    return tiny_llama(tmp_path_factory.mktemp("llama"))


def write(folder: Path, columns: dict[str, list]) -> str:
    folder.mkdir()
    pq.write_table(pa.table(columns), folder / "train-00000.parquet")
    return str(folder)


@pytest.fixture(scope="module")
def good(tmp_path_factory: pytest.TempPathFactory) -> str:
    return write(tmp_path_factory.mktemp("data") / "good", {"messages": GOOD})


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory, qwen: str, good: str) -> tuple[Path, sft.TrainingReport]:
    output = tmp_path_factory.mktemp("runs") / "synthesizer"
    return output, sft.train(good, qwen, str(output), TINY)


def test_checkpoints_are_evenly_spaced_and_loadable(trained: tuple[Path, sft.TrainingReport], qwen: str) -> None:
    output, report = trained
    # 7 rows, 2 epochs, batches of 2: 7 steps; thirds of them rounded up.
    assert report.num_steps == 7
    assert [c.folder for c in report.checkpoints] == [
        "checkpoint-000003",
        "checkpoint-000005",
        "checkpoint-000007",
    ]
    assert sorted(p.name for p in output.iterdir()) == [
        *(c.folder for c in report.checkpoints),
        "train_log.jsonl",
        "training.json",
    ]
    base = AutoModelForCausalLM.from_pretrained(qwen)
    before = base(torch.tensor([[5, 6, 7]])).logits
    model = PeftModel.from_pretrained(base, output / "checkpoint-000007")
    assert (model(torch.tensor([[5, 6, 7]])).logits - before).abs().max() > 1e-4
    assert AutoTokenizer.from_pretrained(output / "checkpoint-000007").chat_template
    weights = [load_file(output / c.folder / "adapter_model.safetensors") for c in report.checkpoints]
    assert all(not torch.equal(weights[0][name], weights[2][name]) for name in weights[0])


def test_learning_rates_are_those_that_the_steps_used(trained: tuple[Path, sft.TrainingReport]) -> None:
    # One step of warm-up at rate 0, then a cosine over the 6 that remain.
    rates = [0.0] + [TINY.learning_rate * 0.5 * (1 + np.cos(np.pi * i / 6)) for i in range(6)]
    means = [np.mean(rates[:3]), np.mean(rates[3:5]), np.mean(rates[5:])]
    assert np.allclose([c.learning_rate for c in trained[1].checkpoints], means)


def test_the_loss_falls(trained: tuple[Path, sft.TrainingReport]) -> None:
    losses = [c.loss for c in trained[1].checkpoints]
    assert losses[0] > losses[1] > losses[2] > 0


def test_optimizer_state_is_named(trained: tuple[Path, sft.TrainingReport]) -> None:
    folder = trained[0] / "checkpoint-000007"
    names = json.loads((folder / "parameter_names.json").read_text())
    state = torch.load(folder / "optimizer.pt", weights_only=True)["state"]
    weights = load_file(folder / "adapter_model.safetensors")
    assert set(names) == set(weights)
    # Written from a set, the order would differ between processes.
    layers = json.loads((folder / "adapter_config.json").read_text())["target_modules"]
    assert layers == sorted(layers) and len(layers) == 14
    assert {names[place]: s["exp_avg"].shape for place, s in state.items()} == {
        name: weight.shape for name, weight in weights.items()
    }


def test_the_same_training_is_the_same_to_the_bit(
    trained: tuple[Path, sft.TrainingReport], tmp_path: Path, qwen: str, good: str
) -> None:
    torch.manual_seed(99)
    report = sft.train(good, qwen, str(tmp_path / "again"), TINY)
    for checkpoint in report.checkpoints:
        for file in ("adapter_model.safetensors", "adapter_config.json", "parameter_names.json"):
            first = (trained[0] / checkpoint.folder / file).read_bytes()
            assert (tmp_path / "again" / checkpoint.folder / file).read_bytes() == first, (
                checkpoint.folder,
                file,
            )
    assert report.checkpoints == trained[1].checkpoints
    other = sft.train(good, qwen, str(tmp_path / "other"), TINY.model_copy(update={"seed": 1}))
    assert other.checkpoints != report.checkpoints


def test_a_finished_training_is_returned_and_another_refused(
    trained: tuple[Path, sft.TrainingReport], qwen: str, good: str
) -> None:
    output, report = trained
    weights = output / "checkpoint-000007" / "adapter_model.safetensors"
    written = weights.stat().st_mtime_ns
    assert sft.train(good, qwen, str(output), TINY) == report
    assert weights.stat().st_mtime_ns == written
    with pytest.raises(FileExistsError, match=r"settings.epochs was 2.0, is 3.0"):
        sft.train(good, qwen, str(output), TINY.model_copy(update={"epochs": 3.0}))


def test_a_killed_training_leaves_no_output(tmp_path: Path, qwen: str, good: str) -> None:
    (tmp_path / ".run.partial").mkdir()
    (tmp_path / ".run.partial" / "left-over").touch()
    report = sft.train(good, qwen, str(tmp_path / "run"), TINY)
    assert [p.name for p in tmp_path.iterdir()] == ["run"]
    assert len(list((tmp_path / "run").iterdir())) == 2 + len(report.checkpoints)
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.txt").touch()
    with pytest.raises(FileExistsError, match=r"has no training\.json"):
        sft.train(good, qwen, str(tmp_path / "mine"), TINY)


def test_unusable_rows_are_counted_with_their_reasons(tmp_path: Path, qwen: str) -> None:
    rows = [
        GOOD[0],
        chat("add", "return 1 " * 100),
        [{"role": "user", "content": "no answer"}],
        chat("blank answer", " \n"),
        chat("", "an answer to nothing"),
        [],
        GOOD[1],
        GOOD[2],
    ]
    report = sft.train(write(tmp_path / "rows", {"messages": rows}), qwen, str(tmp_path / "run"), TINY)
    reasons = {reject.row: reject.reason for reject in report.rejects}
    assert reasons == {
        1: "too_long",
        2: "no_assistant_turn",
        3: "empty_completion",
        4: "empty_turn: a turn of the user holds nothing",
        5: "no_conversation",
    }
    too_long = report.rejects[0]
    assert too_long.value > too_long.threshold == TINY.max_tokens
    assert report.num_rows == 3 and report.num_rows + len(report.rejects) == len(rows)
    with pytest.raises(ValueError, match="none of 8 rows"):
        sft.train(str(tmp_path / "rows"), qwen, str(tmp_path / "b"), TINY.model_copy(update={"max_tokens": 5}))


def test_the_completion_is_the_last_turn_as_the_template_renders_it(qwen: str) -> None:
    tokenizer = load_tokenizer(qwen)
    messages = [*chat("first", "one"), *chat("second", "two")]
    example = encode(tokenizer, messages, 200)
    assert isinstance(example, Example)
    assert tokenizer.decode(example.completion_ids) == "two<|im_end|>"
    assert tokenizer.decode(example.prompt_ids).endswith("second<|im_end|>\n<|im_start|>assistant\n")
    assert example.prompt_ids == tokenizer.apply_chat_template(
        messages[:-1], add_generation_prompt=True, return_dict=False
    )


def test_a_merge_across_the_boundary_keeps_the_prompt_of_generation(qwen: str) -> None:
    tokenizer = load_tokenizer(qwen)
    messages = chat("add", "\ndef add(): ...")
    whole = tokenizer.apply_chat_template(messages, return_dict=False)
    prompt = tokenizer.apply_chat_template(messages[:-1], add_generation_prompt=True, return_dict=False)
    assert whole[: len(prompt)] != prompt, "the tokenizer merges two newlines, which is what is tested"
    example = encode(tokenizer, messages, 200)
    assert isinstance(example, Example)
    assert example.prompt_ids == prompt
    assert tokenizer.decode(example.prompt_ids + example.completion_ids) + "\n" == tokenizer.decode(whole)


def test_a_template_that_changes_the_prompt_is_refused(qwen: str) -> None:
    tokenizer = load_tokenizer(qwen)
    tokenizer.chat_template = tokenizer.chat_template.replace("assistant\n{% endif", "assistant\n<think>{% endif")
    with pytest.raises(ValueError, match="Give the tokenizer a template"):
        encode(tokenizer, GOOD[0], 200)


def test_labels_are_on_the_completion_only(qwen: str) -> None:
    example = encode(load_tokenizer(qwen), GOOD[0], 200)
    assert isinstance(example, Example)
    row = fitting.tokens([example])[0]
    assert row["input_ids"] == example.prompt_ids + example.completion_ids
    assert row["labels"] == [-100] * len(example.prompt_ids) + example.completion_ids


def test_the_loss_is_on_the_completion_only(tmp_path: Path, qwen: str) -> None:
    # One row, one step, no warm-up: the loss of the base on that row, computed by hand.
    settings = TINY.model_copy(update={"num_checkpoints": 1, "epochs": 1, "warmup_share": 0.0})
    settings = settings.model_copy(update={"lora": LoraSettings(r=4)})
    data = write(tmp_path / "one", {"messages": GOOD[:1]})
    report = sft.train(data, qwen, str(tmp_path / "run"), settings)
    example = encode(load_tokenizer(qwen), GOOD[0], 200)
    assert isinstance(example, Example)
    ids = torch.tensor([example.prompt_ids + example.completion_ids])
    logprobs = AutoModelForCausalLM.from_pretrained(qwen)(ids).logits[0, :-1].log_softmax(-1)
    nll = -logprobs.gather(1, ids[0, 1:, None])[:, 0]
    completion = nll[len(example.prompt_ids) - 1 :].mean().item()
    assert report.checkpoints[0].loss == pytest.approx(completion, rel=1e-5)
    assert abs(nll.mean().item() - completion) > 1e-3, "all tokens would give another loss"
    assert report.num_completion_tokens == len(example.completion_ids)
    assert report.num_tokens == ids.shape[1]


def test_prompt_and_completion_columns_train_like_messages(tmp_path: Path, qwen: str) -> None:
    texts = {"prompt": [m[0]["content"] for m in GOOD], "completion": [m[1]["content"] for m in GOOD]}
    lists = {"prompt": [m[:1] for m in GOOD], "completion": [m[1:] for m in GOOD]}
    plans = [
        sft.train(write(tmp_path / name, columns), qwen, str(tmp_path / f"run-{name}"), TINY)
        for name, columns in {"texts": texts, "lists": lists}.items()
    ]
    messages = write(tmp_path / "messages", {"messages": GOOD})
    assert sft.train(messages, qwen, str(tmp_path / "run-texts"), TINY) == plans[0]
    assert plans[0].checkpoints == plans[1].checkpoints


def test_another_folder_of_the_same_name_is_read_anew(tmp_path: Path) -> None:
    card = "---\nconfigs:\n- config_name: default\n  data_files: data/train-*.parquet\n---\n"
    for text in ("first", "second"):
        folder = tmp_path / text / "published"
        (folder / "data").mkdir(parents=True)
        (folder / "README.md").write_text(card)
        pq.write_table(pa.table({"messages": [chat(text, text)]}), folder / "data" / "train-00000-of-00001.parquet")
        assert load_rows(str(folder), "train", None, "pairs")[0] == {"messages": chat(text, text)}


def test_a_base_without_chat_template_gets_one(tmp_path: Path, llama: str, good: str) -> None:
    report = sft.train(good, llama, str(tmp_path / "run"), TINY)
    tokenizer = AutoTokenizer.from_pretrained(tmp_path / "run" / report.checkpoints[-1].folder)
    example = encode(tokenizer, chat("add", "def add(): ..."), 200)
    assert isinstance(example, Example)
    assert tokenizer.decode(example.prompt_ids) == "<s>### Instruction:\nadd\n### Response:\n"
    assert tokenizer.decode(example.completion_ids) == "def add(): ...</s>"
    assert example.prompt_ids.count(tokenizer.bos_token_id) == 1


def test_full_fine_tuning_saves_whole_models(tmp_path: Path, llama: str, good: str) -> None:
    settings = TINY.model_copy(update={"lora": None, "gradient_checkpointing": True, "gradient_accumulation": 2})
    report = sft.train(good, llama, str(tmp_path / "run"), settings)
    assert report.num_steps == 4
    model = AutoModelForCausalLM.from_pretrained(tmp_path / "run" / report.checkpoints[-1].folder)
    base = AutoModelForCausalLM.from_pretrained(llama)
    assert not torch.equal(model.lm_head.weight, base.lm_head.weight)


def test_an_adapter_can_be_trained_on(
    trained: tuple[Path, sft.TrainingReport], tmp_path: Path, qwen: str, good: str
) -> None:
    adapter = str(trained[0] / "checkpoint-000007")
    report = sft.train(good, qwen, str(tmp_path / "run"), TINY, adapter=adapter)
    assert report.checkpoints[0].loss < trained[1].checkpoints[0].loss
    other = TINY.model_copy(update={"lora": LoraSettings(r=8)})
    with pytest.raises(ValueError, match="r=4"):
        sft.train(good, qwen, str(tmp_path / "b"), other, adapter=adapter)
    with pytest.raises(ValueError, match="is an adapter"):
        sft.train(good, adapter, str(tmp_path / "c"), TINY)


def test_gradient_checkpointing_with_an_adapter_changes_nothing(
    trained: tuple[Path, sft.TrainingReport], tmp_path: Path, qwen: str, good: str
) -> None:
    settings = TINY.model_copy(update={"gradient_checkpointing": True})
    report = sft.train(good, qwen, str(tmp_path / "run"), settings)
    ours = [c.loss for c in report.checkpoints]
    assert ours == pytest.approx([c.loss for c in trained[1].checkpoints], rel=1e-4)


def test_the_trainer_sees_the_rows_in_the_order(tmp_path: Path, qwen: str, good: str) -> None:
    # One row a step and almost no learning rate: the loss of a step is the base's on its row.
    changes = {"epochs": 1.0, "batch_size": 1, "learning_rate": 1e-12, "num_checkpoints": 7}
    settings = TINY.model_copy(update=changes | {"lora": LoraSettings(r=1)})
    report = sft.train(good, qwen, str(tmp_path / "run"), settings)
    examples = [encode(load_tokenizer(qwen), row, 200) for row in GOOD]
    order = sft.training_order([example.num_tokens for example in examples], settings)
    model = AutoModelForCausalLM.from_pretrained(qwen)
    batch = pad([examples[row] for row in order], 0, model.device)
    losses = sample_losses(model, hidden_states(model, batch), batch).tolist()
    assert [c.loss for c in report.checkpoints] == pytest.approx(losses, rel=1e-5)
    assert order != sorted(order) and len(set(losses)) == 7


def test_the_order_has_every_row_once_an_epoch_and_similar_lengths_together() -> None:
    lengths = [int(x) for x in np.random.default_rng(3).integers(5, 100, 203)]
    settings = SftSettings(epochs=2.5, batch_size=4)
    order = sft.training_order(lengths, settings)
    counts = np.bincount(order, minlength=203)
    assert len(order) == round(2.5 * 203) and set(counts) == {2, 3}
    # A window is 50 batches, 200 rows, so the first one holds rows of the first epoch only.
    assert len(set(order[:200])) == 200
    spread = [max(b) - min(b) for b in ([lengths[r] for r in order[i : i + 4]] for i in range(0, 200, 4))]
    assert np.mean(spread) < 8
    assert sft.training_order(lengths, settings) == order
    assert sft.training_order(lengths, settings.model_copy(update={"seed": 1})) != order
    assert order[:200] != sorted(order[:200], key=lambda row: -lengths[row]), "batches are shuffled again"


def test_checkpoints_that_do_not_fit_are_refused() -> None:
    assert checkpoint_steps(10, 4) == [3, 5, 8, 10]
    assert checkpoint_steps(3, 3) == [1, 2, 3]
    with pytest.raises(ValueError, match="4 checkpoints do not fit into 3 steps"):
        checkpoint_steps(3, 4)


@pytest.mark.parametrize(("module", "expected"), [(synthesizer, "snippet"), (scorer, "digit"), (coder, "problem")])
def test_other_columns_are_refused_by_name(
    tmp_path: Path, module: object, expected: str, qwen: str, good: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    trains_here(monkeypatch)
    data = write(tmp_path / "data", {"text": ["a"], "completion": ["b"]})
    with pytest.raises(ValueError, match=rf"completion, text.*{expected}"):
        module.train(data, qwen, str(tmp_path / "run"))
    report = module.train(good, qwen, str(tmp_path / "run"), TINY)
    assert report.num_rows == 7


def test_settings_cost_nothing_to_import() -> None:
    code = "import sys, training.settings; assert not {'torch', 'transformers', 'datasets'} & set(sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True, cwd=Path(__file__).parents[2])


@pytest.mark.parametrize(
    "turns", ["text", [{"role": "user"}], [{"role": "user", "content": 7}], [7]], ids=["text", "no", "number", "int"]
)
def test_turns_that_are_none_are_told_with_the_row(turns) -> None:
    with pytest.raises(TrainingError, match="but a row has"):
        as_messages({"messages": turns})


def test_a_half_copied_model_is_told_by_its_name(tmp_path) -> None:
    tiny_llama(tmp_path / "model")
    weights = tmp_path / "model" / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:2000])
    with pytest.raises(TrainingError, match="model cannot be loaded"):
        load_model(str(tmp_path / "model"))
