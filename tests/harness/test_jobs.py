"""What is asked: which jobs have an obstacle, and what their requests are."""

from __future__ import annotations

from dataclasses import replace

from builders.harness.jobs import ASKED, jobs, nothing_gradable, obstacle, requests, tasks_hash
from builders.harness.references import Ready
from builders.harness.rows import unjudged
from builders.harness.summary import summaries
from builders.harness.tasks import FORMS, Task
from builders.recipe import Evaluation

BOTH = Task("T/0", "def f():\n", None, "assert f()", "f", chat="Write f.", completion="def f():\n", stops=("\ndef",))
CHAT = replace(BOTH, task_id="T/1", completion="")
BROKEN = replace(BOTH, task_id="T/2")
TASKS = [BOTH, CHAT, BROKEN]
KNOWN = {"b": {"T/0": Ready(), "T/1": Ready(), "T/2": Ready(ungradable="it has no tests")}}


def test_a_task_without_a_text_for_a_form_is_ungradable_in_this_form_alone() -> None:
    found = {(job.task.task_id, job.form): obstacle(job, KNOWN) for job in jobs({"b": TASKS}, FORMS, 1)}
    assert {key: reason for key, reason in found.items() if reason} == {
        ("T/1", "completion"): "it cannot be asked in the form completion",
        ("T/2", "chat"): "it has no tests",
        ("T/2", "completion"): "it has no tests",
    }


def test_only_what_can_be_judged_is_asked_and_the_rest_is_named() -> None:
    wanted = jobs({"b": TASKS}, FORMS, 1)
    asked = requests(wanted, KNOWN, Evaluation(top_p=0.9, temperature=0.5), seed=3, adapter="a")
    assert [one.request_id for one in asked] == [job.name for job in wanted if obstacle(job, KNOWN) is None]
    assert [(one.top_p, one.temperature, one.adapter) for one in asked] == [(0.9, 0.5, "a")] * 3
    chat, completion = summaries(unjudged([(job, None) for job in wanted], KNOWN), KNOWN, 1.0)
    assert list(chat.ungradable_tasks) == ["T/2"]
    assert completion.as_json()["ungradable_tasks"] == {
        "T/1": "it cannot be asked in the form completion",
        "T/2": "it has no tests",
    }


def test_a_benchmark_that_cannot_be_asked_in_the_wanted_forms_is_said() -> None:
    assert nothing_gradable("b", jobs({"b": TASKS}, ("completion",), 1), KNOWN) is None
    assert nothing_gradable("b", jobs({"b": [CHAT]}, FORMS, 1), KNOWN) is None
    assert nothing_gradable("b", jobs({"b": [CHAT, BROKEN]}, ("completion",), 1), KNOWN) == (
        "no task of b can be judged here: it cannot be asked in the form completion; it has no tests"
    )


def test_other_tests_are_the_same_questions() -> None:
    other = [replace(BOTH, tests="assert f() == 2"), CHAT, BROKEN]
    assert tasks_hash(other, ASKED) == tasks_hash(TASKS, ASKED) and tasks_hash(other) != tasks_hash(TASKS)
    for name in ("chat", "completion", "task_id"):
        assert tasks_hash([replace(BOTH, **{name: "x"}), CHAT, BROKEN], ASKED) != tasks_hash(TASKS, ASKED)
