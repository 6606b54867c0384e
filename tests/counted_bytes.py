"""The bytes of tensors that are alive while something runs, and not what the system says of memory.

with CountedBytes() as counted:
    model = load(...)
counted.peak     # of what was made inside the block
"""

from __future__ import annotations

import weakref
from typing import Any

import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves


class CountedBytes(TorchDispatchMode):
    """Counts the memory of all tensors that operations give."""

    def __init__(self) -> None:
        super().__init__()
        self.now = self.peak = 0
        self._known: dict[int, int] = {}

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        found = func(*args, **(kwargs or {}))
        given = {id(t.untyped_storage()) for t in tree_leaves((args, kwargs)) if _has_memory(t)}
        for tensor in tree_leaves(found):
            if _has_memory(tensor):
                storage = tensor.untyped_storage()
                if id(storage) not in given:
                    self._note(storage)
        return found

    def _note(self, storage: torch.UntypedStorage) -> None:
        key, num_bytes = id(storage), storage.nbytes()
        if key in self._known:
            return
        self._known[key] = num_bytes
        self.now += num_bytes
        self.peak = max(self.peak, self.now)
        weakref.finalize(storage, self._forget, key)

    def _forget(self, key: int) -> None:
        self.now -= self._known.pop(key, 0)


def _has_memory(value: Any) -> bool:
    is_plain = type(value) in (torch.Tensor, torch.nn.Parameter)
    return is_plain and value.device.type != "meta" and value.layout == torch.strided
