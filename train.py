"""Trains a stage.

python train.py recipes/language_small.yaml --output runs/language
python train.py recipes/align_small.yaml --output runs/align
python train.py recipes/align_small.yaml --output runs/align --resume
python train.py recipes/align_small.yaml --output runs/try arguments.max_steps=20 data.validation_limit=100
"""

import argparse
from dataclasses import asdict

import torch
from transformers import TrainingArguments, set_seed

from spec2mol.data.collator import Spec2MolCollator
from spec2mol.data.examples import load_examples
from spec2mol.saving import save_for_hub
from spec2mol.training.freezing import set_trainable
from spec2mol.training.recipe import Recipe
from spec2mol.training.record import record_stage
from spec2mol.training.trainer import Spec2MolTrainer


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
    model, processor = recipe.load_model()
    frozen = set_trainable(model, recipe.trainable)
    trainable = sum(p.numel() for p in model.parameters() if p.requires_grad)
    print(f"{model.num_parameters():,} parameters, {trainable:,} trained")

    trainer = Spec2MolTrainer(
        model,
        arguments,
        data_collator=Spec2MolCollator(processor, recipe.condition_dropout),
        eval_collator=Spec2MolCollator(processor),
        frozen=frozen,
        train_dataset=load_examples(recipe.data["train"], processor, recipe.data.get("train_limit")),
        eval_dataset=load_examples(recipe.data["validation"], processor, recipe.data.get("validation_limit")),
        processing_class=processor,
    )
    trainer.train(resume_from_checkpoint=args.resume)
    save_for_hub(model, processor, args.output, half=recipe.half)
    record_stage(args.output, recipe.sources, asdict(recipe), {recipe.data["train"]: trainer.train_dataset})


if __name__ == "__main__":
    main()
