"""`sources`: where source code comes from, one entry per source."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, model_validator

from builders.recipe.settings import Settings
from store import check_name


class Source(Settings):
    """Where source code comes from."""

    name: str
    kind: Literal["stdlib", "tree", "packages", "archive", "jsonl", "parquet", "hub"]
    path: str | None = Field(
        None,
        description="directory of a tree, or of installed packages (None: those of the running Python); file, directory or "
        "glob such as data/*.jsonl.gz, for archive (tar, zip, wheel, sdist), jsonl and parquet",
    )
    dataset: str | None = Field(None, description="Hub id or local folder of a dataset, for hub")
    revision: str | None = Field(None, description="commit of the Hub dataset")
    data_dir: str | None = Field(None, description="folder of the Hub dataset, such as data/python")
    split: str = "train"
    license: str | None = Field(
        None, description="licence of all files of a tree; of what names none in rows, packages and archives"
    )
    content_column: str = "content"
    path_column: str = "max_stars_repo_path"
    license_column: str = "max_stars_repo_licenses"
    repo_column: str = "max_stars_repo_name"
    exclude: tuple[str, ...] = Field((), description="path prefixes to leave out")
    max_files: int | None = Field(None, ge=1)
    files_per_shard: int = Field(
        200, ge=1, description="a row group of Parquet and a compressed stream are never cut, so theirs may be larger"
    )

    @model_validator(mode="after")
    def _has_what_its_kind_needs(self) -> Source:
        check_name(self.name, "source name")
        needed = {"hub": "dataset", "stdlib": None, "packages": None}.get(self.kind, "path")
        if needed and getattr(self, needed) is None:
            raise ValueError(f"source {self.name!r} of kind {self.kind!r} needs `{needed}`")
        return self
