"""Model cards and data set cards, written from what is recorded, never from hope."""

import json
import math
import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from huggingface_hub import DatasetCard, DatasetCardData, EvalResult, ModelCard, ModelCardData
from transformers.utils import cached_file

from ..data.provenance import Licence, count_values, find_source, provenance, read_licence, strictest
from ..evaluation.fitting import FOLDS_FILE
from ..evaluation.intervals import Interval
from ..evaluation.report import STRUCTURES, Table, figure_tables, retrieval_table, to_markdown
from ..training.record import MOLECULES, RECORD, TrainingRecord, load_seen

TEMPLATES = Path(__file__).with_name("templates")
METRICS = "metrics.json"
RECORDS = (RECORD, MOLECULES, METRICS, FOLDS_FILE)  # what a model's folder may say of it
MARKER = "<!-- Written by spec2mol from the records beside the weights. A card without this line is kept as it is. -->"
TRACKS = {"mass": "Told precursor m/z and metadata, not the formula", "formula": "Told the molecular formula as well"}
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
    else:
        card = _card_from_records(folder, model, processor, repo_id, license)
    check_metadata(card, readme)
    return card


def _card_from_records(folder, model, processor, repo_id, license):
    record, metrics = load_seen(folder), read_metrics(folder)
    data = training_data(record) if record else []
    name, features = repo_id.split("/")[-1], processor.feature_extractor
    metadata = ModelCardData(
        license=license or license_of(record, folder),
        library_name="transformers",
        pipeline_tag="other",
        tags=TAGS,
        model_name=name,
        eval_results=_eval_results(metrics) or None,
    )
    return ModelCard.from_template(
        metadata,
        template_path=str(TEMPLATES / "model_card.md"),
        marker=MARKER,
        name=name,
        repo_id=repo_id,
        reads_molecules=features.molecules,
        num_peaks=features.num_peaks,
        adducts=_code(features.adducts),
        instrument_types=_code(features.instrument_types),
        elements=", ".join(features.elements),
        parts=markdown_table(("part", "what", "parameters"), ([p, k, f"{n:,}"] for p, k, n in parts(model))),
        stages=markdown_table(STAGE_COLUMNS, stage_rows(record)) if record else None,
        unknown=", ".join(record.unknown) if record else None,
        num_molecules=f"{len(record.molecules):,}" if record else None,
        credits="\n".join(f"- {line}" for line in credit_lines(data)),
        license_name=read_licence(metadata.license).name,
        license_is_derived=license is None,
        is_ranked=model.config.ranking is not None,
        figures=metrics and _in_markdown(tables_by_track(metrics)),
        metrics=metrics,
    )


def dataset_card(
    shards: Sequence[Path], name: str, inputs: Sequence[str], dropped: str, held_out: tuple[int, Sequence[str]]
) -> DatasetCard:
    """The card of what `spec2mol build-dataset` wrote.

    Args:
        shards: parquet files, in the folder `data`.
        inputs: names of the files it was made from.
        dropped: what was left out, in words.
        held_out: number of molecules held out, and the names of the files they are in.
    """
    told = provenance(*shards)
    try:
        licence = strictest(told["licenses"])
    except ValueError:  # Terms that cannot be told or joined: each record keeps its own.
        licence = Licence("the licence of each record", "other")
    molecules = count_values(shards, "inchikey")
    rows = sum(molecules.values())
    metadata = DatasetCardData(
        license=licence.hub,
        license_name="per-record" if licence.hub == "other" else None,
        pretty_name=name,
        tags=TAGS,
        size_categories=[size_category(rows)],
        configs=[{"config_name": "default", "data_files": [{"split": "train", "path": "data/train-*.parquet"}]}],
    )
    contents = {column: _counted(count_values(shards, column).items()) for column in ("ion_mode", "adduct")}
    contents["instrument_type"] = _counted(count_values(shards, "instrument_type").items())
    return DatasetCard.from_template(
        metadata,
        template_path=str(TEMPLATES / "dataset_card.md"),
        name=name,
        rows=f"{rows:,}",
        molecules=f"{len(molecules):,}",
        inputs=", ".join(inputs),
        contents={column.replace("_", " "): counts for column, counts in contents.items() if counts},
        dropped=f"Left out: {dropped}.",
        held_out=f"{held_out[0]:,}",
        held_out_files=", ".join(held_out[1]),
        credits="\n".join(f"- {line}" for line in credit_lines([told | {"file": name}])),
        license_name=licence.name,
    )


def size_category(rows: int) -> str:
    """The Hub's word for the size of a data set."""
    bounds = (1_000, 10_000, 100_000, 1_000_000, 10_000_000)
    names = ("1K", "10K", "100K", "1M", "10M")
    for i, bound in enumerate(bounds):
        if rows < bound:
            return f"{names[i - 1]}<n<{names[i]}" if i else "n<1K"
    return "n>10M"


