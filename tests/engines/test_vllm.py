"""The vllm engine, in processes of its own and as a server, on tiny real models.

`make test-vllm` runs it with a real vLLM on CPU.
"""

import os
import re
import signal
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path

import pytest

pytest.importorskip("vllm", reason="vLLM is not in this environment; `make test-vllm` makes one that has it")

import torch
from peft import PeftModel
from transformers import AutoModelForCausalLM, AutoTokenizer

from builders import candidates
from builders.engines import (
    ChoiceRequest,
    Completion,
    Engine,
    OpenAISettings,
    Request,
    VllmSettings,
    checkpoints,
    open_engine,
)
from builders.engines.answers import open_answers
from builders.engines.in_turn import EnginesInTurn
from builders.engines.messages import Job
from builders.engines.places import places
from builders.engines.pooled import PooledEngine
from builders.engines.vllm import PROMPTS_IN_FLIGHT
from builders.recipe import Recipe
from store.catalog import connect
from tests.engine_models import save_adapter, save_model
from tests.replica_engines import is_alive, notes, wait_until
from tests.test_candidates import filled
from tests.tiny_recipes import recipe

PROMPTS = ("def add(a, b):\n", "for i in", "Write a function", "x", "How clear is the problem? Answer", "1 + 2")
SETTINGS = VllmSettings(max_model_tokens=256, enforce_eager=True)
ROOT = Path(__file__).resolve().parents[2]
TOLERANCE = 1e-3
"""Of a log-probability: vLLM's attention adds in another order than transformers'."""


@pytest.fixture(scope="module")
def model(tmp_path_factory) -> str:
    # vLLM's attention on CPU takes heads of 32 dimensions and more
    return save_model(tmp_path_factory.mktemp("model"), hidden_size=128)


@pytest.fixture(scope="module")
def adapters(model, tmp_path_factory) -> dict[str, str]:
    folder = tmp_path_factory.mktemp("adapters")
    return {f"step-{seed}": save_adapter(model, folder / str(seed), seed) for seed in (1, 2, 3)}


@pytest.fixture(scope="module")
def engine(model, adapters) -> Iterator[Engine]:
    with open_engine(SETTINGS, model, adapters) as engine:
        yield engine


@pytest.fixture(scope="module")
def models(model, adapters) -> dict:
    """By adapter name, None for the base: what transformers and PEFT load."""
    loaded = {
        name: PeftModel.from_pretrained(AutoModelForCausalLM.from_pretrained(model), path)
        for name, path in adapters.items()
    }
    return {None: AutoModelForCausalLM.from_pretrained(model), **loaded}


@pytest.fixture(scope="module")
def tokenizer(model):
    return AutoTokenizer.from_pretrained(model)


def answers(engine: Engine, requests: list[Request]) -> dict:
    completions = list(engine.generate(requests))
    by_id = {completion.request_id: completion for completion in completions}
    assert len(by_id) == len(completions) == len(requests)
    return by_id


def whole(text: str) -> str:
    """The text without a last character that is cut.

    vLLM leaves such a character out, and transformers writes a sign for it.
    """
    return text.rstrip("\ufffd")


def greedy(model, tokenizer, prompt: str, num_tokens: int) -> tuple[str, float]:
    """Text and log-probability of the greedy continuation."""
    ids = tokenizer(prompt, return_tensors="pt")["input_ids"]
    with torch.no_grad():
        output = model.generate(ids, do_sample=False, max_new_tokens=num_tokens)
        logprobs = model(output).logits[0, ids.shape[1] - 1 : -1].log_softmax(-1)
    new = output[0, ids.shape[1] :]
    return tokenizer.decode(new, skip_special_tokens=True), logprobs.gather(-1, new[:, None]).sum().item()


def test_every_checkpoint_answers_as_with_peft_whatever_it_is_batched_with(engine, models, tokenizer):
    requests = [
        Request(f"{name}/{i}", prompt=prompt, adapter=name, max_tokens=10, temperature=0)
        for i, prompt in enumerate(PROMPTS)
        for name in models
    ]
    found = answers(engine, requests)
    for request in requests:
        text, logprob = greedy(models[request.adapter], tokenizer, request.prompt, request.max_tokens)
        assert whole(found[request.request_id].text) == whole(text), request
        assert found[request.request_id].logprob == pytest.approx(logprob, abs=10 * TOLERANCE)
    for i in range(len(PROMPTS)):
        assert len({found[f"{name}/{i}"].text for name in models}) > 1, "adapters that change nothing test nothing"


