"""Trains a stage.

python train.py recipes/language_small.yaml --output runs/language
python train.py recipes/simulated_small.yaml --output runs/simulated
python train.py recipes/simulated_small.yaml --output runs/simulated --resume
python train.py recipes/simulated_small.yaml --output runs/try arguments.max_steps=20 data.validation_limit=100
accelerate launch --multi_gpu --num_processes 2 train.py recipes/simulated_small.yaml --output runs/simulated
"""

import argparse
from dataclasses import asdict
from pathlib import Path

import torch
from transformers import TrainingArguments, set_seed

from spec2mol.loading import require_model
from spec2mol.saving import save_for_hub
from spec2mol.training.recipe import Recipe
from spec2mol.training.record import record_stage
from spec2mol.training.stages import build_trainer
from spec2mol.training.trainer import last_checkpoint


def main(argv=None):
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("recipe", help="YAML file, see recipes/")
    parser.add_argument("--output", required=True, help="folder for checkpoints and the trained model")
    parser.add_argument("--resume", action="store_true", help="go on from the last checkpoint in --output")
    parser.add_argument("overrides", nargs="*", metavar="key=value", help="replace values of the recipe")
    args = parser.parse_intermixed_args(argv)

    recipe = Recipe.load(args.recipe, args.overrides)
    arguments = TrainingArguments(
        output_dir=args.output,
        remove_unused_columns=False,  # The collator needs them.
        use_cpu=not torch.cuda.is_available(),
        **recipe.arguments,
    )
    set_seed(arguments.seed)
    try:
        for part in ("from", "encoder", "language_model", "tokenizer"):
            if part in recipe.model:
                require_model(recipe.model[part])
        trainer, model = build_trainer(recipe, arguments)
    except OSError as error:  # an earlier stage or data that is not there
        parser.error(f"{args.recipe}: {str(error).splitlines()[0]}")
    trainable = trainer.get_num_trainable_parameters()
    print(f"{model.num_parameters():,} parameters, {trainable:,} trained")

    checkpoint = last_checkpoint(args.output) if args.resume else None
    if args.resume:
        print(f"resuming from {checkpoint}" if checkpoint else f"{args.output} holds no checkpoint: starting anew")
    trainer.train(resume_from_checkpoint=checkpoint)
    if trainer.is_world_process_zero():
        if recipe.lora:
            trainer.model.save_pretrained(Path(args.output, "adapter"))
            trainer.model.merge_and_unload()  # into `model`
        save_for_hub(model, trainer.processing_class, args.output, half=recipe.half)
        record_stage(args.output, recipe.sources, asdict(recipe), recipe.training_files, trainer.train_dataset)


if __name__ == "__main__":
    main()
