"""Checkpoints can be read by whoever may read their folder, and by nobody else."""

import os
import stat
from pathlib import Path

import pytest
import torch
from peft import LoraConfig, get_peft_model

from tests.tiny_models import tiny_qwen
from training.checkpoints import save_checkpoint
from training.examples import load_model, load_tokenizer
from training.whole_files import open_like_folder


@pytest.mark.parametrize("umask", [0o022, 0o077, 0o002])
@pytest.mark.parametrize("kind", ["adapter", "whole"])
def test_the_files_of_a_checkpoint_follow_the_umask(tmp_path: Path, umask: int, kind: str) -> None:
    base = tiny_qwen(tmp_path / "model")
    model, tokenizer = load_model(base, dtype="float32"), load_tokenizer(base)
    if kind == "adapter":
        model = get_peft_model(model, LoraConfig(r=2, target_modules=["q_proj"], task_type="CAUSAL_LM"))
    optimizer = torch.optim.AdamW([p for p in model.parameters() if p.requires_grad])
    before = os.umask(umask)
    try:
        (tmp_path / "checkpoint").mkdir()
        save_checkpoint(tmp_path / "checkpoint", model, tokenizer, optimizer if kind == "adapter" else None)
    finally:
        os.umask(before)
    modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in (tmp_path / "checkpoint").iterdir()}
    assert any(name.endswith(".safetensors") for name in modes) and "tokenizer.json" in modes
    assert modes == dict.fromkeys(modes, 0o666 & ~umask), {name: oct(mode) for name, mode in modes.items()}


def test_links_and_what_they_point_at_keep_their_modes(tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("mine")
    (tmp_path / "secret").chmod(0o600)
    folder = tmp_path / "checkpoint"
    (folder / "inner").mkdir(parents=True)
    (folder / "inner").chmod(0o700)
    (folder / "link").symlink_to(tmp_path / "secret")
    folder.chmod(0o755)
    open_like_folder(folder)
    found = [stat.S_IMODE(path.stat().st_mode) for path in (tmp_path / "secret", folder / "inner")]
    assert found == [0o600, 0o700]