def test_chats_are_rendered_with_the_template(engine, tokenizer):
    messages = ({"role": "user", "content": "Write a function"},)
    text = tokenizer.apply_chat_template(list(messages), tokenize=False, add_generation_prompt=True)
    chat = Request("chat", messages=messages, max_tokens=8, temperature=0)
    raw = Request("raw", prompt=text, max_tokens=8, temperature=0)
    found = answers(engine, [chat, raw])
    assert found["chat"].text == found["raw"].text
    assert found["chat"].num_prompt_tokens == len(tokenizer(text, add_special_tokens=False)["input_ids"])


def test_seeds_repeat_and_differ(engine):
    requests = [
        Request(f"{round_}/{seed}", prompt="x", adapter="step-1", max_tokens=12, seed=seed)
        for round_ in "ab"
        for seed in range(4)
    ]
    found = answers(engine, requests)
    assert [found[f"a/{s}"].text for s in range(4)] == [found[f"b/{s}"].text for s in range(4)]
    assert len({c.text for c in found.values()}) > 1


def test_text_ends_before_a_stop_string(engine):
    text = answers(engine, [Request("r", prompt="x", max_tokens=12, temperature=0)])["r"].text
    stop = text[4]
    cut = answers(engine, [Request("r", prompt="x", max_tokens=12, temperature=0, stop=(stop,))])["r"]
    assert cut.text == text[: text.index(stop)] and cut.finish_reason == "stop"


def test_a_prompt_that_leaves_no_room_is_an_answer_among_others(engine):
    requests = [
        Request("long", prompt="1" * 250, max_tokens=7),
        Request("fits", prompt="1" * 250, max_tokens=6),
        Request("short", prompt="1", max_tokens=2),
    ]
    found = answers(engine, requests)
    assert found["long"].finish_reason == "prompt_too_long" and found["long"].text == ""
    assert {found["fits"].finish_reason, found["short"].finish_reason} <= {"stop", "length"}


def test_an_unknown_adapter_is_named(engine):
    with pytest.raises(ValueError, match=r"'absent' is unknown: the engine has \['step-1', 'step-2', 'step-3'\]"):
        list(engine.generate([Request("r", prompt="x", adapter="absent", max_tokens=1)]))


def test_a_long_stream_is_read_only_as_far_as_it_is_answered(engine):
    num_read = 0

    def stream() -> Iterator[Request]:
        nonlocal num_read
        for num_read in range(1, 10 * PROMPTS_IN_FLIGHT):
            yield Request(str(num_read), prompt="x", max_tokens=1)

    first = next(engine.generate(stream()))
    assert first.finish_reason == "length" and num_read <= 2 * PROMPTS_IN_FLIGHT
    assert set(answers(engine, [Request("after", prompt="x", max_tokens=1)])) == {"after"}


@pytest.mark.parametrize("adapter", [None, "step-2"])
def test_digits_have_the_distribution_of_a_full_forward_pass(engine, models, tokenizer, adapter):
    questions = tuple(({"role": "user", "content": f"def f(): pass\n{name}?"},) for name in ("clear", "correct", "x"))
    (answer,) = engine.choose([ChoiceRequest("c", questions, adapter=adapter)])
    digits = [tokenizer.convert_tokens_to_ids(d) for d in "0123456789"]
    for question, found, mass in zip(questions, answer.probabilities, answer.masses, strict=True):
        ids = tokenizer.apply_chat_template(
            list(question), add_generation_prompt=True, return_tensors="pt", return_dict=True
        )["input_ids"]
        with torch.no_grad():
            logits = models[adapter](ids).logits[0, -1]
        assert found == pytest.approx(logits[digits].softmax(-1).tolist(), abs=TOLERANCE)
        assert mass == pytest.approx(float(logits.softmax(-1)[digits].sum()), abs=TOLERANCE)


