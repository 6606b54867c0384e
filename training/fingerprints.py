"""What identifies a dataset or a model folder, so that a finished training is recognised.

In: rows, or the name of a model. Out: a short hex digest. Contents matter, paths and times do not.
"""

import hashlib
import json
import os
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from datasets import Dataset

MEBIBYTE = 1 << 20


def dataset_fingerprint(rows: "Dataset") -> str:
    """Digest of the conversations in their order. Other columns do not matter: training ignores
    them.
    """
    # imported here: it loads transformers, seconds that `model_fingerprint` does not need
    from training.examples import as_messages

    digest = hashlib.sha256()
    for row in rows:
        digest.update(json.dumps(as_messages(row), ensure_ascii=False).encode() + b"\n")
    return digest.hexdigest()[:16]


def model_fingerprint(model: str, revision: str | None = None) -> str:
    """Digest of a model folder; for a Hub model its name with the revision.

    Of a large file only the size and the first, middle and last MiB are read. That is enough,
    because weights that were trained differ everywhere.
    """
    if not os.path.isdir(model):
        return f"{model}@{revision or 'main'}"
    digest = hashlib.sha256()
    for path in sorted(path for path in Path(model).iterdir() if path.suffix in {".json", ".safetensors", ".bin"}):
        size = path.stat().st_size
        digest.update(f"{path.name} {size}\n".encode())
        with path.open("rb") as file:
            for offset in sorted({0, max(0, size // 2), max(0, size - MEBIBYTE)}):
                file.seek(offset)
                digest.update(file.read(MEBIBYTE))
    return digest.hexdigest()[:16]
