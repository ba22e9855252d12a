"""spec2mol in the browser: a spectrum in, ranked structures and an explained spectrum out.

    pip install -e ".[demo]" && python space/app.py

SPEC2MOL_MODEL names another model than the shipped one, a folder or a Hub name.
"""

import html
import io
import os
import re
import tempfile
from itertools import islice
from pathlib import Path

import gradio as gr
import torch

import spec2mol
from spec2mol import load_model, load_spectra, predict_molecules
from spec2mol.chemistry_spec2mol import ADDUCTS, parse_formula
from spec2mol.cli import embed, predict
from spec2mol.cli.output import TableWriter
from spec2mol.loading import DEFAULT_MODEL, load_encoder
from spec2mol.report import Report
from spec2mol.spectra import InputReader, load_inputs, read_stream

MODEL = os.environ.get("SPEC2MOL_MODEL", DEFAULT_MODEL)
MOST_SPECTRA = 20  # of one file: a shared machine answers some spectra a minute
AS_GIVEN = "as in the file, else [M+H]+"
EXAMPLES = Path(spec2mol.__file__).parent / "examples" / "known_compounds.mgf"
ABOUT = f"""# spec2mol
Molecular structures from tandem mass spectra (MS/MS). Model: **{Path(MODEL).name}**. What it proposes are hypotheses:
look at the mass error and at the explained peaks before you believe one."""

model, processor = load_model(MODEL)
encode, feature_extractor = load_encoder(MODEL)


def read(file: str | None, text: str, precursor_mz: float | None, adduct: str | None) -> InputReader:
    """Spectra of an uploaded file or of pasted text, which is a peak list or the content of a file."""
    if file:
        return load_inputs([file])
    if not text.strip():
        raise ValueError("There is no spectrum: upload a file, paste peaks, or click an example")
    if re.match(r"[\d.]+[\s,;]+[\d.]+", text.strip()):
        if not precursor_mz:
            raise ValueError("A peak list has no precursor: give its m/z")
        peaks = re.sub("[,;\t]", " ", text)
        fields = f"TITLE=pasted spectrum\nPEPMASS={precursor_mz}\nADDUCT={adduct or '[M+H]+'}"
        text = f"BEGIN IONS\n{fields}\n{peaks}\nEND IONS\n"
    return InputReader([read_stream(io.BytesIO(text.encode()), "pasted text")])


@torch.no_grad()
def answer(file, text, precursor_mz, adduct, energy, formula, top_k):
    """Yields, once, the page to show and the files to download. gradio copies them; the folder goes."""
    try:
        adduct = None if adduct == AS_GIVEN else adduct
        reader = read(file, text or "", precursor_mz, adduct)
        known = {"formula": formula.strip(), "collision_energy": energy, "adduct": adduct}
        known = {name: value for name, value in known.items() if value}
        if "formula" in known:
            parse_formula(known["formula"])
        if adduct:
            known["ion_mode"] = ADDUCTS[adduct].ion_mode
        spectra = [spectrum | known for spectrum in islice(reader, MOST_SPECTRA)]
        if len(spectra) == MOST_SPECTRA and next(reader, None):
            gr.Info(f"Only the first {MOST_SPECTRA} spectra are answered here; `spec2mol report` answers all.")
        answers = list(predict_molecules(model, processor, spectra, int(top_k)))
        vectors = encode(**feature_extractor(spectra, return_tensors="pt")).float().tolist()
    except ValueError as error:
        message = str(error).replace(f"{Path(file).parent}{os.sep}", "") if file else str(error)
        raise gr.Error(f"{message[0].upper()}{message[1:]}.", duration=30, print_exception=False) from None

    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        report = Report(folder / "report.html", MODEL)
        with (
            TableWriter(folder / "answers.tsv", predict.SCHEMA) as table,
            TableWriter(folder / "embeddings.parquet", embed.SCHEMA) as embeddings,
        ):
            for spectrum, candidates, vector in zip(spectra, answers, vectors, strict=True):
                report.add(spectrum, candidates)
                table.write(predict.to_rows(spectrum, candidates))
                embeddings.write([{"query": spectrum["identifier"], "embedding": vector}])
        report.write(reader)
        yield frame(report.path.read_text("utf-8")), sorted(map(str, folder.iterdir()))


def frame(page: str) -> str:
    """The report in a frame of its own: it brings its style and may not reach out of it."""
    return (
        '<iframe id="report" title="Ranked structures and explained spectra" sandbox="allow-scripts allow-popups '
        'allow-downloads" allow="clipboard-write" style="width: 100%; height: 1100px; border: 0" '
        f'srcdoc="{html.escape(page)}"></iframe>'
    )


def examples() -> tuple[list[list], list[str]]:
    """Rows for the input fields, and their names."""
    rows, names = [], []
    for spectrum in load_spectra(EXAMPLES):
        peaks = zip(spectrum["mzs"], spectrum["intensities"], strict=True)
        text = "\n".join(f"{mz:.4f} {intensity:g}" for mz, intensity in peaks)
        known = [spectrum[name] for name in ("precursor_mz", "adduct", "collision_energy", "formula")]
        rows.append([text, *known[:3], known[3] or ""])
        names.append(spectrum["identifier"] if "name" not in spectrum["metadata"] else spectrum["metadata"]["name"])
    return rows, names


# Uploads and results are deleted after an hour.
with gr.Blocks(title="spec2mol", analytics_enabled=False, delete_cache=(600, 3600)) as app:
    gr.Markdown(ABOUT)
    with gr.Row():
        with gr.Column():
            formats = "Spectra: mgf, msp, mzML, MassBank text or json, also .gz"
            file = gr.File(label=formats, type="filepath", elem_id="file")
            pasted = "or paste peaks, one “m/z intensity” a line, or the content of a file"
            text = gr.Textbox(label=pasted, lines=7, max_lines=14, elem_id="peaks")
        with gr.Column():
            precursor_mz = gr.Number(label="Precursor m/z of pasted peaks, Da", value=None, elem_id="precursor")
            adduct = gr.Dropdown([AS_GIVEN, *ADDUCTS], value=AS_GIVEN, label="Adduct")
            energy = gr.Number(label="Collision energy, eV (optional)", value=None)
            formula = gr.Textbox(label="Molecular formula (optional)", max_lines=1, elem_id="formula")
            top_k = gr.Slider(1, 20, value=5, step=1, label="Structures for each spectrum")
    button = gr.Button("Propose structures", variant="primary", elem_id="propose")
    rows, names = examples()
    gr.Examples(rows, [text, precursor_mz, adduct, energy, formula], example_labels=names, label="Known compounds")
    page = gr.HTML()
    label = "Report, table and embeddings to download"
    files = gr.File(label=label, file_count="multiple", interactive=False, elem_id="results")
    fields = [file, text, precursor_mz, adduct, energy, formula, top_k]
    button.click(answer, fields, [page, files], scroll_to_output=True)

# Fonts of the system: nothing is fetched from elsewhere.
THEME = gr.themes.Default(font=["system-ui", "sans-serif"], font_mono=["ui-monospace", "monospace"])

if __name__ == "__main__":
    app.launch(theme=THEME)
