"""Ruff findings: of each text its own, whatever the texts and the folder around them say."""

import subprocess
import tempfile

import pytest

from builders.checks import names


def test_findings_are_those_of_each_text():
    codes = ["x = y\n", "x = 1\n", "def f():\n    print(x)\n    x = z\n", "x = (\n", ""]
    assert names.findings(codes, names.UNDEFINED) == [1, 0, 2, pytest.approx(1, abs=2), 0]
    assert names.findings(codes, names.UNDEFINED)[3] > 0
    assert names.findings([], names.UNDEFINED) == []


def test_the_order_of_many_texts_is_kept():
    codes = ["\n".join(["x = y"] * (n % 4)) for n in range(25)]
    assert names.findings(codes, "F821") == [n % 4 for n in range(25)]


def test_a_text_cannot_hide_its_findings():
    assert names.findings(["x = y  # noqa\n", "# ruff: noqa\nx = y\n", "# flake8: noqa\nx = y\n"], "F821") == [1, 1, 1]


def test_settings_around_the_temporary_folder_do_not_matter(tmp_path, monkeypatch):
    subprocess.run(["git", "init", "-q", str(tmp_path)], check=True)
    (tmp_path / ".gitignore").write_text("scoder-*\n*.py\n")
    (tmp_path / "ruff.toml").write_text('exclude = ["*.py"]\nlint.ignore = ["F"]\n')
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    assert names.findings(["x = y\n"], "F821") == [1]


def test_only_the_rules_that_are_asked_count():
    assert names.findings(["import os\nx = y\n"], "F821") == [1]
    assert names.findings(["import os\nx = y\n"], names.PYFLAKES) == [2]


def test_text_that_no_file_can_hold_is_still_linted():
    assert names.findings(["x = y  # \ud83d\n"], "F821") == [1]


def test_an_unknown_rule_is_an_error_with_ruffs_own_words():
    with pytest.raises(RuntimeError, match=r"ruff ended with exit code 2\.(.|\n)*NOPE"):
        names.findings(["x = 1\n"], "NOPE")
