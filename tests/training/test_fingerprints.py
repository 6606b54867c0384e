"""The fingerprint of a model: every file counts but its README, and links count as files."""

from __future__ import annotations

from pathlib import Path

import pytest

from training.fingerprints import MEBIBYTE, model_fingerprint


def model(folder: Path, **files: str) -> Path:
    """A model folder; `files` are further files, or other texts of these."""
    texts = {"config.json": "{}", "model.safetensors": "weights", "README.md": "A model."} | files
    for name, text in texts.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return folder


@pytest.mark.parametrize(
    "name",
    [
        "chat_template.jinja",
        "merges.txt",
        "tokenizer.model",
        "model.safetensors",
        "pytorch_model.bin",
        "modeling_own.py",
        "1_Pooling/config.json",
        "docs/README.md",
    ],
)
def test_a_file_that_changes_or_goes_is_another_model(tmp_path, name):
    folder = model(tmp_path / "m", **{name: "one"})
    before = model_fingerprint(str(folder))
    (folder / name).write_text("two")
    changed = model_fingerprint(str(folder))
    (folder / name).unlink()
    assert len({before, changed, model_fingerprint(str(folder))}) == 3


@pytest.mark.parametrize(
    "name", ["README.md", "readme", ".gitattributes", ".git/config", ".cache/huggingface/x", "model.safetensors.lock"]
)
def test_notes_and_what_tools_leave_behind_do_not_count(tmp_path, name):
    before = model_fingerprint(str(model(tmp_path / "a")))
    assert model_fingerprint(str(model(tmp_path / "b", **{name: "something"}))) == before


def test_the_links_of_the_hubs_cache_are_the_files_that_they_lead_to(tmp_path):
    plain = model(tmp_path / "plain", **{"1_Pooling/config.json": "{}"})
    snapshot, blobs = tmp_path / "snapshot", tmp_path / "blobs"
    blobs.mkdir()
    for number, path in enumerate(p for p in plain.rglob("*") if p.is_file()):
        (blobs / str(number)).write_bytes(path.read_bytes())
        link = snapshot / path.relative_to(plain)
        link.parent.mkdir(parents=True, exist_ok=True)
        link.symlink_to(blobs / str(number))
    before = model_fingerprint(str(plain))
    assert model_fingerprint(str(snapshot)) == before
    for blob in blobs.iterdir():
        blob.write_text("changed")
    assert model_fingerprint(str(snapshot)) != before


def test_the_same_bytes_under_another_name_are_another_model(tmp_path):
    one, two = model(tmp_path / "a", **{"x/a.txt": "t"}), model(tmp_path / "b", **{"y/a.txt": "t"})
    assert model_fingerprint(str(one)) != model_fingerprint(str(two))


def test_of_a_large_file_the_size_and_three_parts_count(tmp_path):
    folder = model(tmp_path / "m")
    data = bytearray(8 * MEBIBYTE)
    found = set()
    for place in (None, 0, len(data) // 2, len(data) - 1):
        if place is not None:
            data[place] = 1
        (folder / "model.safetensors").write_bytes(data)
        found.add(model_fingerprint(str(folder)))
    assert len(found) == 4


def test_a_model_of_the_hub_is_its_name_and_commit():
    assert (
        model_fingerprint("own/model", "abc") == "own/model@abc" and model_fingerprint("own/model") == "own/model@main"
    )