def test_a_question_that_is_too_long_is_an_answer(engine):
    long = ({"role": "user", "content": "1" * 300},)
    short = ({"role": "user", "content": "1"},)
    found = {a.request_id: a for a in engine.choose([ChoiceRequest("a", (long, short)), ChoiceRequest("b", (short,))])}
    assert found["a"].finish_reason == "prompt_too_long" and found["a"].probabilities is None
    assert sum(found["b"].probabilities[0]) == pytest.approx(1)


# -- killed and resumed ----------------------------------------------------------------------------

SHARDS = 3
ASKING = """
import sys
from pathlib import Path
from builders.engines import open_engine
from builders.engines.answers import open_answers
from tests.engines.test_vllm import SETTINGS, SHARDS, shard_requests

if __name__ == "__main__":
    model, name, path, folder = sys.argv[1:]
    with (
        open_engine(SETTINGS, model, {name: path}) as engine,
        open_answers(Path(folder), range(SHARDS), SETTINGS, engine.generate, shard_requests) as answers,
    ):
        for shard in range(SHARDS):
            answers.of(shard, [r.request_id for r in shard_requests(shard)])
"""


def shard_requests(shard: int) -> list[Request]:
    """Many short ones and a few long ones, so that a kill finds some answered and some not."""
    return [
        Request(f"{shard}/{n}", prompt=f"{n}", adapter="step-1", max_tokens=4 if n % 2 else 240, seed=n)
        for n in range(20)
    ]


def test_after_a_kill_only_what_is_unanswered_is_asked(engine, model, adapters, tmp_path):
    folder, name = tmp_path / "journal", "step-1"
    command = [sys.executable, "-c", ASKING, model, name, adapters[name], str(folder)]
    environment = os.environ | {"PYTHONPATH": f"{ROOT}{os.pathsep}{ROOT / 'tests'}"}
    with open(tmp_path / "log", "w") as log:
        asking = subprocess.Popen(command, env=environment, cwd=ROOT, stdout=log, stderr=log, start_new_session=True)
    deadline = time.monotonic() + 180
    while not (paid := journalled(folder)):
        assert asking.poll() is None and time.monotonic() < deadline, (tmp_path / "log").read_text()[-3000:]
        time.sleep(0.02)
    os.killpg(asking.pid, signal.SIGKILL)
    asking.wait()
    paid = journalled(folder)
    asked: list[str] = []

    def counted(requests: Iterable[Request]) -> Iterator[Completion]:
        def read() -> Iterator[Request]:
            for request in requests:
                asked.append(request.request_id)
                yield request

        return engine.generate(read())

    with open_answers(folder, range(SHARDS), SETTINGS, counted, shard_requests) as answers_:
        for shard in range(SHARDS):
            ids = [r.request_id for r in shard_requests(shard)]
            assert [a.request_id for a in answers_.of(shard, ids)] == ids
    everything = {r.request_id for shard in range(SHARDS) for r in shard_requests(shard)}
    assert 0 < len(paid) < len(everything), "the kill came too late to show anything"
    assert sorted(asked) == sorted(everything - paid)


