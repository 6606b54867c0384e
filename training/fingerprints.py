"""What identifies a dataset or a model folder, so that a finished training is recognised.

In: rows, or the name of a model. Out: a short hex digest. Contents matter, paths and times do not.
"""

import hashlib
import json
import os
from pathlib import Path
from typing import TYPE_CHECKING

from training.errors import UnusableRowError

if TYPE_CHECKING:
    from datasets import Dataset

MEBIBYTE = 1 << 20


def dataset_fingerprint(rows: "Dataset") -> str:
    """Digest of the conversations in their order. Other columns do not matter: training ignores
    them.
    """
    # imported here: it loads transformers, seconds that `model_fingerprint` does not need
    from training.conversations import turns
    from training.tool_calls import without_filled

    digest = hashlib.sha256()
    for row in rows:
        try:
            said: object = turns(without_filled(dict(row)))
        except UnusableRowError as error:
            said = str(error)
        digest.update(json.dumps(said, ensure_ascii=False).encode("utf-8", "backslashreplace") + b"\n")
    return digest.hexdigest()[:16]


def model_fingerprint(model: str, revision: str | None = None) -> str:
    """Digest of a model folder; for a Hub model its name with the revision.

    Every file counts, also in folders below it: chat templates and the files of a tokenizer change
    what a model reads. Left out are the README beside the weights, and what tools leave behind:
    hidden files and folders, and locks. Of a large file only the size and the first, middle and
    last MiB are read. That is enough, because weights that were trained differ everywhere.
    """
    if not os.path.isdir(model):
        return f"{model}@{revision or 'main'}"
    digest = hashlib.sha256()
    for name, path in _files(Path(model)):
        size = path.stat().st_size
        digest.update(f"{name} {size}\n".encode())
        with path.open("rb") as file:
            for offset in sorted({0, max(0, size // 2), max(0, size - MEBIBYTE)}):
                file.seek(offset)
                digest.update(file.read(MEBIBYTE))
    return digest.hexdigest()[:16]


def _files(model: Path) -> list[tuple[str, Path]]:
    """The files that make a model, by their place in its folder.

    A folder that the Hub keeps consists of links to files elsewhere, and these count as files.
    """
    found = []
    for folder, names, files in os.walk(model):
        names[:] = [name for name in names if not name.startswith(".")]
        for file in files:
            path = Path(folder, file)
            is_note = folder == str(model) and file.upper().startswith("README")
            if path.is_file() and not (file.startswith(".") or file.endswith(".lock") or is_note):
                found.append((path.relative_to(model).as_posix(), path))
    return sorted(found)
