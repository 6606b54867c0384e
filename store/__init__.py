"""The file-backed store: contracts, shards, run records, views and forks.

A name is imported when it is first asked for. So a command that reads some records and asks DuckDB
does not wait for Arrow and pydantic, which take half a second.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from store import files, markers
    from store.errors import ContractError
    from store.ids import check_name, content_id, fingerprint, seed_from
    from store.runs import Plan, Record, Usage
    from store.schemas import ASPECTS, CODE_ASPECTS, CONTRACTS
    from store.store import Announce, Store, fields_of, segments

__all__ = [
    "ASPECTS",
    "CODE_ASPECTS",
    "CONTRACTS",
    "Announce",
    "ContractError",
    "Plan",
    "Record",
    "Store",
    "Usage",
    "check_name",
    "content_id",
    "fields_of",
    "files",
    "fingerprint",
    "markers",
    "seed_from",
    "segments",
]

_MODULES = {
    "ContractError": "errors",
    **dict.fromkeys(("check_name", "content_id", "fingerprint", "seed_from"), "ids"),
    **dict.fromkeys(("Plan", "Record", "Usage"), "runs"),
    **dict.fromkeys(("ASPECTS", "CODE_ASPECTS", "CONTRACTS"), "schemas"),
    **dict.fromkeys(("Announce", "Store", "fields_of", "segments"), "store"),
}
"""The module of the store in which a name stands."""


def __getattr__(name: str) -> Any:
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_MODULES[name]}"), name)
