"""The file-backed store: contracts, shards, run records, views and forks."""

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