def test_two_replicas_of_which_one_is_killed_answer_each_request_once_in_the_table(
    model, adapters, engine, tmp_path, monkeypatch
):
    """The table candidates of three checkpoints: one row a request, whoever is killed meanwhile."""
    engine.close()  # these two need the cores

    def noted(settings, model, adapters, revision, **_) -> Engine:
        job = Job(settings, model, dict(adapters), revision, opens="tests.replica_engines:open_noted_vllm")
        return PooledEngine(job, places(settings))

    monkeypatch.setattr(checkpoints, "open_engine", noted)
    made = [
        {"checkpoint_id": name, "location": os.path.relpath(path, tmp_path), "is_adapter": True, "base_model": model}
        for name, path in adapters.items()
    ]
    store = filled(tmp_path, made, [f"def f{n}(x):\n    return x + {n}\n" for n in range(NUM_SNIPPETS + 1)])
    asked_before = len(notes(Path(model, "asked")))

    def asked() -> list[list[str]]:
        return notes(Path(model, "asked"))[asked_before:]

    def kept() -> set[str]:
        return {name for folder in Path(store.scratch("")).glob("journal-*") for name in journalled(folder)}

    killed: list[int] = []
    children: list[int] = []
    kept_before: set[str] = set()

    def kill() -> None:
        wait_until(lambda: len(kept()) > 20 and len({process for process, _ in asked()}) == 2, 500)
        process = int(asked()[-1][0])
        children.extend(map(int, Path(f"/proc/{process}/task/{process}/children").read_text().split()))
        os.kill(process, signal.SIGKILL)
        killed.append(process)
        kept_before.update(kept())

    killing = threading.Thread(target=kill, daemon=True)
    killing.start()
    candidates.build(store, replicas_recipe(tmp_path), 1)
    killing.join()
    rows = connect(store, store.input("candidates", iteration=1)).execute(
        """SELECT count(*), count(DISTINCT candidate_id), count(DISTINCT (checkpoint_id, snippet_id, sample_index)),
            count(DISTINCT checkpoint_id), count(*) FILTER (finish_reason IN ('stop', 'length')) FROM candidates"""
    )
    assert rows.fetchone() == (REQUESTS, REQUESTS, REQUESTS, 3, REQUESTS), "one row a request, and each has an answer"
    again = Counter(name for _, name in asked())
    first_of = {name: process for process, name in reversed(asked())}
    twice = {name for name, times in again.items() if times == 2}
    assert len(again) == len(kept()) == REQUESTS and max(again.values()) == 2
    assert len(kept_before) > 0 and 0 < len(twice) < REQUESTS
    assert not twice & kept_before, "what is journalled is never asked again"
    assert {first_of[name] for name in twice} == {str(killed[0])}, "only what the dead one had"
    assert children and not any(map(is_alive, children))
    lines = [
        line for path in Path(store.scratch("")).glob("journal-*/shard-*") for line in path.read_text().splitlines()
    ]
    assert len(lines) == REQUESTS, "each is kept once"
    candidates.build(store, replicas_recipe(tmp_path), 1)
    assert sum(again.values()) == len(asked()), "a table that is there asks nobody"


NUM_SNIPPETS, SAMPLES = 40, 2
REQUESTS = 3 * NUM_SNIPPETS * SAMPLES


def replicas_recipe(folder: Path) -> Recipe:
    return recipe(
        folder,
        synthesizer={
            "model": "none",
            "prompt": "synthesizer-short",
            "engine": {"engine": "vllm", "max_model_tokens": 1024, "enforce_eager": True, "replicas": 2},
            "training": {"num_checkpoints": 3},
        },
        teacher={"num_snippets": 1},
        sampling={
            "checkpoints": 3,
            "samples_per_checkpoint": SAMPLES,
            "snippets_per_iteration": NUM_SNIPPETS,
            "max_tokens": 100,
            "requests_per_shard": 50,
        },
    )


def journalled(folder: Path) -> set[str]:
    """Ids of the whole lines of a journal."""
    lines = [line for path in folder.glob("*") if path.is_file() for line in path.read_bytes().splitlines(True)]
    return {found.group(1).decode() for line in lines if line.endswith(b"\n") and (found := ID.search(line))}


ID = re.compile(rb'"request_id": ?"([^"]+)"')


def test_models_of_full_weights_take_turns(model, tmp_path_factory, tokenizer, engine):
    engine.close()  # one engine at a time
    other = save_model(tmp_path_factory.mktemp("other"), seed=7, hidden_size=128)
    folders = {"first": model, "second": other}
    requests = [
        Request(f"{name}/{i}", prompt=prompt, adapter=name, max_tokens=8, temperature=0)
        for name in folders
        for i, prompt in enumerate(PROMPTS[:3])
    ]
    loaded = []

    def open_one(name: str | None) -> Engine:
        loaded.append(name)
        return open_engine(SETTINGS, folders[str(name)])

    with (
        EnginesInTurn(open_one) as turns,
        open_answers(
            tmp_path_factory.mktemp("journal"), [0], SETTINGS, turns.generate, lambda shard: requests
        ) as given,
    ):
        found = {answer.request_id: answer for answer in given.of(0, [r.request_id for r in requests])}
    assert loaded == ["first", "second"]
    for name, folder in folders.items():
        plain = AutoModelForCausalLM.from_pretrained(folder)
        for i, prompt in enumerate(PROMPTS[:3]):
            assert whole(found[f"{name}/{i}"].text) == whole(greedy(plain, tokenizer, prompt, 8)[0])


