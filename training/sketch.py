"""CountSketch: a long vector is folded to a fixed dimension.

Every coordinate is added to one bucket with one sign. In: per-sample gradients, parameter by
parameter. Out: sketches whose inner products estimate the inner products of the gradients without
bias (Charikar et al. 2002).

Bucket and sign are an integer hash of (seed, parameter name, index). The hash uses int64 arithmetic
that is the same on every device. So features made on a CPU and on a GPU can be compared.

Shapes: N samples, P coordinates of one parameter, D sketch dimension.
"""

import hashlib

import torch

# The constants of splitmix64 (Steele et al. 2014) as signed 64-bit integers. Products wrap around.
GAMMA = 0x9E3779B97F4A7C15 - 2**64
MULTIPLIER_1 = 0xBF58476D1CE4E5B9 - 2**64
MULTIPLIER_2 = 0x94D049BB133111EB - 2**64


def slots(seed: int, name: str, num_coordinates: int, dimension: int, device: torch.device) -> torch.Tensor:
    """The slot of every coordinate, int32 [P] in [0, 2D). Below D the sign is plus, from D on
    minus.
    """
    key = int.from_bytes(hashlib.sha256(f"{seed} {name}".encode()).digest()[:8], "little", signed=True)
    hash_P = _mix(torch.arange(num_coordinates, dtype=torch.int64, device=device) * GAMMA + key)
    bucket_P = _shift(hash_P, 1) % dimension
    return (bucket_P + (hash_P & 1) * dimension).to(torch.int32)


def folding(seed: int, name: str, num_coordinates: int, dimension: int, device: torch.device) -> torch.Tensor:
    """What `add` takes for one parameter.

    On a CPU the slots [P], elsewhere the table of every slot [2D, K].
    """
    slots_P = slots(seed, name, num_coordinates, dimension, device)
    return slots_P if device.type == "cpu" else members(slots_P, dimension)


def members(slots_P: torch.Tensor, dimension: int) -> torch.Tensor:
    """The coordinates of every slot in their order, int32 [2D, K].

    Short rows are filled up with P, which is one past the last coordinate.
    """
    order_P = torch.argsort(slots_P, stable=True)
    counts_2D = torch.bincount(slots_P, minlength=2 * dimension)
    table_2DK = torch.full((2 * dimension, int(counts_2D.max())), len(slots_P), device=slots_P.device)
    starts_2D = counts_2D.cumsum(0) - counts_2D
    sorted_P = slots_P[order_P].long()
    table_2DK[sorted_P, torch.arange(len(slots_P), device=slots_P.device) - starts_2D[sorted_P]] = order_P
    return table_2DK.to(torch.int32)


def add(sketch_N2D: torch.Tensor, folding: torch.Tensor, vectors_NP: torch.Tensor) -> None:
    """Add one parameter's gradients, sample by sample, so that no sum depends on the rest of the
    batch.

    With slots [P] it adds in place, the fastest way on a CPU. With the table [2D, K] it needs no
    atomic additions, whose order would change between two runs of a GPU.
    """
    if folding.ndim == 1:
        for n in range(len(vectors_NP)):
            sketch_N2D[n].index_add_(0, folding, vectors_NP[n])
    else:
        padded_NP1 = torch.nn.functional.pad(vectors_NP, (0, 1))
        members_N2DK = padded_NP1.index_select(1, folding.flatten()).view(len(vectors_NP), *folding.shape)
        sketch_N2D.add_(members_N2DK.sum(2))


def fold(sketch_N2D: torch.Tensor) -> torch.Tensor:
    """The signed sketch, [N, D]."""
    plus_ND, minus_ND = sketch_N2D.chunk(2, dim=1)
    return plus_ND - minus_ND


def _mix(x_P: torch.Tensor) -> torch.Tensor:
    x_P = (x_P ^ _shift(x_P, 30)) * MULTIPLIER_1
    x_P = (x_P ^ _shift(x_P, 27)) * MULTIPLIER_2
    return x_P ^ _shift(x_P, 31)


def _shift(x_P: torch.Tensor, bits: int) -> torch.Tensor:
    """Logical right shift: torch's own keeps the sign."""
    return (x_P >> bits) & ((1 << (64 - bits)) - 1)
