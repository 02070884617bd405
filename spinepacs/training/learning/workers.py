"""Several processes that train one network: averaged gradients over gloo, one clock.

With one worker every function here does nothing, so the loop reads the same.
"""

from __future__ import annotations

from pathlib import Path

import torch
import torch.distributed as dist
from torch import nn


def join(meeting: Path, rank: int, workers: int) -> None:
    """Meet the other workers at a file that does not exist yet."""
    dist.init_process_group("gloo", init_method=f"file://{meeting}", rank=rank, world_size=workers)


def share_state(network: nn.Module, workers: int) -> None:
    """Give every worker the weights and statistics of worker 0."""
    if workers > 1:
        for value in network.state_dict().values():
            if value.dtype.is_floating_point:
                contiguous = value.contiguous()
                dist.broadcast(contiguous, 0)
                value.copy_(contiguous)


def average_gradients(network: nn.Module, workers: int) -> None:
    """Replace every gradient by its mean over the workers, in one message."""
    if workers == 1:
        return
    gradients = [parameter.grad for parameter in network.parameters() if parameter.grad is not None]
    flat = torch.cat([gradient.reshape(-1) for gradient in gradients])
    dist.all_reduce(flat)
    flat /= workers
    start = 0
    for gradient in gradients:
        gradient.copy_(flat[start : start + gradient.numel()].view(gradient.shape))
        start += gradient.numel()


def agreed(used_s: float, workers: int) -> float:
    """Worker 0's value of the seconds used."""
    if workers == 1:
        return used_s
    clock = torch.tensor([used_s], dtype=torch.float64)
    dist.broadcast(clock, 0)
    return float(clock[0])
