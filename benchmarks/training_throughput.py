"""Speed of a training stage: batches of alike lengths against random ones and plain padding, and where the time goes.

    python benchmarks/training_throughput.py recipes/measured_small.yaml model.from=runs/simulated

Plain padding brings random batches to the lengths of the longest example, as `padding="max_length"` does; else a
batch is padded to its own longest. All are trained in turns, so that what else runs on the machine slows all alike.
On a CPU times are the processor's, so that it does not count at all: the figures are of one core. The recipe says
model, batch size and precision; arguments after it replace values, as in train.py. The peak is that of a matrix
product, measured in the same run. Then a profile of the alike batches.
"""

import argparse
import contextlib
import tempfile
import time
from collections import Counter

import torch
from torch.profiler import ProfilerActivity, profile
from torch.utils.flop_counter import FlopCounterMode
from transformers import TrainingArguments, set_seed

from spec2mol.training.recipe import Recipe
from spec2mol.training.stages import build_trainer

PROFILED_STEPS = 3
TENSORS = {  # with a dimension of tokens, the second
    "peaks": ("peaks", "peaks_mask", "fragment_counts"),
    "text": ("input_ids", "attention_mask", "labels", "molecule_ids", "molecule_mask"),
}
LENGTHS = {"peaks_mask": "peaks", "attention_mask": "text", "molecule_mask": "text"}  # masks whose zeros are padding


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("recipe")
    parser.add_argument("--steps", type=int, default=20, help="of each order (default: 20)")
    parser.add_argument("--compile", action="store_true", help="also the alike batches through torch.compile")
    parser.add_argument("overrides", nargs="*", metavar="key=value")
    args = parser.parse_intermixed_args()

    recipe = Recipe.load(args.recipe, [*args.overrides, "data.validation_limit=2"])
    with tempfile.TemporaryDirectory() as folder:
        fields = recipe.arguments | {"report_to": "none", "use_cpu": not torch.cuda.is_available()}
        arguments = TrainingArguments(output_dir=folder, remove_unused_columns=False, **fields)
        set_seed(arguments.seed)
        trainer, _ = build_trainer(recipe, arguments)
    device, size = arguments.device, arguments.train_batch_size
    model = trainer.model.to(device).train()
    optimizer = torch.optim.AdamW([p for p in model.parameters() if p.requires_grad], lr=1e-6)
    precision = torch.autocast(device.type, torch.bfloat16) if arguments.bf16 else contextlib.nullcontext()

    count = len(trainer.train_dataset)
    shuffled = torch.randperm(count).tolist()
    orders = {
        "plain padding": shuffled,
        "random batches": shuffled,
        "alike batches": list(trainer._get_train_sampler()),
    }
    networks = dict.fromkeys(orders, model)
    if args.compile:
        orders["alike, compiled"] = orders["alike batches"]
        networks["alike, compiled"] = torch.compile(model, dynamic=True)
    # Evenly spaced: an order may begin with what is short.
    starts = [int(i * (count // size - 1) / max(args.steps - 1, 1)) * size for i in range(args.steps)]

    def collate(order, start):
        rows = [trainer.train_dataset[i] for i in orders[order][start : start + size]]
        batch = trainer.data_collator(rows)
        return pad_to(batch, longest) if order == "plain padding" else batch

    extremes = [
        max(range(count), key=trainer.train_dataset[name][:].__getitem__) for name in ("num_peaks", "num_tokens")
    ]
    longest = lengths(trainer.data_collator([trainer.train_dataset[i] for i in extremes]))

    def step(order, batch):
        with precision:
            loss = networks[order](**{name: tensor.to(device) for name, tensor in batch.items()}).loss
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()

    for order in orders:
        step(order, collate(order, 0))  # Warm up
    seconds, collating, real, padded = (Counter() for _ in range(4))
    for start in starts:
        for order in orders:
            begin = now(device)
            batch = collate(order, start)
            collated = now(device)
            step(order, batch)
            seconds[order] += now(device) - begin
            collating[order] += collated - begin
            for mask in LENGTHS.keys() & batch.keys():
                real[order, LENGTHS[mask]] += int(batch[mask].sum())
                padded[order, LENGTHS[mask]] += batch[mask].numel()
    flops = {}
    for order in [name for name in orders if "compiled" not in name]:
        with FlopCounterMode(display=False) as counter:
            for start in starts[:: max(1, args.steps // 4)]:
                step(order, collate(order, start))
        flops[order] = counter.get_total_flops() / len(starts[:: max(1, args.steps // 4)]) / size
    flops["alike, compiled"] = flops["alike batches"]
    peak = peak_flops(device, torch.bfloat16 if arguments.bf16 else torch.float32)

    name = torch.cuda.get_device_name() if device.type == "cuda" else "a CPU core's own time"
    print(f"\n{args.recipe}: {model.num_parameters():,} parameters, batches of {size}, {args.steps} steps, {name}")
    print(f"matrix product: {peak / 1e9:,.0f} GFLOP/s\n")
    print(
        "| order | samples/s | ratio | tokens/s | peaks padded to | text padded to | collating | GFLOP/s | of peak |"
    )
    print("|---|---|---|---|---|---|---|---|---|")
    baseline = seconds["plain padding"]
    for order in orders:
        rate = args.steps * size / seconds[order]
        tokens = sum(number for (name, _), number in real.items() if name == order) / seconds[order]
        growth = [
            f"{padded[order, kind] / real[order, kind]:.2f}x" if real[order, kind] else ""
            for kind in ("peaks", "text")
        ]
        print(
            f"| {order} | {rate:,.1f} | {baseline / seconds[order]:.2f} | {tokens:,.0f} | {growth[0]} | {growth[1]} "
            f"| {collating[order] / seconds[order]:.0%} | {flops[order] * rate / 1e9:,.0f} "
            f"| {flops[order] * rate / peak:.0%} |"
        )

    activities = [ProfilerActivity.CPU] + [ProfilerActivity.CUDA] * (device.type == "cuda")
    with profile(activities=activities) as profiler:
        for start in starts[:PROFILED_STEPS]:
            step("alike batches", collate("alike batches", start))
    key = "self_cuda_time_total" if device.type == "cuda" else "self_cpu_time_total"
    print(f"\nProfile of {len(starts[:PROFILED_STEPS])} steps of alike batches:")
    print(profiler.key_averages().table(sort_by=key, row_limit=15, max_name_column_width=50))


def lengths(batch) -> dict[str, int]:
    """Tokens of peaks and of text."""
    return {kind: batch[mask].shape[1] for mask, kind in LENGTHS.items() if mask in batch}


def pad_to(batch, longest):
    """With zeros, which masks hide, and labels that do not count."""
    own, padded = lengths(batch), dict(batch)
    for kind, names in TENSORS.items():
        for name in [name for name in names if name in batch]:
            shape = list(batch[name].shape)
            shape[1] = max(longest[kind] - own[kind], 0)  # Peaks may have been dropped from the longest.
            padding = batch[name].new_full(shape, -100 if name == "labels" else 0)
            padded[name] = torch.cat([batch[name], padding], dim=1)
    return padded


def now(device) -> float:
    if device.type == "cpu":
        return time.process_time()
    torch.cuda.synchronize()
    return time.perf_counter()


def peak_flops(device, dtype, size: int = 2048, repeats: int = 5) -> float:
    """FLOP/s of a square matrix product."""
    a, b = (torch.randn(size, size, device=device, dtype=dtype) for _ in range(2))
    a @ b
    begin = now(device)
    for _ in range(repeats):
        a @ b
    return 2 * size**3 * repeats / (now(device) - begin)


if __name__ == "__main__":
    main()
