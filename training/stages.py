"""From a recipe to a Trainer: which model a stage trains, on which examples, by which collator."""

from functools import partial

from transformers import PreTrainedModel, TrainingArguments
from transformers.utils import is_matplotlib_available

from ..data import labels
from ..data.augmentation import Augmentation
from ..data.collator import Spec2MolCollator
from ..data.examples import load_examples, load_spectra_examples, structure_statistics
from ..data.masking import MaskedPeaksCollator
from ..data.tasks import load_task_examples, read_tasks
from ..modeling_dreams import DreamsForPreTraining, DreamsForSequenceClassification, DreamsForSpectralEmbedding
from ..modeling_spec2mol import Spec2MolForPreTraining
from .freezing import add_lora, frozen_modules, set_trainable
from .loss_plot import LossPlotCallback
from .recipe import ENCODER_STAGES, Recipe
from .sampler import SameMoleculeSampler, TwoLengthsSampler
from .trainer import Spec2MolTrainer

# The stages of an encoder alone: its head, its label and what the task says of the config.
ENCODER_TASKS = {
    "spectrum": (DreamsForPreTraining, None, {}),
    "fingerprint": (
        DreamsForSequenceClassification,
        labels.fingerprint,
        {"num_labels": 2048, "problem_type": "multi_label_classification"},
    ),
    "fluorine": (
        DreamsForSequenceClassification,
        labels.fluorine,
        {
            "id2label": {0: "no fluorine", 1: "fluorine"},
            "label2id": {"no fluorine": 0, "fluorine": 1},
            "problem_type": "single_label_classification",
        },
    ),
    "similarity": (DreamsForSpectralEmbedding, labels.identity, {}),
}


def build_trainer(recipe: Recipe, arguments: TrainingArguments) -> tuple[Spec2MolTrainer, PreTrainedModel]:
    """The Trainer, whose `processing_class` goes with the model, and the model that the stage leaves behind."""
    build = _encoder_stage if recipe.stage in ENCODER_STAGES else _composite_stage
    trained, left, examples, fields = build(recipe)
    with arguments.main_process_first(desc="reading the data"):  # The others find it in the cache.
        train_dataset, eval_dataset = examples("train"), examples("validation")
    augmentation = fields["data_collator"].augmentation
    if augmentation is not None and augmentation.energy_mixing:
        augmentation.learn_energies(train_dataset)
    head, tokens = (getattr(trained.base_model, name, None) for name in ("structure_head", "fingerprint_tokens"))
    untrained = [part for part in (head, tokens) if part is not None and part.is_untrained]
    if untrained:
        frequencies, roots = structure_statistics(train_dataset)
        if head in untrained:
            head.start_from(frequencies, roots)
        if tokens in untrained:
            tokens.start_from(frequencies)
    if recipe.lora:
        trained = add_lora(trained, recipe.lora)
    else:
        set_trainable(trained, recipe.trainable)
    trainer = Spec2MolTrainer(
        trained,
        arguments,
        frozen=frozen_modules(trained),
        epoch_decay=recipe.epoch_decay,
        train_dataset=train_dataset,
        eval_dataset=eval_dataset,
        **fields,
    )
    # The Trainer knows the inputs that an evaluation's loss needs by their names, and "label" is not in all of these.
    trainer.label_names = {"represent": ["molecule_ids"], "spectrum": ["mz_labels"]}.get(recipe.stage, ["labels"])
    if is_matplotlib_available():
        trainer.add_callback(LossPlotCallback())
    return trainer, left


def _composite_stage(recipe):
    model, processor = recipe.load_model()
    model.config.ranking = None  # It was fitted to weights that change now.
    trained = model
    if pairs := recipe.stage == "represent":
        trained = Spec2MolForPreTraining(model.config)
        trained.model = model.model  # The language model waits, so that every stage leaves a whole model.
    structure = model.config.structure_config

    def examples(fold):
        limits = recipe.data.get(f"{fold}_limit"), recipe.data.get("max_tokens") if fold == "train" else None
        if recipe.stage == "instruct":
            return load_task_examples(read_tasks(recipe.tasks), fold, processor, *limits)
        return load_examples(
            recipe.data[fold],
            processor,
            *limits,
            fingerprint_size=None if structure is None else structure.fingerprint_size,
            weights=recipe.data.get("weights") if fold == "train" else None,
            text=recipe.data.get("text"),
            only=recipe.data.get("only"),
        )

    if recipe.chat_template is not None:
        processor.chat_template = recipe.chat_template
    positions = getattr(model.config.text_config, "max_position_embeddings", 2048)
    fields = {
        "data_collator": Spec2MolCollator(
            processor,
            recipe.condition_dropout,
            Augmentation(**recipe.augmentation),
            pairs=pairs,
            told_fingerprint=recipe.data.get("told_fingerprint", 0.0),
            random_order=recipe.data.get("random_order", 0.0),
            max_tokens=recipe.data.get("max_tokens", positions - processor.num_query_tokens),
        ),
        "eval_collator": Spec2MolCollator(processor, pairs=pairs),
        "make_sampler": partial(
            TwoLengthsSampler.from_examples,
            near_mass=recipe.data.get("near_mass", 0.0),
            mixing=recipe.data.get("mixing", 1.0),
        ),
        "processing_class": processor,
    }
    return trained, model, examples, fields


def _encoder_stage(recipe):
    if recipe.condition_dropout:
        raise ValueError(f"stage {recipe.stage} has no condition_dropout: an encoder alone reads no conditions")
    head, label, task = ENCODER_TASKS[recipe.stage]
    model, feature_extractor = recipe.load_encoder(head, task)

    def examples(fold):
        return load_spectra_examples(
            recipe.data[fold],
            feature_extractor.num_peaks,
            recipe.data.get(f"{fold}_limit"),
            model.config.num_labels if recipe.stage == "fingerprint" else None,
        )

    augmentation = Augmentation(**recipe.augmentation)
    if recipe.stage == "spectrum":
        collators = (
            MaskedPeaksCollator(feature_extractor, augmentation),
            MaskedPeaksCollator(feature_extractor, augmentation=None),
        )
    else:
        collators = (
            labels.LabelledSpectraCollator(feature_extractor, label, augmentation),
            labels.LabelledSpectraCollator(feature_extractor, label),
        )
    sampler = SameMoleculeSampler if recipe.stage == "similarity" else TwoLengthsSampler
    fields = {
        "data_collator": collators[0],
        "eval_collator": collators[1],
        "make_sampler": sampler.from_examples,
        "processing_class": feature_extractor,
    }
    return model, model, examples, fields
