"""Whether a model or a dataset can be had, before a library looks for it.

In: what a user wrote for a model, an adapter or a dataset. Out: nothing, or a TrainingError at
once. The libraries try a file of the Hub six times, which takes 23 seconds without a network, and
then try the next file. So the Hub is asked here once, about what is neither a folder nor in its
cache. Where HF_HUB_OFFLINE is set, it is not asked at all.

    require("model", "recipes/tiny-base")              # a folder: all is well
    require("model", "./tiny")                         # TrainingError: no folder ./tiny …
    require("model", "HuggingFaceTB/SmolLM2-135M")     # looking for HuggingFaceTB/SmolLM2-135M …
"""

from __future__ import annotations

import os
import re
import sys
from functools import cache
from pathlib import Path
from typing import Literal

from training.errors import TrainingError

Kind = Literal["model", "adapter", "dataset"]

SECONDS = 10
"""How long the Hub may take to answer."""

_ID = re.compile(r"\w[\w.-]*(?:/\w[\w.-]*)?\Z")
_FIRST_FILE = {"model": "config.json", "adapter": "adapter_config.json", "dataset": "README.md"}
_NO_ANSWER = {"TransportError", "ConnectionError", "OfflineModeIsEnabled"}
"""The errors of a request that got no answer, by the names of their classes or of their bases.

The library that huggingface_hub sends requests with has changed twice.
"""


def require(kind: Kind, place: str, revision: str | None = None) -> None:
    """TrainingError if the place is no folder, and the Hub cannot have it or cannot be reached.

    What the Hub answers is for the library that loads: it knows what to make of a token.
    """
    if os.path.exists(place):
        return
    if not _ID.match(place):
        raise TrainingError(f"no folder {place}, and the name cannot be a {kind} of the Hub: check the path")
    _ask(kind, place, revision)


@cache
def _ask(kind: Kind, place: str, revision: str | None) -> None:
    """One request to the Hub about one file, the first time that a process asks for it."""
    from huggingface_hub import constants, get_hf_file_metadata, hf_hub_url
    from huggingface_hub.errors import HfHubHTTPError

    repo_type = "dataset" if kind == "dataset" else "model"
    if constants.HF_HUB_OFFLINE or _is_cached(place, repo_type):
        return
    print(f"looking for {place} on the Hub", file=sys.stderr, flush=True)
    url = hf_hub_url(place, _FIRST_FILE[kind], repo_type=repo_type, revision=revision)
    try:
        get_hf_file_metadata(url, timeout=SECONDS)
    except HfHubHTTPError:
        return
    except Exception as error:
        if not _NO_ANSWER & {base.__name__ for base in type(error).__mro__}:
            raise
        raise TrainingError(
            f"there is no {kind} {place} here, and {constants.ENDPOINT} cannot be asked for it "
            f"({error or type(error).__name__}): check the path, or the network of this machine"
        ) from error


def _is_cached(place: str, repo_type: str) -> bool:
    """Whether a cache holds something of it. Then the libraries may find all they need there."""
    from huggingface_hub import constants
    from huggingface_hub.file_download import repo_folder_name

    kept = Path(constants.HF_HUB_CACHE, repo_folder_name(repo_id=place, repo_type=repo_type), "snapshots")
    if kept.is_dir() and any(kept.iterdir()):
        return True
    if repo_type == "model":
        return False
    from datasets.config import HF_DATASETS_CACHE

    # `datasets` writes HumanEval as human_eval in the names of its folders
    names = {name.replace("_", "").lower() for name in _names(HF_DATASETS_CACHE)}
    return place.replace("/", "").replace("_", "").lower() in names


def _names(folder: str | Path) -> list[str]:
    return os.listdir(folder) if os.path.isdir(folder) else []
