"""`sources`: where code comes from, one entry per source."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, model_validator

from builders.recipe.settings import Settings
from store import check_name


class Source(Settings):
    """One place where code comes from: a folder, packages, archives, files of rows, or the Hub."""

    name: str = Field(description="name of the source in tables: lower case, digits, - and _")
    kind: Literal["stdlib", "tree", "packages", "archive", "jsonl", "parquet", "hub"] = Field(
        description="stdlib: the running Python's library; tree: a folder of .py files; packages: "
        "installed ones; archive: tar, zip, wheel or sdist; jsonl, parquet: files of rows; hub: a "
        "Hugging Face dataset"
    )
    path: str | None = Field(
        None,
        description="tree: its folder; packages: their folder (null: those of the running Python); "
        "archive, jsonl, parquet: a file, a folder or a pattern such as data/*.jsonl.gz",
    )
    dataset: str | None = Field(None, description="hub: Hub id or local folder of the dataset")
    revision: str | None = Field(None, description="hub: commit of the dataset; null: the newest one")
    data_dir: str | None = Field(
        None, description="hub: folder inside the dataset, such as data/python; null: all of it"
    )
    split: str = Field("train", description="hub: split of the dataset")
    license: str | None = Field(
        None,
        description="licence of the source as a whole. It goes before a LICENSE or metadata at the root "
        "of the source, and fills what nothing tells; a file's own header, a licence text in a folder "
        "inside, one of several packages and a row's column go before it. null: PSF-2.0 for stdlib, "
        "else what the files tell",
    )
    keep_unknown_licenses: bool | None = Field(
        None,
        description="whether functions enter the pool whose licence nothing tells; null: yes for one's "
        "own code (tree, and jsonl and parquet without a licence column), no for others'",
    )
    content_column: str = Field("content", description="jsonl, parquet, hub: column with the text of a file")
    path_column: str = Field("max_stars_repo_path", description="jsonl, parquet, hub: column with the path of a file")
    license_column: str = Field(
        "max_stars_repo_licenses", description="jsonl, parquet, hub: column with the licence of a file"
    )
    repo_column: str = Field(
        "max_stars_repo_name", description="jsonl, parquet, hub: column with the repository of a file"
    )
    exclude: tuple[str, ...] = Field(
        (), description="stdlib, tree, packages, archive: path prefixes to leave out, such as test/; empty: none"
    )
    max_files: int | None = Field(None, ge=1, description="files to read, from the first on; null: all files")
    files_per_shard: int = Field(
        200,
        ge=1,
        description="files of one shard; a row group of Parquet and a compressed file are never "
        "cut, so their shards may be larger",
    )

    max_unpacked_mb: int = Field(
        4000, ge=1, description="archive, jsonl: the most that is unpacked of one packed file, in MB of 10^6 bytes"
    )
    max_ratio: int = Field(
        200,
        ge=1,
        description="archive, jsonl: how many times its own size a packed file may unpack to; 100 MB are always allowed",
    )
    max_members: int = Field(1_000_000, ge=1, description="archive: the most members of one archive")

    @model_validator(mode="after")
    def _has_what_its_kind_needs(self) -> Source:
        check_name(self.name, "source name")
        needed = {"hub": "dataset", "stdlib": None, "packages": None}.get(self.kind, "path")
        if needed and getattr(self, needed) is None:
            raise ValueError(f"source {self.name!r} of kind {self.kind!r} needs `{needed}`: add it")
        return self

    @property
    def keeps_unknown_licenses(self) -> bool:
        """Whether a function without a known licence may enter the pool."""
        if self.keep_unknown_licenses is not None:
            return self.keep_unknown_licenses
        return self.kind in ("tree", "jsonl", "parquet")
