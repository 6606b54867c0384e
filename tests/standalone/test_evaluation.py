"""evaluate without a store: nothing that goes wrong becomes a score, and nothing is asked twice."""

from __future__ import annotations

import json
import shutil
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from aiohttp import web

from builders import sandbox
from builders.benchmarks import named
from builders.engines import OpenAISettings, TransformersSettings
from builders.harness.summary import NoNumberError, Summary
from builders.recipe import Evaluation, Grading
from builders.standalone.evaluation import Evaluated, evaluate
from builders.standalone.grading import grade, grade_samples
from store import CONTRACTS
from store.errors import InputError, MissingError, UnreachableError
from tests.engine_models import save_model
from tests.fault_server import FaultServer, ok, status
from tests.made_benchmarks import answer, benchmark, is_chat, number_of, row, written
from tests.smoke_run import command

pytestmark = pytest.mark.skipif(not sandbox.is_available(), reason="no sandbox")

Serve = Callable[..., FaultServer]


@pytest.fixture
def serve(monkeypatch: pytest.MonkeyPatch) -> Iterator[Serve]:
    monkeypatch.setenv("OPENAI_API_KEY", "test")
    monkeypatch.setattr("builders.engines.endpoint.FIRST_BACKOFF_S", 0.01)
    servers: list[FaultServer] = []

    def start(*arguments: Any, **options: Any) -> FaultServer:
        servers.append(FaultServer(*arguments, **options))
        return servers[-1]

    yield start
    for server in servers:
        server.close()


def settings(server: FaultServer, **given: Any) -> Evaluation:
    engine = OpenAISettings(base_url=server.url, max_in_flight=given.pop("max_in_flight", 8), max_retries=1)
    return Evaluation(engine=engine, **{"forms": ("chat",), "max_tokens": 64} | given)


def asked(server: FaultServer, path: Path, folder: Path | None = None, **given: Any) -> Evaluated:
    return evaluate("m", [named(f"made={path}")], settings(server, **given), folder=folder)


def pass_at(summary: Summary) -> dict[str, float] | None:
    """The rates without their intervals."""
    return summary.rates and {k: v for k, v in summary.rates.items() if not k.endswith(("_low", "_high"))}


