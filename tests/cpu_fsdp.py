"""Lets accelerate shard a model on the CPU too, so that FSDP2 is tested without a GPU.

accelerate takes FSDP on accelerators only. On the CPU it trains by DDP instead, and says nothing
(accelerate/state.py names no MULTI_CPU there). `allow()` is called before a trainer is made.
"""

from typing import Any

from accelerate import state
from accelerate.utils import DistributedType


def allow() -> None:
    """From now on, an accelerator with an FSDP plugin shards over processes on the CPU."""
    init = state.AcceleratorState.__init__

    def sharded(self: Any, *args: Any, fsdp_plugin: Any = None, **kwargs: Any) -> None:
        init(self, *args, fsdp_plugin=fsdp_plugin, **kwargs)
        if fsdp_plugin is not None and self.distributed_type == DistributedType.MULTI_CPU:
            if self._mixed_precision != "no":
                fsdp_plugin.set_mixed_precision(self._mixed_precision)
            self.distributed_type = DistributedType.FSDP
            self.fsdp_plugin = fsdp_plugin
            state.PartialState._shared_state["distributed_type"] = DistributedType.FSDP

    state.AcceleratorState.__init__ = sharded