# -- as a server -----------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def served(engine, model, adapters, tmp_path_factory, unused_port) -> Iterator[str]:
    """The address of `vllm serve` with the adapters. This process closes its engine for it."""
    engine.close()
    log = tmp_path_factory.mktemp("serve") / "log"
    modules = [f"{name}={path}" for name, path in adapters.items()]
    # What `vllm serve` runs. That command asks for the version of `vllm`, which a CPU build lacks.
    command = [
        sys.executable, "-m", "vllm.entrypoints.openai.api_server", "--model", model, "--port", str(unused_port), "--max-model-len", "256",
        "--enforce-eager", "--enable-lora", "--max-lora-rank", "8", "--max-loras", "3", "--lora-modules", *modules,
        "--dtype", "float32", "--generation-config", "vllm", "--logprobs-mode", "raw_logprobs",
    ]  # fmt: skip
    with open(log, "w") as handle:
        environment = os.environ | {"VLLM_ALLOW_RUNTIME_LORA_UPDATING": "True"}
        server = subprocess.Popen(
            command, stdout=handle, stderr=subprocess.STDOUT, start_new_session=True, env=environment
        )
    try:
        deadline = time.monotonic() + 180
        while not _answers(f"http://127.0.0.1:{unused_port}/health"):
            assert server.poll() is None and time.monotonic() < deadline, log.read_text()[-3000:]
            time.sleep(0.5)
        yield f"http://127.0.0.1:{unused_port}/v1"
    finally:
        if server.poll() is None:
            os.killpg(server.pid, signal.SIGTERM)
            server.wait(timeout=60)


@pytest.fixture(scope="module")
def unused_port() -> int:
    import socket

    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return found.getsockname()[1]


def _answers(address: str) -> bool:
    try:
        return urllib.request.urlopen(address, timeout=2).status == 200
    except (urllib.error.URLError, OSError):
        return False


def test_the_endpoint_engine_asks_a_vllm_server(served, model, adapters, models, tokenizer):
    settings = OpenAISettings(base_url=served)
    messages = ({"role": "user", "content": "Write a function"},)
    text = tokenizer.apply_chat_template(list(messages), tokenize=False, add_generation_prompt=True)
    requests = [Request(name, messages=messages, adapter=name, max_tokens=10, temperature=0) for name in adapters]
    question = ({"role": "user", "content": "How clear?"},)
    choices, expected = likely(models["step-1"], tokenizer, question)
    with open_engine(settings, model, {name: name for name in adapters}) as engine:
        found = answers(engine, requests)
        (choice,) = engine.choose([ChoiceRequest("c", (question,), choices, adapter="step-1")])
    # as checkpoints of a run come: under names of their own, from their folders, again after a kill
    late = {f"late-{name}": path for name, path in adapters.items()}
    asked = [
        Request(f"late-{name}", messages=messages, adapter=f"late-{name}", max_tokens=10, temperature=0)
        for name in adapters
    ]
    for _ in range(2):
        with open_engine(settings.model_copy(update={"load_adapters": True}), model, late) as engine:
            found |= answers(engine, asked)
    for name in adapters:
        expected_text = whole(greedy(models[name], tokenizer, text, 10)[0])
        assert whole(found[name].text) == whole(found[f"late-{name}"].text) == expected_text
    assert choice.probabilities[0] == pytest.approx(expected, abs=TOLERANCE)


def likely(model, tokenizer, question: tuple) -> tuple[tuple[str, ...], list[float]]:
    """Some of the most likely first tokens, and their shares. An endpoint tells no others."""
    ids = tokenizer.apply_chat_template(
        list(question), add_generation_prompt=True, return_tensors="pt", return_dict=True
    )["input_ids"]
    with torch.no_grad():
        logits = model(ids).logits[0, -1]
    told = {tokenizer.decode([i]): i for i in logits.topk(20).indices.tolist()}
    known = {text: i for text, i in told.items() if text.isascii() and text.isprintable() and text == text.strip()}
    return tuple(known), logits[list(known.values())].softmax(-1).tolist()
