"""Training steps with and without `keep_freed_memory`, in turn, each variant in processes of its own.

    python benchmarks/allocator.py

Prints the median step of each variant and their ratio.
"""

import argparse
import statistics
import subprocess
import sys
import time


def step_seconds(batch_size: int, length: int, steps: int) -> float:
    import torch
    from transformers import GPTNeoConfig, GPTNeoForCausalLM

    config = GPTNeoConfig(
        vocab_size=122, hidden_size=256, num_layers=6, num_heads=8, attention_types=[[["global", "local"], 3]]
    )
    torch.manual_seed(0)
    model = GPTNeoForCausalLM(config)
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-4, fused=True)
    ids = torch.randint(5, 122, (batch_size, length))
    seconds = []
    for _ in range(steps):
        start = time.perf_counter()
        with torch.autocast("cpu", dtype=torch.bfloat16):
            loss = model(input_ids=ids, labels=ids).loss
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
        seconds.append(time.perf_counter() - start)
    return statistics.median(seconds[1:])


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--batch-size", type=int, default=128)
    parser.add_argument("--length", type=int, default=50, help="tokens")
    parser.add_argument("--steps", type=int, default=5)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--variant", choices=("default", "kept"), help=argparse.SUPPRESS)
    args = parser.parse_args()

    if args.variant:
        if args.variant == "kept":
            from spec2mol.training.allocator import keep_freed_memory

            keep_freed_memory()
        print(step_seconds(args.batch_size, args.length, args.steps))
        return

    seconds = {"default": [], "kept": []}
    for _ in range(args.rounds):
        for variant, measured in seconds.items():
            command = [sys.executable, *sys.argv, "--variant", variant]
            measured.append(float(subprocess.run(command, capture_output=True, text=True, check=True).stdout))
    medians = {variant: statistics.median(measured) for variant, measured in seconds.items()}
    print(
        f"GPT-Neo 6 x 256, {args.batch_size} x {args.length} tokens, bf16 autocast, median of {args.rounds} processes"
    )
    for variant, median in medians.items():
        print(f"{variant:8} {median:.3f} s a step")
    print(f"ratio    {medians['default'] / medians['kept']:.2f}")


if __name__ == "__main__":
    main()