def _is_ours_to_write(text):
    """PEFT leaves an empty form, and our own card is written anew."""
    return MARKER in text or "\nlibrary_name: peft\n" in text


def license_of(record, folder) -> str:
    """The strictest licence of the data that trained a model. Raises ValueError where they do not tell."""
    try:
        if record is None:
            raise ValueError("there is no training record")
        if record.unknown:
            raise ValueError(f"nothing is known of {', '.join(record.unknown)}, which went into it")
        data = training_data(record)
        if silent := next((part["file"] for part in data if "licenses" not in part), None):
            raise ValueError(f"{silent} states no licences")
        return strictest(licence for part in data for licence in part["licenses"]).hub
    except ValueError as error:
        raise ValueError(f"{folder}: its licence is not known, {error}: give --license, such as cc-by-4.0") from None


def check_metadata(card, path: Path):
    """What the Hub checks and can be checked offline. Raises ValueError."""
    if not card.data.license:
        raise ValueError(f"{path}: its metadata name no license")
    if card.data.license == "other" and not card.data.get("license_name"):
        raise ValueError(f"{path}: its metadata name no license_name, which license: other needs")
    for result in card.data.get("eval_results") or ():
        if not isinstance(result.metric_value, int | float) or not math.isfinite(result.metric_value):
            raise ValueError(f"{path}: {result.metric_type} is {result.metric_value}, not a number")


def parts(model) -> list[tuple[str, str, int]]:
    """Name, architecture and number of parameters of each part of a `Spec2MolForConditionalGeneration`."""
    modules = dict(model.model.named_children()) | {"language_model": model.language_model}
    return [
        (name.replace("_", " "), architecture(name, model.config), sum(p.numel() for p in module.parameters()))
        for name, module in modules.items()
    ]


def architecture(name: str, config) -> str:
    """In words, of a part by the name of its module, as the config of the whole describes it."""
    part = {
        "encoder": config.encoder_config,
        "conditions": config.condition_config,
        "projector": config.projector_config,
        "structure_head": config.structure_config,
        "fingerprint_tokens": config.structure_config,
        "fragmentation": config.fragmentation_config,
        "language_model": config.text_config,
    }[name]
    words = [part.model_type]
    if hasattr(part, "num_hidden_layers"):
        words.append(f"{part.num_hidden_layers} layers x {part.hidden_size}")
    if name == "projector":
        words.append(f"{config.num_query_tokens} queries")
    if name == "fingerprint_tokens":
        words.append(f"{part.num_tokens} tokens of {part.fingerprint_size} bits")
    if name == "language_model":
        words.append(f"vocabulary of {part.vocab_size}")
    return ", ".join(words)


STAGE_COLUMNS = ("stage", "starts from", "data", "examples", "molecules", "length x batch", "trained")


def stage_rows(record: TrainingRecord) -> list[list[str]]:
    """By `STAGE_COLUMNS`, a line for each stage; one that two parts of the model stem from is one line."""
    known = {digest: part for part in training_data(record) for digest in part["sha256"]}
    stages = {json.dumps(stage): stage for stage in record.stages}.values()
    return [_stage_row(stage, _distinct(known[part["sha256"]] for part in stage["data"])) for stage in stages]


def _stage_row(stage, data):
    recipe = stage["recipe"]
    defaults = {"num_train_epochs": 3, "per_device_train_batch_size": 8}  # of `transformers.TrainingArguments`
    arguments = defaults | recipe["arguments"]
    steps = arguments.get("max_steps")
    length = f"{steps} steps" if steps else f"{arguments['num_train_epochs']} epochs"
    batch = arguments["per_device_train_batch_size"] * arguments.get("gradient_accumulation_steps", 1)
    return [
        recipe["stage"],
        ", ".join(f"{part} {Path(place).name}" for part, place in recipe["model"].items() if isinstance(place, str)),
        ", ".join(f"{part['file']} ({', '.join(source_names(part)) or 'source not stated'})" for part in data),
        f"{stage['examples']:,}",
        f"{stage['molecules']:,}",
        f"{length} x {batch}",
        f"LoRA of rank {recipe['lora']['r']}" if recipe["lora"] else ", ".join(recipe["trainable"]),
    ]


def training_data(record: TrainingRecord) -> list[dict]:
    """The data of all stages, each file once. The shards of one table, told by their names and sources, are one entry:
    `file` is then such as "part-*.parquet", and rows are added up. `sha256` is a list."""
    files = {}
    for part in (part for stage in record.stages for part in stage["data"]):
        files[part["sha256"]] = files.get(part["sha256"], {}) | part  # What a stage does not tell another may.
    tables = {}
    for part in files.values():
        shards = re.sub(r"\d+", "*", part["file"])
        tables.setdefault((shards, *sorted(source_names(part))), []).append(part)
    return [_joined(parts, shards) for (shards, *_), parts in tables.items()]