def without_seconds(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [{k: v for k, v in one.items() if k != "seconds"} for one in rows]


# -- errors are no scores --------------------------------------------------------------------------


def test_right_answers_pass_and_wrong_ones_fail(serve: Serve, tmp_path: Path) -> None:
    server = serve(lambda body, _: ok("def plus_1(x): return 0") if number_of(body) == 1 else answer(body))
    found = asked(server, benchmark(tmp_path / "b.jsonl", 4), forms=("chat", "completion"))
    assert [(s.form, s.tasks, s.answered, pass_at(s)) for s in found.summaries] == [
        ("chat", 4, 4, {"pass@1": 0.75}),
        ("completion", 4, 4, {"pass@1": 0.75}),
    ]
    wrong = next(one for one in found.rows if not one["is_passed"])
    assert (wrong["task_id"], wrong["status"], wrong["error"]) == ("Made/1", "failed", None)
    assert "return 0" in wrong["extracted"] and wrong["message"].startswith("AssertionError")
    assert wrong["completion"] and wrong["seconds"] > 0


def test_164_refusals_are_no_zero(serve: Serve, tmp_path: Path) -> None:
    server = serve(lambda body, _: status(400, "context too long"))
    with pytest.raises(NoNumberError, match="ended in an engine error, such as: '400: context too long'") as raised:
        asked(server, benchmark(tmp_path / "b.jsonl", 164))
    (summary,) = raised.value.summaries
    assert raised.value.exit_code == 1 and summary.rates is None
    assert (summary.tasks, summary.answered, summary.unanswered) == (164, 0, 164)
    assert summary.errors["400: context too long"] == len(server.seen) < 164, "the others are not even asked"
    assert sum(summary.errors.values()) == 164


@pytest.mark.parametrize(("engine_share", "says"), [(0.05, r"2\d of 40"), (1.0, "20 of 40")])
def test_half_refused_is_no_number(serve: Serve, tmp_path: Path, engine_share: float, says: str) -> None:
    """The engine ends the run after its 11th error; or else it is the share of the evaluation."""
    server = serve(lambda body, _: status(400, "no") if number_of(body) % 2 else answer(body))
    given = settings(server, max_in_flight=1)
    given = given.model_copy(update={"engine": given.engine.model_copy(update={"max_error_share": engine_share})})
    with pytest.raises(NoNumberError, match=says) as raised:
        evaluate("m", [named(str(benchmark(tmp_path / "b.jsonl", 40)))], given, folder=tmp_path / "out")
    assert ("max-error-share, which is 0.02" if engine_share < 1 else "--max-error-share 0.02") in str(raised.value)
    assert "0.05" not in str(raised.value)
    (summary,) = raised.value.summaries
    assert summary.rates is None and summary.answered + summary.unanswered == 40
    kept = json.loads((tmp_path / "out" / "summary.json").read_text())
    assert (kept[0]["pass@1"], kept[0]["unanswered"]) == (None, summary.unanswered)


def test_a_few_refusals_are_left_out_of_the_number_and_said(serve: Serve, tmp_path: Path) -> None:
    server = serve(lambda body, _: status(400, "no") if number_of(body) == 3 else answer(body))
    found = asked(server, benchmark(tmp_path / "b.jsonl", 60))
    (summary,) = found.summaries
    assert (summary.answered, summary.unanswered, pass_at(summary)) == (59, 1, {"pass@1": 1.0})
    (lost,) = [one for one in found.rows if one["status"] == "unanswered"]
    assert (lost["task_id"], lost["error"], lost["finish_reason"]) == ("Made/3", "400: no", "error")
    assert "1 answer missing: 1 × 400: no" in summary.remarks()[0]


def test_a_prompt_that_does_not_fit_is_no_answer(tmp_path: Path) -> None:
    model = save_model(tmp_path / "model")
    given = Evaluation(
        engine=TransformersSettings(max_model_tokens=4, num_threads=1), forms=("completion",), max_tokens=4
    )
    with pytest.raises(NoNumberError, match="do not fit into the model's window"):
        evaluate(model, [named(str(benchmark(tmp_path / "b.jsonl", 2)))], given)


def test_cut_answers_are_judged_and_counted(serve: Serve, tmp_path: Path) -> None:
    server = serve(lambda body, _: answer(body, "length" if number_of(body) < 2 else "stop"))
    (summary,) = asked(server, benchmark(tmp_path / "b.jsonl", 3)).summaries
    assert (summary.answered, summary.truncated, pass_at(summary)) == (3, 2, {"pass@1": 1.0})


def test_empty_and_cut_answers_are_said_loudly(serve: Serve, tmp_path: Path) -> None:
    def said(body: dict[str, Any], _: int) -> Any:
        number = number_of(body)
        return ok("  \n") if number < 4 else ok("", "length") if number < 6 else answer(body)

    path = benchmark(tmp_path / "b.jsonl", 10)
    (summary,) = asked(serve(said), path, max_error_share=0.6).summaries
    assert (summary.answered, summary.empty, summary.truncated, summary.num_poor) == (10, 6, 2, 6)
    told = summary.remarks()
    assert summary.as_json()["warnings"] == [remark.removeprefix("made (chat): ") for remark in told[:3]]
    assert "more than half of the answers failed and are empty or cut" in told[0]
    assert "6 of 10 answers are empty: the model's text may be in another field" in told[1]
    assert "2 of 10 answers were cut at max_tokens=64: raise --max-tokens" in told[2]
    in_a_run = summary.remarks("evaluation.max_tokens")
    assert in_a_run[2].endswith("raise evaluation.max_tokens") and in_a_run[:2] == told[:2]
    with pytest.raises(NoNumberError, match="6 of 10 answers failed and are empty or were cut at --max-tokens"):
        asked(serve(said), path, max_error_share=0.5)
    few = asked(serve(lambda b, _: ok("") if number_of(b) == 0 else answer(b)), benchmark(tmp_path / "c.jsonl", 10))
    assert few.summaries[0].empty == 1 and few.summaries[0].remarks() == []


def test_a_refused_key_ends_at_once(serve: Serve, tmp_path: Path) -> None:
    server = serve(lambda body, _: status(401, "no"))
    with pytest.raises(NoNumberError, match="check the variable OPENAI_API_KEY"):
        asked(server, benchmark(tmp_path / "b.jsonl", 50), max_in_flight=2)
    assert len(server.seen) <= 3


def test_an_unknown_host_is_told_before_anything_is_asked(tmp_path: Path) -> None:
    given = Evaluation(engine=OpenAISettings(base_url="http://no-such-host.invalid/v1"), forms=("chat",))
    began = time.monotonic()
    with pytest.raises(UnreachableError, match=r"the host 'no-such-host\.invalid' of base_url"):
        evaluate("m", [named(str(benchmark(tmp_path / "b.jsonl", 2)))], given)
    assert time.monotonic() - began < 30


def test_a_benchmark_without_tests_ends_before_the_first_request(serve: Serve, tmp_path: Path) -> None:
    server = serve(lambda body, _: answer(body))
    path = written(tmp_path / "b.jsonl", [row(n, tests="") for n in range(3)])
    with pytest.raises(NoNumberError, match="no task of made can be judged here: the file has no tests") as raised:
        asked(server, path)
    assert not server.seen and raised.value.summaries[0].ungradable == 3


def test_the_key_is_missed_before_the_benchmarks_are_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    given = Evaluation(engine=OpenAISettings(base_url="http://192.0.2.1/v1"), forms=("chat",))
    (tmp_path / "b.jsonl").write_text("no benchmark at all")
    with pytest.raises(InputError, match="the environment variable OPENAI_API_KEY is not set"):
        evaluate("m", [named(str(tmp_path / "b.jsonl"))], given)


def test_of_many_tasks_that_cannot_be_judged_the_first_are_named(serve: Serve, tmp_path: Path) -> None:
    server, said = serve(lambda body, _: answer(body)), list[str]()
    path = written(tmp_path / "b.jsonl", [row(n, tests="") for n in range(14)])
    with pytest.raises(NoNumberError):
        evaluate("m", [named(str(path))], settings(server), announce=said.append)
    assert sum("Made/" in line for line in said) == 1 and any(line.endswith("Made/9 and 4 more") for line in said)


def test_tasks_that_lack_a_library_are_named_and_not_asked(serve: Serve, tmp_path: Path) -> None:
    server, said = serve(lambda body, _: answer(body)), list[str]()
    rows = [row(0), row(1, tests="import wordninja\ndef check(candidate):\n    wordninja.split(candidate(1))\n")]
    path = written(tmp_path / "b.jsonl", rows)
    given = settings(server, max_error_share=0.5)
    found = evaluate("m", [named(f"made={path}")], given, announce=said.append)
    assert any("Made/1" in line for line in said) and any("missing libraries: wordninja" in line for line in said)
    (summary,) = found.summaries
    assert (summary.ungradable, summary.missing_modules) == (1, {"wordninja": 1})
    assert pass_at(summary) == {"pass@1": 1.0} and len(server.seen) == 1
    assert [one["status"] for one in found.rows] == ["passed", "ungradable"]


def test_a_timeout_and_a_library_of_an_answer_are_counted(serve: Serve, tmp_path: Path) -> None:
    said = {0: "def plus_0(x):\n    while True: pass", 1: "import wordninja\ndef plus_1(x):\n    return x + 1"}
    server = serve(lambda body, _: ok(said[number_of(body)]) if number_of(body) in said else answer(body))
    given = {"grading": Grading(wall_s=1), "max_error_share": 0.5}
    (summary,) = asked(server, benchmark(tmp_path / "b.jsonl", 3), **given).summaries
    assert summary.statuses == {"missing": 1, "passed": 1, "timeout": 1}
    assert summary.missing_modules == {"wordninja": 1}
    assert any("`scoder environment DIR --packages wordninja`" in remark for remark in summary.remarks())
    assert pass_at(summary) == {"pass@1": 0.5}
    with pytest.raises(
        NoNumberError, match=r"missing, more than --max-error-share 0\.02 allows: 1 × the sandbox lacks"
    ):
        asked(server, benchmark(tmp_path / "b.jsonl", 3), grading=Grading(wall_s=1))


def test_libraries_of_answers_are_counted_by_name_and_the_command_is_given(serve: Serve, tmp_path: Path) -> None:
    said = {n: f"import {name}\ndef plus_{n}(x): return x" for n, name in enumerate(("cv2", "cv2.x", "wordninja"))}
    server = serve(lambda body, _: ok(said[number_of(body)]) if number_of(body) in said else answer(body))
    with pytest.raises(NoNumberError) as raised:
        asked(server, benchmark(tmp_path / "b.jsonl", 4))
    assert "2 × the sandbox lacks cv2; 1 × the sandbox lacks wordninja. To have them: `scoder environment DIR " in str(
        raised.value
    )
    assert "--packages opencv-python-headless,wordninja`, then give --environment DIR" in str(raised.value)


def test_a_library_that_we_do_not_know_is_named_too(tmp_path: Path) -> None:
    rows = [row(0), row(1, solution="    import strange_library\n    return x + 1\n")]
    samples = written(tmp_path / "s.jsonl", [{"task_id": f"Made/{n}", "completion": "    return x\n"} for n in (0, 1)])
    (summary,) = grade_samples(samples, [named(str(written(tmp_path / "b.jsonl", rows)))], Grading(), 0.5).summaries
    assert summary.missing_modules == {"strange_library": 1} and summary.ungradable == 1


# -- forms -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(("code", "refused"), [(404, "completion"), (400, "completion"), (400, "chat")])
def test_a_form_that_an_endpoint_lacks_has_no_rows(serve: Serve, tmp_path: Path, code: int, refused: str) -> None:
    server = serve(lambda b, _: status(code, "not here") if is_chat(b) == (refused == "chat") else answer(b))
    path = benchmark(tmp_path / "b.jsonl", 3)
    found = asked(server, path, tmp_path / "out", forms=("completion", "chat"))
    other = "chat" if refused == "completion" else "completion"
    assert {one["form"] for one in found.rows} == {other}
    by_form = {summary.form: summary for summary in found.summaries}
    assert pass_at(by_form[other]) == {"pass@1": 1.0} and by_form[refused].rates is None
    assert str(code) in (by_form[refused].left_out or "")
    again = grade(tmp_path / "out")
    assert without_seconds(again.rows) == without_seconds(found.rows)
    assert [s.left_out for s in again.summaries] == [s.left_out for s in found.summaries]


def test_an_endpoint_that_refuses_all_forms_is_an_error(serve: Serve, tmp_path: Path) -> None:
    server = serve(lambda body, _: status(400, "not here"))
    with pytest.raises(Exception, match="m cannot be asked in the form completion or chat") as raised:
        asked(server, benchmark(tmp_path / "b.jsonl", 3), forms=("completion", "chat"))
    assert raised.value.exit_code == 1  # type: ignore[attr-defined]


# -- kept and resumed ------------------------------------------------------------------------------


def test_a_killed_evaluation_is_resumed_and_asks_nothing_twice(serve: Serve, tmp_path: Path) -> None:
    path, folder = benchmark(tmp_path / "b.jsonl", 60), tmp_path / "out"
    server = serve(lambda body, _: answer(body), delay_s=lambda body: 0.05)
    arguments = ["evaluate", "m", "--benchmarks", f"made={path}", "--engine", "openai", "--base-url", server.url]
    arguments += ["--form", "chat", "--form", "completion", "--max-tokens", "64", "-o", str(folder)]
    arguments += ["--set", "engine.max_in_flight=4", "--set", "engine.max_retries=1"]
    with subprocess.Popen(command(*arguments), stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        while server.paid.total() < 40 and process.poll() is None:
            time.sleep(0.02)
        process.kill()
        process.communicate()
    journal = folder / "answers" / "shard-00000.jsonl"
    lines = [line for line in journal.read_bytes().splitlines(keepends=True) if line.endswith(b"\n")]
    kept = len(lines)
    assert 20 < kept < 110 and not (folder / "summary.json").exists()
    before = len(server.seen)

    resumed = asked(server, path, folder, forms=("chat", "completion"), max_in_flight=4)
    assert len(server.seen) - before == 120 - kept, "only what was not kept is asked"
    uninterrupted = asked(serve(lambda body, _: answer(body)), path, tmp_path / "other", forms=("chat", "completion"))
    assert without_seconds(resumed.rows) == without_seconds(uninterrupted.rows) and len(resumed.rows) == 120
    asked(server, path, folder, forms=("chat", "completion"), max_in_flight=4)
    assert len(server.seen) - before == 120 - kept, "a finished evaluation asks nothing"


def test_a_line_that_was_cut_is_asked_again(serve: Serve, tmp_path: Path) -> None:
    path, server = benchmark(tmp_path / "b.jsonl", 5), serve(lambda body, _: answer(body))
    first = asked(server, path, tmp_path / "out")
    journal = tmp_path / "out" / "answers" / "shard-00000.jsonl"
    journal.write_bytes(journal.read_bytes()[:-20])
    again = asked(server, path, tmp_path / "out")
    assert len(server.seen) == 6 and without_seconds(again.rows) == without_seconds(first.rows)


def test_refused_requests_are_asked_again_in_the_same_folder(serve: Serve, tmp_path: Path) -> None:
    is_bad, path = [True], benchmark(tmp_path / "b.jsonl", 5)
    server = serve(lambda body, _: status(400, "no") if is_bad and number_of(body) == 2 else answer(body))
    with pytest.raises(NoNumberError, match="1 of 5"):
        asked(server, path, tmp_path / "out")
    is_bad.clear()
    (summary,) = asked(server, path, tmp_path / "out").summaries
    assert pass_at(summary) == {"pass@1": 1.0} and len(server.seen) == 6


@pytest.mark.parametrize(
    ("given", "names"),
    [
        ({"max_tokens": 65}, "max_tokens: 64 -> 65"),
        ({"temperature": 0.5}, "temperature: 0.0 -> 0.5"),
        ({"top_p": 0.5}, "top_p: 1.0 -> 0.5"),
        ({"forms": ("completion",)}, "forms"),
    ],
)
def test_another_run_in_the_same_folder_is_refused(
    serve: Serve, tmp_path: Path, given: dict[str, Any], names: str
) -> None:
    path, server = benchmark(tmp_path / "b.jsonl", 2), serve(lambda body, _: answer(body))
    asked(server, path, tmp_path / "out")
    before = (tmp_path / "out" / "rows.parquet").read_bytes()
    with pytest.raises(InputError, match=names):
        asked(server, path, tmp_path / "out", **given)
    assert (tmp_path / "out" / "rows.parquet").read_bytes() == before and len(server.seen) == 2


def test_other_tasks_a_strange_folder_and_a_busy_one_are_refused(serve: Serve, tmp_path: Path) -> None:
    path, server = benchmark(tmp_path / "b.jsonl", 2), serve(lambda body, _: answer(body))
    asked(server, path, tmp_path / "out")
    benchmark(path, 3)
    with pytest.raises(InputError, match=r"benchmarks\.made\.asked"):
        asked(server, path, tmp_path / "out")
    (tmp_path / "file").touch()
    for place, says in ((tmp_path / "file", "it is a file"), (Path("/proc/x"), "the folder /proc/x cannot be made")):
        with pytest.raises(InputError, match=says):
            asked(server, path, place)
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "file").touch()
    with pytest.raises(InputError, match="holds other files"):
        asked(server, path, tmp_path / "full")


def test_what_is_kept_holds_no_key(serve: Serve, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    server = serve(lambda body, _: answer(body))
    monkeypatch.setenv("OPENAI_API_KEY", "sk-secret-of-the-test")
    asked(server, benchmark(tmp_path / "b.jsonl", 2), tmp_path / "out")
    files = [path for path in (tmp_path / "out").rglob("*") if path.is_file()]
    assert len(files) >= 6 and not any(b"sk-secret" in path.read_bytes() for path in files)


def test_a_local_model_is_asked_by_whole_shards_and_resumed(tmp_path: Path) -> None:
    """With batches of 1, a shard holds 8 answers. The first is kept when the second is lost."""
    model, path = save_model(tmp_path / "model"), benchmark(tmp_path / "b.jsonl", 10)
    engine = TransformersSettings(max_model_tokens=256, num_threads=1, micro_batch=1)
    given = Evaluation(engine=engine, forms=("completion",), max_tokens=4)
    first = evaluate(model, [named(str(path))], given, folder=tmp_path / "out")
    answers = tmp_path / "out" / "answers"
    assert sorted(file.name for file in answers.iterdir()) == ["shard-00000.jsonl", "shard-00001.jsonl"]
    before = (answers / "shard-00000.jsonl").read_bytes()
    (answers / "shard-00001.jsonl").write_bytes((answers / "shard-00001.jsonl").read_bytes()[:-5])
    again = evaluate(model, [named(str(path))], given, folder=tmp_path / "out")
    assert without_seconds(again.rows) == without_seconds(first.rows)
    assert (answers / "shard-00000.jsonl").read_bytes() == before


# -- judged again ----------------------------------------------------------------------------------


def test_answers_are_judged_again_with_other_limits_and_no_model(
    serve: Serve, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    slow = "import time\ndef plus_0(x):\n    time.sleep(0.8)\n    return x"
    server = serve(lambda body, _: ok(slow) if number_of(body) == 0 else answer(body))
    monkeypatch.chdir(tmp_path)
    path = benchmark(Path("b.jsonl"), 2)
    (first,) = asked(server, path, tmp_path / "out", grading=Grading(wall_s=0.9)).summaries
    assert first.statuses == {"passed": 1, "timeout": 1}
    num_seen = len(server.seen)
    monkeypatch.chdir("/")
    (again,) = grade(tmp_path / "out", Grading(wall_s=20)).summaries
    assert again.statuses == {"passed": 2} and len(server.seen) == num_seen
    rows = pq.read_table(tmp_path / "out" / "rows.parquet")
    assert rows.schema.names == CONTRACTS["evaluations"].names and rows["is_passed"].to_pylist() == [True, True]
    assert json.loads((tmp_path / "out" / "summary.json").read_text())[0]["pass@1"] == 1.0


@pytest.mark.parametrize("loss", ["cut", "line", "all"])
def test_lost_answers_are_named_and_what_was_judged_stays(serve: Serve, tmp_path: Path, loss: str) -> None:
    """The end of a shard is cut, a line in it is damaged, or the folder of answers is gone."""
    server, out = serve(lambda body, _: answer(body)), tmp_path / "out"
    given = {"max_error_share": 1.0}
    asked(server, benchmark(tmp_path / "b.jsonl", 4), out, **given)
    before = {name: (out / name).read_bytes() for name in ("rows.parquet", "summary.json")}
    journal = out / "answers" / "shard-00000.jsonl"
    data = journal.read_bytes()
    if loss == "all":
        shutil.rmtree(out / "answers")
    else:
        journal.write_bytes(data[:-50] if loss == "cut" else data.replace(b"{", b"#", 1))
    says = {"cut": "shard-00000.jsonl, line 4", "line": "shard-00000.jsonl, line 1", "all": "any more"}
    count = "4 of 4" if loss == "all" else "1 of 4"
    with pytest.raises(InputError, match=rf"{count} answers .* are lost, those to Made/\d.*{says[loss]}"):
        grade(out)
    assert {name: (out / name).read_bytes() for name in before} == before
    asked(server, tmp_path / "b.jsonl", out, **given)
    assert grade(out).summaries[0].answered == 4, "what was asked again mends it"


def test_a_run_that_is_broken_off_leaves_the_results_of_a_finished_one(serve: Serve, tmp_path: Path) -> None:
    is_bad, out = list[bool](), tmp_path / "out"
    server = serve(lambda body, _: status(401, "no") if is_bad else answer(body))
    asked(server, benchmark(tmp_path / "b.jsonl", 2), out)
    shutil.rmtree(out / "answers")
    is_bad.append(True)
    with pytest.raises(NoNumberError, match="2 of 2 answers are missing"):
        asked(server, tmp_path / "b.jsonl", out)
    assert json.loads((out / "summary.json").read_text())[0]["pass@1"] == 1.0


def test_a_damaged_line_is_refused_also_where_nothing_was_judged(serve: Serve, tmp_path: Path) -> None:
    """A kill leaves a last line that was cut: it is only said. Damage in the middle is refused."""
    server, out, said = serve(lambda body, _: answer(body)), tmp_path / "out", list[str]()
    asked(server, benchmark(tmp_path / "b.jsonl", 4), out)
    (out / "rows.parquet").unlink()
    journal = out / "answers" / "shard-00000.jsonl"
    data = journal.read_bytes()
    journal.write_bytes(data[:-50])
    (summary,) = grade(out, max_error_share=0.5, announce=said.append).summaries
    assert summary.unanswered == 1 and any("line 4 cannot be read: 1 answers are missing" in line for line in said)
    (out / "rows.parquet").unlink()
    journal.write_bytes(data.replace(b"{", b"#", 1))
    with pytest.raises(InputError, match="line 1 cannot be read, and 1 of 4 answers are missing"):
        grade(out, max_error_share=0.5)
    assert not (out / "rows.parquet").exists()


@pytest.mark.parametrize(("sign", "kept"), [("\ud800", "\ufffd"), ("\0", "\0")], ids=["surrogate", "null"])
def test_an_answer_with_half_of_a_character_spoils_no_other(serve: Serve, tmp_path: Path, sign: str, kept: str) -> None:
    """In an answer, in a journal that an older version wrote, and in samples."""
    code = f"def plus_1(x): return x + 1  # {sign}"
    server = serve(lambda body, _: ok(code) if number_of(body) == 1 else answer(body))
    path, out = benchmark(tmp_path / "b.jsonl", 4), tmp_path / "out"
    found = asked(server, path, out)
    assert pq.read_table(out / "rows.parquet")["completion"].to_pylist()[1] == code.replace(sign, kept)
    (journal,) = (out / "answers").glob("shard-*.jsonl")
    old = journal.read_text().replace(json.dumps(kept)[1:-1], json.dumps(sign)[1:-1])
    journal.write_text(old)
    assert json.dumps(sign)[1:-1] in old and len(server.seen) == 4
    assert without_seconds(grade(out).rows) == without_seconds(found.rows)
    assert without_seconds(asked(server, path, out).rows) == without_seconds(found.rows)
    samples = written(tmp_path / "s.jsonl", [{"task_id": f"Made/{n}", "solution": code} for n in range(4)])
    judged = grade_samples(samples, [named(str(path))], Grading(), 0.0, folder=tmp_path / "judged").rows
    assert [one["completion"] for one in judged] == [code.replace(sign, kept)] * 4
    assert len(server.seen) == 4


def test_samples_of_other_harnesses_are_judged_and_written(serve: Serve, tmp_path: Path) -> None:
    path = benchmark(tmp_path / "b.jsonl", 3)
    server = serve(lambda body, _: ok("def plus_1(x): return 0") if number_of(body) == 1 else answer(body))
    asked(server, path, tmp_path / "out")
    given = [named(f"made={path}")]
    for file in ("made-chat.jsonl", "made-chat.generations.json"):
        (summary,) = grade_samples(tmp_path / "out" / "samples" / file, given, Grading(), 0.02).summaries
        assert pass_at(summary) == {"pass@1": pytest.approx(2 / 3, abs=1e-4)}, file


def test_verdicts_on_samples_are_kept_in_a_folder(tmp_path: Path) -> None:
    path, out = benchmark(tmp_path / "b.jsonl", 2), tmp_path / "out"
    samples = written(tmp_path / "s.jsonl", [{"task_id": f"Made/{n}", "completion": "    return x\n"} for n in (0, 1)])
    for _ in range(2):
        found = grade_samples(samples, [named(str(path))], Grading(), 0.02, folder=out)
    rows = pq.read_table(out / "rows.parquet")
    assert rows.schema.names == CONTRACTS["evaluations"].names and rows["is_passed"].to_pylist() == [True, False]
    assert json.loads((out / "summary.json").read_text()) == [found.summaries[0].as_json()]
    (out / "mine").touch()
    with pytest.raises(InputError, match="holds mine"):
        grade_samples(samples, [named(str(path))], Grading(), 0.02, folder=out)


def test_samples_run_as_they_are(tmp_path: Path) -> None:
    """As in EvalPlus: code in a fence is no program, and what stands after the solution runs."""
    path = benchmark(tmp_path / "b.jsonl", 4)
    right = "def plus_{0}(x):\n    return x + {0}\n"
    texts = [f"```python\n{right.format(0)}```", right.format(1) + "raise ValueError", right.format(2)]
    samples = [{"task_id": f"Made/{n}", "solution": text} for n, text in enumerate(texts)]
    samples.append({"task_id": "Made/3", "completion": "    return x + 3\n\nraise ValueError"})
    found = grade_samples(written(tmp_path / "s.jsonl", samples), [named(f"made={path}")], Grading(), 1.0)
    passed = {(one["task_id"], one["form"]) for one in found.rows if one["is_passed"]}
    assert passed == {("Made/2", "samples")}


def test_samples_that_are_written_hold_all_that_was_judged(serve: Serve, tmp_path: Path) -> None:
    """The tests of HumanEval may use what the prompt has above the function."""
    helped = row(0)
    helped["prompt"] = "import math\n\n\ndef helper(x):\n    return math.floor(x)\n\n\n" + helped["prompt"]
    helped["test"] = "def check(candidate):\n    assert candidate(2) == helper(2.5)\n"
    path = written(tmp_path / "b.jsonl", [helped])
    code = "from __future__ import annotations\ndef plus_0(x: Unknown):\n    return helper(x)\n"
    (first,) = asked(serve(lambda body, _: ok(code)), path, tmp_path / "out").rows
    assert first["is_passed"], first["message"]
    file = tmp_path / "out" / "samples" / "made-chat.jsonl"
    solution = json.loads(file.read_text())["solution"]
    assert solution.startswith("from __future__ import annotations\nimport math\n")
    space: dict[str, Any] = {}
    exec(compile(solution, "solution", "exec"), space)
    assert space["plus_0"](2.5) == 2
    (again,) = grade_samples(file, [named(f"made={path}")], Grading(), 0.0).rows
    assert again["is_passed"], again["message"]


def test_the_ungradable_tasks_are_named(serve: Serve, tmp_path: Path) -> None:
    path = written(tmp_path / "b.jsonl", [row(0), row(1, tests="")])
    server = serve(lambda body, _: answer(body))
    (summary,) = asked(server, path, max_error_share=0.5).summaries
    assert list(summary.as_json()["ungradable_tasks"]) == ["Made/1"]
    assert (summary.tasks, summary.judged, summary.if_missing) == (2, 1, (0.5, 1.0))
    assert summary.as_line()["pass@1"].endswith(" over 1 of 2 tasks") and summary.as_line()["judged"] == 1
    assert any("0.500 if all missing answers failed, and 1.000 if all passed" in one for one in summary.remarks())


def test_more_ungradable_tasks_than_are_borne_end_before_the_first_request(serve: Serve, tmp_path: Path) -> None:
    """Tasks that cannot be judged are missing: pass@1 of the others is not the benchmark's."""
    server = serve(lambda body, _: answer(body))
    lacking = "import wordninja\ndef check(candidate):\n    wordninja.split(candidate(1))\n"
    path = written(tmp_path / "b.jsonl", [row(0), *(row(n, tests=lacking) for n in range(1, 4))])
    with pytest.raises(NoNumberError, match="3 of 4 tasks of made cannot be judged here, more than") as raised:
        asked(server, path, max_error_share=0.7)
    assert "3 × the sandbox lacks wordninja" in str(raised.value) and not server.seen
    assert "`scoder environment DIR --benchmarks …`" in str(raised.value)
    assert "--max-error-share 0.75: the number is then over at most 1 task" in str(raised.value)
    (summary,) = raised.value.summaries
    assert (summary.rates, summary.ungradable, summary.tasks) == (None, 3, 4)
    (borne,) = asked(server, path, max_error_share=0.75).summaries
    assert (pass_at(borne), borne.judged, borne.if_missing) == ({"pass@1": 1.0}, 1, (0.25, 1.0))
    samples = written(tmp_path / "s.jsonl", [{"task_id": "Made/0", "completion": "    return x\n"}])
    with pytest.raises(NoNumberError, match=r"3 of 4 answers are missing, more than --max-error-share 0\.02"):
        grade_samples(samples, [named(str(path))], Grading(), 0.02)


def test_one_ungradable_task_of_many_is_borne(serve: Serve, tmp_path: Path) -> None:
    path = written(tmp_path / "b.jsonl", [row(n, tests="" if n == 7 else None) for n in range(60)])
    (summary,) = asked(serve(lambda body, _: answer(body)), path).summaries
    assert (pass_at(summary), summary.judged, summary.tasks) == ({"pass@1": 1.0}, 59, 60)


def test_messages_without_text_are_no_wrong_answers(serve: Serve, tmp_path: Path) -> None:
    """A model that calls tools has not answered. One that thinks to the end was cut."""

    def said(reason: str) -> Any:
        message = {"role": "assistant", "content": None, "tool_calls": []}
        return web.json_response({"choices": [{"message": message, "finish_reason": reason}]})

    server = serve(lambda body, _: said("tool_calls"))
    with pytest.raises(NoNumberError, match=r"has no text \(finish_reason tool_calls\)") as raised:
        asked(server, benchmark(tmp_path / "b.jsonl", 20), max_in_flight=1)
    assert str(raised.value).count("of 20") == 1 and "11 of 11" not in str(raised.value), "one count"
    with pytest.raises(NoNumberError, match="content null, finish_reason stop"):
        asked(serve(lambda body, _: said("stop")), tmp_path / "b.jsonl")
    with pytest.raises(NoNumberError, match="20 of 20 answers failed and are empty or were cut"):
        asked(serve(lambda body, _: said("length")), tmp_path / "b.jsonl")


def test_a_completion_that_is_cut_is_no_loss(serve: Serve, tmp_path: Path) -> None:
    """Base models go on until something ends them. In a chat the same is no number."""
    path = benchmark(tmp_path / "b.jsonl", 4)
    server = serve(lambda body, _: ok("    return 7\n", "length"))
    (summary,) = asked(server, path, forms=("completion",)).summaries
    assert (pass_at(summary), summary.truncated, summary.num_poor) == ({"pass@1": 0.0}, 4, 0)
    assert summary.as_json()["warnings"] == ["4 of 4 answers were cut at max_tokens=64: raise --max-tokens"]
    with pytest.raises(NoNumberError, match="4 of 4 answers failed and are empty or were cut"):
        asked(server, path)


def test_a_module_that_nobody_knows_is_named_and_the_answer_has_failed(serve: Serve, tmp_path: Path) -> None:
    def said(body: dict[str, Any], _: int) -> Any:
        number = number_of(body)
        raised = "    raise ImportError(\"No module named 'made_up'\")"
        first = f"import nosuchlib_abc\ndef plus_{number}(x):\n    return x"
        return ok([first, f"def plus_{number}(x):\n{raised}"][number]) if number < 2 else answer(body)

    (summary,) = asked(serve(said), benchmark(tmp_path / "b.jsonl", 4)).summaries
    assert (pass_at(summary), summary.statuses) == ({"pass@1": 0.5}, {"failed": 2, "passed": 2})
    assert summary.as_json()["unknown_modules"] == {"nosuchlib_abc": 1} and summary.missing_modules == {}
    assert "1 answer failed with an import that is not known here: nosuchlib_abc (1)" in summary.remarks()[0]


def test_a_task_without_a_sample_is_unanswered(tmp_path: Path) -> None:
    path = benchmark(tmp_path / "b.jsonl", 2)
    samples = written(tmp_path / "s.jsonl", [{"task_id": "Made/0", "completion": "    return x\n"}])
    with pytest.raises(NoNumberError, match="1 of 2 answers are missing"):
        grade_samples(samples, [named(str(path))], Grading(), 0.02)
    said = list[str]()
    (summary,) = grade_samples(samples, [named(str(path))], Grading(), 0.5, announce=said.append).summaries
    assert summary.errors == {"the file has no sample for it": 1}
    assert any(line.endswith("unanswered: Made/1") and "no sample for 1 of 2 tasks of b" in line for line in said)
    assert (summary.form, pass_at(summary), summary.unanswered) == ("completion", {"pass@1": 1.0}, 1)


# -- samples, once more ----------------------------------------------------------------------------


def test_verdicts_on_samples_can_be_judged_again(tmp_path: Path) -> None:
    path, out = benchmark(tmp_path / "b.jsonl", 4), tmp_path / "out"
    texts = [f"def plus_{n}(x): return x + {n}" for n in (0, 7, 2)]
    samples = written(tmp_path / "s.jsonl", [{"task_id": str(n), "solution": text} for n, text in enumerate(texts)])
    first = grade_samples(samples, [named(f"made={path}")], Grading(), 0.5, folder=out).rows
    samples.unlink()
    again = grade(out, Grading(wall_s=20)).rows
    assert without_seconds(again) == without_seconds(first)
    assert [one["form"] for one in again] == ["samples"] * 4
    kept = json.loads((out / "settings.json").read_text())
    assert (kept["model"], kept["evaluation"]["grading"]["wall_s"]) == ("s.jsonl", 20)
    with pytest.raises(InputError, match="holds the answers of another run"):
        evaluate("m", [named(f"made={path}")], Evaluation(engine=OpenAISettings()), folder=out)
    benchmark(path, 1)
    with pytest.raises(InputError, match=r"Made/1' is in none of made"):
        grade(out)


def test_a_folder_of_an_older_version_is_judged_with_its_benchmarks(tmp_path: Path) -> None:
    path, out = benchmark(tmp_path / "b.jsonl", 2), tmp_path / "old"
    samples = [{"task_id": f"Made/{n}", "solution": f"def plus_{n}(x): return x + {n}"} for n in range(2)]
    found = grade_samples(written(tmp_path / "s", samples), [named(f"made={path}")], Grading(), 0.0, folder=out).rows
    table = pq.read_table(out / "rows.parquet").to_pylist()
    pq.write_table(pa.Table.from_pylist([one | {"form": "chat"} for one in table]), out / "rows.parquet")
    (out / "settings.json").unlink()
    again = grade_samples(out, [named(f"other={path}")], Grading(), 0.0).rows
    assert without_seconds(again) == [one | {"benchmark": "other"} for one in without_seconds(found)]


@pytest.mark.parametrize(
    ("before", "says"), [("", "they begin with a fence"), ("Here:\n", "they hold a fence"), ("x = '''", None)]
)
def test_samples_in_fences_are_said(tmp_path: Path, before: str, says: str | None) -> None:
    path, said = benchmark(tmp_path / "b.jsonl", 2), list[str]()
    rows = [{"task_id": f"Made/{n}", "solution": f"{before}```\ndef plus_{n}(x): return x\n```"} for n in range(2)]
    rows = rows if says else [{"task_id": f"Made/{n}", "solution": f"{before}```'''" if n else "f("} for n in range(2)]
    grade_samples(written(tmp_path / "s", rows), [named(f"made={path}")], Grading(), 0.0, announce=said.append)
    told = [one for one in said if "are not Python" in one]
    assert bool(told) == bool(says)
    if says:
        assert f"made: 2 of 2 samples are not Python ({says})" in told[0] and "evalplus.sanitize" in told[0]


def test_what_was_not_asked_for_and_a_vanished_benchmark_say_what_to_do(serve: Serve, tmp_path: Path) -> None:
    server, path, out = serve(lambda body, _: answer(body)), benchmark(tmp_path / "b.jsonl", 4), tmp_path / "out"
    asked(server, path, out)
    (journal,) = (out / "answers").glob("shard-*.jsonl")
    journal.write_text("".join(journal.read_text().splitlines(keepends=True)[:3]))
    (out / "rows.parquet").unlink()
    with pytest.raises(NoNumberError, match="the same `scoder evaluate` again asks for it"):
        grade(out)
    moved = path.rename(tmp_path / "moved.jsonl")
    with pytest.raises(MissingError, match=f"{out} cannot be judged again: .*{path}.* into {out / 'settings.json'}"):
        grade(out, max_error_share=0.5)
    settings_file = out / "settings.json"
    settings_file.write_text(settings_file.read_text().replace(str(path), str(moved)))
    assert grade(out, max_error_share=0.5).summaries[0].answered == 3, "as the advice says"
