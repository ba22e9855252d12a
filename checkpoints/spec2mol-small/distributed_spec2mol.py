"""One batch over several processes, so that contrast sees all of its spectra and molecules."""

import torch
from torch import distributed as dist


class _Gather(torch.autograd.Function):
    @staticmethod
    def forward(ctx, tensor):
        ctx.size = len(tensor)
        parts = [torch.empty_like(tensor) for _ in range(dist.get_world_size())]
        dist.all_gather(parts, tensor.contiguous())
        return torch.cat(parts)

    @staticmethod
    def backward(ctx, gradient):
        gradient = gradient.contiguous()
        dist.all_reduce(gradient)
        return gradient.narrow(0, dist.get_rank() * ctx.size, ctx.size)


def num_processes() -> int:
    """1 where there is no process group."""
    return dist.get_world_size() if dist.is_available() and dist.is_initialized() else 1


def process_index() -> int:
    return dist.get_rank() if num_processes() > 1 else 0


def gather_batch(tensor: torch.Tensor) -> torch.Tensor:
    """Tensors `(batch, ...)` of all processes in the order of their ranks, `(processes * batch, ...)`, with gradients;
    the tensor itself where there is one process. All processes must hold the same shape.

    A loss that every process computes of gathered tensors has the right gradient once it is averaged over processes,
    as DistributedDataParallel does: each process receives the sum over all of them.
    """
    return tensor if num_processes() == 1 else _Gather.apply(tensor)


def gather_padded_batch(tensor: torch.Tensor) -> torch.Tensor:
    """`gather_batch` of tensors `(batch, length, ...)` whose length differs between processes: zeros behind."""
    if num_processes() == 1:
        return tensor
    longest = torch.tensor(tensor.shape[1], device=tensor.device)
    dist.all_reduce(longest, dist.ReduceOp.MAX)
    missing = int(longest) - tensor.shape[1]
    return gather_batch(torch.nn.functional.pad(tensor, (0, 0) * (tensor.ndim - 2) + (0, missing)))


def mean_over_processes(number: torch.Tensor) -> torch.Tensor:
    """A count `()`, without gradient: sums divided by it and averaged over processes are a mean over the whole
    batch."""
    return gather_batch(number.detach().float()[None]).mean()


__all__ = ["gather_batch", "gather_padded_batch", "mean_over_processes", "num_processes", "process_index"]
