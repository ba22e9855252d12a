"""One of two processes, each with one pair of `builders.spectra()`, as `test_distributed.py` launches them: writes
losses and averaged gradients of each case to the file named as argument."""

import os
import sys

import torch
from torch import distributed as dist
from torch.nn.parallel import DistributedDataParallel

from tests.unit.test_distributed_spec2mol import (
    PARTS,
    embedding_model,
    embedding_rows,
    masked_model,
    masked_rows,
    pretraining_rows,
    stage_1_model,
)


def main(path):
    torch.set_num_threads(1)
    dist.init_process_group("gloo")
    rank, results = dist.get_rank(), {}
    cases = {
        "stage 1": (stage_1_model(), pretraining_rows([rank])),
        "embedding": (embedding_model(), embedding_rows([2 * rank, 2 * rank + 1])),
        "masked peaks": (masked_model(), masked_rows([2 * rank, 2 * rank + 1])),
    }
    for name, (model, inputs) in cases.items():
        parallel = DistributedDataParallel(model)
        output = parallel(**inputs)
        output.loss.backward()
        losses = torch.stack([output[part] for part in PARTS[name]]).detach()
        dist.all_reduce(losses)
        gradients = {key: p.grad for key, p in model.named_parameters() if p.grad is not None}
        results[name] = losses / 2, gradients
    if rank == 0:
        torch.save(results, path)
    dist.barrier()
    # torch's destructors hold the interpreter's lock, and may wait forever for a thread of gloo that waits for it.
    os._exit(0)


if __name__ == "__main__":
    main(*sys.argv[1:])
