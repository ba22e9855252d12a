"""Down projections of the active clusters alone against masked dense ones, in one feed-forward layer with modality
experts: what a pass costs by the share of clusters that are active, and whether both give the same.

python benchmarks/modality_experts.py
python benchmarks/modality_experts.py --hidden 4096 --intermediate 11008 --tokens 1 64 1024
"""

import argparse
import time
from types import SimpleNamespace

import torch
from torch import nn

from spec2mol.configuration_spec2mol import ModalityExpertsConfig
from spec2mol.modeling_modality_experts import ModalityExpertsMLP, ModalityRouter

SECONDS = 1.0


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--hidden", type=int, default=1024)
    parser.add_argument("--intermediate", type=int, default=4096)
    parser.add_argument("--tokens", type=int, nargs="+", default=[1, 64, 1024], help="in a batch, all of one modality")
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    torch.manual_seed(0)
    print(f"{args.hidden} x {args.intermediate}, 16 clusters, {args.threads} threads, forward, the whole layer")
    print("| tokens | active clusters | masked dense, ms | active ones alone, ms | ratio | largest difference |")
    print("|---|---|---|---|---|---|")
    for tokens in args.tokens:
        for active in (2, 4, 8):
            compare(args.hidden, args.intermediate, tokens, active)


@torch.no_grad()
def compare(hidden, intermediate, tokens, active):
    mlp = SimpleNamespace(
        gate_proj=nn.Linear(hidden, intermediate, bias=False),
        up_proj=nn.Linear(hidden, intermediate, bias=False),
        down_proj=nn.Linear(intermediate, hidden, bias=False),
        act_fn=nn.SiLU(),
    )
    router = ModalityRouter(ModalityExpertsConfig(active_experts=[active]))
    router.token_types = torch.zeros(1, tokens, dtype=torch.long)
    ModalityExpertsMLP.sparse_tokens = 1
    layer, states = ModalityExpertsMLP(mlp, router), torch.randn(1, tokens, hidden)
    variants = {"dense": 0.0, "sparse": 1.0}
    times, outputs = dict.fromkeys(variants, float("inf")), {}
    start = time.perf_counter()
    while time.perf_counter() - start < SECONDS:  # In turn, so that what else runs on the machine meets both.
        for name, share in variants.items():
            layer.sparse_share = share
            before = time.perf_counter()
            outputs[name] = layer(states)
            times[name] = min(times[name], time.perf_counter() - before)
    difference = (outputs["dense"] - outputs["sparse"]).abs().max()
    dense, sparse = (1e3 * times[name] for name in variants)
    print(
        f"| {tokens} | {active} of 16 | {dense:.2f} | {sparse:.2f} | {dense / sparse:.2f} | {difference:.1e} |",
        flush=True,
    )


if __name__ == "__main__":
    main()
