"""Trains a stage.

python train.py recipes/language_small.yaml --output runs/language
python train.py recipes/represent_small.yaml --output runs/represent
python train.py recipes/align_small.yaml --output runs/align
python train.py recipes/align_small.yaml --output runs/align --resume
python train.py recipes/align_small.yaml --output runs/try arguments.max_steps=20 data.validation_limit=100
"""

import argparse

import torch
from transformers import TrainingArguments, set_seed

from spec2mol.data.augmentation import Augmentation
from spec2mol.data.collator import Spec2MolCollator
from spec2mol.data.examples import load_examples
from spec2mol.modeling_spec2mol import Spec2MolForPreTraining
from spec2mol.saving import save_for_hub
from spec2mol.training.freezing import set_trainable
from spec2mol.training.recipe import Recipe
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
    trained = model
    if represent := recipe.stage == "represent":
        trained = Spec2MolForPreTraining(model.config)
        trained.model = model.model  # The language model waits, so that every stage leaves a whole model.
    frozen = set_trainable(trained, recipe.trainable)
    trainable = sum(p.numel() for p in trained.parameters() if p.requires_grad)
    print(f"{model.num_parameters():,} parameters, {trainable:,} trained")

    structure = model.config.structure_config
    size = None if structure is None else structure.fingerprint_size
    data = recipe.data
    trainer = Spec2MolTrainer(
        trained,
        arguments,
        data_collator=Spec2MolCollator(
            processor, recipe.condition_dropout, Augmentation(**recipe.augmentation), pairs=represent
        ),
        eval_collator=Spec2MolCollator(processor, pairs=represent),
        frozen=frozen,
        near_mass=data.get("near_mass", 0.0),
        train_dataset=load_examples(
            data["train"], processor, data.get("train_limit"), data.get("max_tokens"), fingerprint_size=size
        ),
        eval_dataset=load_examples(data["validation"], processor, data.get("validation_limit"), fingerprint_size=size),
        processing_class=processor,
    )
    trainer.train(resume_from_checkpoint=args.resume)
    save_for_hub(model, processor, args.output, half=recipe.half)


if __name__ == "__main__":
    main()