def _joined(parts, shards):
    whole = {"file": parts[0]["file"] if len(parts) == 1 else shards, "sha256": [part["sha256"] for part in parts]}
    for column in ("licenses", "sources", "contributors"):
        if all(column in part for part in parts):
            whole[column] = dict(sum((Counter(part[column]) for part in parts), Counter()).most_common())
    return whole


def _distinct(parts):
    return list({id(part): part for part in parts}.values())


def credit_lines(data: Sequence[Mapping]) -> list[str]:
    """Whom to credit under which licence, from `training_data`: the data bases, then for each table its rows by
    licence and contributor."""
    names = dict.fromkeys(name for part in data for name in part.get("sources", ()))
    sources = dict.fromkeys(filter(None, map(find_source, names)))
    terms = [source.licence or "each record under its own licence" for source in sources]
    lines = [f"[{s.name}]({s.url}), {t}: credit {s.credit}" for s, t in zip(sources, terms, strict=True)]
    lines += [name for name in names if find_source(name) is None]
    for part in data:
        licences = Counter()
        for text, rows in part.get("licenses", {}).items():
            licences[read_licence(text)] += rows
        linked = [(f"[{known.name}]({known.url})" if known.url else known.name, n) for known, n in licences.items()]
        named = f"{part['file']} ({', '.join(source_names(part)) or 'source not stated'})"
        lines.append(f"{named}, rows by licence: {_counted(linked) or 'not stated'}")
        if contributors := part.get("contributors"):
            lines.append(f"{named}, rows by contributor: {_counted(contributors.items())}")
    return lines


def _counted(pairs):
    return ", ".join(f"{name} {rows:,}" for name, rows in pairs)


def source_names(data: Mapping) -> list[str]:
    named = ((name, find_source(name)) for name in data.get("sources", ()))
    return list(dict.fromkeys(source.name if source else name for name, source in named))


def find_file(name: str | Path, file: str) -> Path | None:
    """A file beside the weights, in a folder or on the Hub; None if there is none."""
    try:
        return Path(cached_file(str(name), file))
    except OSError:
        return None


def read_metrics(name: str | Path) -> dict | None:
    """What `spec2mol evaluate --output` wrote beside the weights, intervals as `Interval`; None without it."""
    if (path := find_file(name, METRICS)) is None:
        return None
    content = json.loads(path.read_text(encoding="utf-8"))
    for systems in content["figures"].values():
        for figures in systems.values():
            figures.update({name: Interval(**interval) for name, interval in figures.items()})
    return content


def tables_by_track(metrics: Mapping) -> dict[str, list[Table]]:
    """What each track's model is told -> tables of figures, from `read_metrics`."""
    tables = {}
    for track, systems in metrics["figures"].items():
        compared = {name: figures for name, figures in systems.items() if name != "retrieval"}
        tables[TRACKS[track]] = figure_tables(compared)
        if "retrieval" in systems:
            tables[TRACKS[track]].append(retrieval_table(systems["retrieval"]))
        if calibration := metrics.get("calibration", {}).get(track):
            rows = [[name, Interval(**figures["expected calibration error"])] for name, figures in calibration.items()]
            tables[TRACKS[track]].append(Table("Expected calibration error", ["probability of", "error"], rows))
    return tables


def _in_markdown(tables_by_title):
    blocks = ([f"### {title}\n", *map(to_markdown, tables)] for title, tables in tables_by_title.items())
    return "\n".join(line for block in blocks for line in block)


def _eval_results(metrics):
    """The model's own figures on structures; the card's text has the controls and intervals."""
    if metrics is None:
        return []
    return [
        EvalResult(
            task_type="other",
            task_name=f"structure from MS/MS, {TRACKS[track].lower()}",
            dataset_type=metrics["data"],
            dataset_name=f"{metrics['data']} ({metrics['spectra']:,} spectra)",
            dataset_config=f"track {track}",  # Else the Hub joins both tracks into one result.
            metric_type=figure,
            metric_name=STRUCTURES[figure],
            metric_value=round(interval.mean, 4),
        )
        for track, systems in metrics["figures"].items()
        for figure, interval in systems["model"].items()
        if figure in STRUCTURES
    ]


def markdown_table(header: Sequence[str], rows: Iterable[Sequence]) -> str:
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join("| " + " | ".join(str(cell).replace("|", "\\|") for cell in line) + " |" for line in lines)


def _code(words):
    return ", ".join(f"`{word}`" for word in words)


def _one_line(error):
    return " ".join(str(error).split())
