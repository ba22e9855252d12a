"""Model cards and data set cards, written from what is recorded, never from hope."""

import json
import math
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path

from huggingface_hub import ModelCard, ModelCardData

from ..data.provenance import find_source, read_licence, strictest
from ..training.record import RECORD, read_stages

TEMPLATES = Path(__file__).with_name("templates")
RECORDS = (RECORD, "metrics.json")
MARKER = "<!-- Written by spec2mol from the records beside the weights; a card without this line is kept as it is. -->"
TAGS = ["mass-spectrometry", "metabolomics", "chemistry", "molecule-generation"]


def model_card(folder: str | Path, model, processor, repo_id: str, license: str | None = None) -> ModelCard:
    """The card of a model that `folder` holds: the README.md that a person wrote there, else one from its records.

    Args:
        repo_id: `ORG/NAME` on the Hub.
        license: of the weights, as the Hub spells it; by default what the card says, else the strictest licence of the
            data that trained the model.

    Raises:
        ValueError: no licence is known, or metadata that the Hub would refuse.
    """
    readme = Path(folder, "README.md")
    if readme.is_file() and not _is_ours_to_write(text := readme.read_text(encoding="utf-8")):
        try:
            card = ModelCard(text)
        except Exception as error:  # of the YAML parser or of huggingface_hub
            raise ValueError(f"{readme}: its metadata cannot be read ({_one_line(error)})") from None
        if license is not None:
            card.data.license = license
        check_metadata(card, readme)
        return card

    stages = read_stages(folder)
    license, reason = (license, None) if license else _license_of(stages, folder)
    features = processor.feature_extractor
    data = ModelCardData(
        license=license,
        library_name="transformers",
        pipeline_tag="other",
        tags=TAGS,
        base_model=_base_models(stages),
        model_name=repo_id.split("/")[-1],
    )
    card = ModelCard.from_template(
        data,
        template_path=str(TEMPLATES / "model_card.md"),
        marker=MARKER,
        name=repo_id.split("/")[-1],
        repo_id=repo_id,
        num_peaks=features.num_peaks,
        adducts=_code(features.adducts),
        instrument_types=_code(features.instrument_types),
        elements=", ".join(features.elements),
        parts=markdown_table(("part", "what", "parameters"), ((p, k, f"{n:,}") for p, k, n in parts(model))),
        stages=stages and markdown_table(STAGE_COLUMNS, map(stage_row, stages)),
        credits=credits(stages),
        license_name=read_licence(license).name,
        license_reason=reason,
        figures=None,
    )
    check_metadata(card, readme)
    return card


def _is_ours_to_write(text):
    """PEFT leaves an empty form, and our own card is written anew."""
    return MARKER in text or "\nlibrary_name: peft\n" in text


def _license_of(stages, folder):
    licences = [licence for data in training_data(stages) for licence in data.get("licenses", ())]
    try:
        strict = strictest(licences)
    except ValueError as error:
        raise ValueError(
            f"{Path(folder, RECORD)}: {error}, so that the data do not tell the licence of the weights: name it by "
            "--license, such as cc-by-sa-4.0"
        ) from None
    return strict.hub, "the strictest licence of the data"


def check_metadata(card, path: Path):
    """What the Hub checks and can be checked offline. Raises ValueError."""
    if not card.data.license:
        raise ValueError(f"{path}: its metadata name no license")
    for result in card.data.get("eval_results") or ():
        if not isinstance(result.metric_value, int | float) or not math.isfinite(result.metric_value):
            raise ValueError(f"{path}: {result.metric_type} is {result.metric_value}, not a number")


def parts(model) -> list[tuple[str, str, int]]:
    """Name, architecture and number of parameters of each part."""
    config, base = model.config, model.model
    named = [
        ("encoder", base.encoder, config.encoder_config),
        ("conditions", base.conditions, config.condition_config),
        ("projector", base.projector, config.projector_config),
        ("language model", model.language_model, config.text_config),
    ]
    return [
        (name, _architecture(part_config, config), sum(p.numel() for p in module.parameters()))
        for name, module, part_config in named
        if module is not None
    ]


def _architecture(part, config):
    if part.model_type == "spec2mol_conditions":
        return "precursor m/z, collision energy, adduct, ion mode, instrument type, formula as tokens"
    text = f"{part.model_type}, {part.num_hidden_layers} layers x {part.hidden_size}"
    if part is config.projector_config:
        text += f", {config.num_query_tokens} queries"
    if part is config.text_config:
        text += f", vocabulary of {part.vocab_size}"
    return text


STAGE_COLUMNS = ("stage", "starts from", "data", "spectra or structures", "molecules", "steps x batch", "trained")


def stage_row(stage: dict) -> tuple:
    data = stage["data"]["train"]
    return (
        stage["recipe"],
        ", ".join(f"{part} {Path(place).name}" for part, place in stage["origin"].items()),
        ", ".join(dict.fromkeys(source_name(name) for name in data.get("sources", ()))) or data["file"],
        f"{min(data['rows'], stage['data'].get('train_limit') or data['rows']):,}",
        f"{data['molecules']:,}" if "molecules" in data else "",
        f"{stage['steps']:,} x {stage['batch_size']}",
        ", ".join(f"`{pattern}`" for pattern in stage["trained"]),
    )


def training_data(stages: Iterable[dict]) -> list[dict]:
    """What `describe` said of each training file, each once."""
    unique = {json.dumps(stage["data"]["train"], sort_keys=True): stage["data"]["train"] for stage in stages}
    return list(unique.values())


def credits(stages: Sequence[dict]) -> str:
    """A list: data bases with licence and whom to cite, licences of single records, contributors."""
    return "\n".join(_credit_lines(training_data(stages)))


def _credit_lines(data: Sequence[dict]):
    sources = Counter()
    for part in data:
        sources.update(part.get("sources", {}))
    for name in dict.fromkeys(map(source_name, sources)):
        source = next((s for s in map(find_source, sources) if s and s.name == name), None)
        if source is None:
            yield f"- {name}"
        else:
            terms = source.licence or "each record has its own licence"
            yield f"- [{source.name}]({source.url}): {terms}; credit {source.credit}"
    for part in data:
        if "sources" in part and not part.get("contributors"):
            continue
        counts = ", ".join(
            f"[{licence.name}]({licence.url}) ({rows:,})" if licence.url else f"{licence.name} ({rows:,})"
            for licence, rows in ((read_licence(text), rows) for text, rows in part.get("licenses", {}).items())
        )
        yield f"- Records of {part['file']} by licence: {counts or 'not stated'}"
        if contributors := part.get("contributors"):
            yield f"- Contributors of {part['file']}: {', '.join(f'{n} ({k:,})' for n, k in contributors.items())}"


def source_name(name: str) -> str:
    source = find_source(name)
    return source.name if source else name


def _base_models(stages):
    """Hub names that a stage started from."""
    places = [place for stage in stages for place in stage["origin"].values()]
    return [place for place in places if place.count("/") == 1 and not place.startswith(("runs/", "."))] or None


def markdown_table(header: Sequence[str], rows: Iterable[Sequence]) -> str:
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join("| " + " | ".join(str(cell).replace("|", "\\|") for cell in line) + " |" for line in lines)


def _code(words):
    return ", ".join(f"`{word}`" for word in words)


def _one_line(error):
    return " ".join(str(error).split())
