"use strict";
// What a query holds is said in report.py. Queries are drawn when they come near the window and cleared when they
// leave it, so that the page stays light however long it is.
(async () => {
const DRAWN_AHEAD = "900px";
const OPEN_HEIGHT = "900px"; // about that of a query that is open, until it is drawn
const MANY = 20; // From so many queries on they begin closed, and the summary shows distributions.
const COLOURS = {explained: "#1f5fbf", unexplained: "#a3abb8", library: "#c2570c"};

const text = atob(document.getElementById("data").textContent);
const packed = new Uint8Array(text.length);
for (let i = 0; i < text.length; i++) packed[i] = text.charCodeAt(i);
const data = await new Response(new Blob([packed]).stream().pipeThrough(new DecompressionStream("gzip"))).json();
const {molecules, queries} = data;
const [MOLECULE, SCORE, ERROR, PROBABILITY, CLOSE] = [0, 1, 2, 3, 4];
const SIMILAR = "probability of a Tanimoto similarity of 0.6 or more to the right structure";
const hasProbability = queries.some((q) => q.answers.some((a) => a[PROBABILITY] != null));
const hasLibrary = queries.some((q) => q.match);

// Elements

/** Element with properties and children; text is never read as HTML. */
function element(tag, properties = {}, ...children) {
  const node = Object.assign(document.createElement(tag), properties);
  node.append(...children.flat().filter((child) => child != null && child !== false));
  return node;
}

/** RDKit's drawing, the only markup that is inserted as such. */
function drawing(molecule, className) {
  const box = element("div", {className});
  if (molecule != null) box.innerHTML = molecules[molecule].svg ?? "";
  return box;
}

const plural = (n, word) => `${n.toLocaleString("en")} ${word}${n === 1 ? "" : "s"}`;
const percent = (share) => `${(100 * share).toFixed(share > 0 && share < 0.1 ? 1 : 0)} %`;
const decimal = (number) => number.toFixed(2).replace("-", "−");
function signed(number, digits = 1) {
  const text = Math.abs(number).toFixed(digits);
  return Number(text) === 0 ? text : (number < 0 ? "−" : "+") + text;
}
const subscripts = (formula) => formula.replace(/\d/g, (digit) => "₀₁₂₃₄₅₆₇₈₉"[digit]);
const formulaNodes = (formula) =>
  formula.split(/(\d+)/).map((part) => (/^\d/.test(part) ? element("sub", {textContent: part}) : part));
const charge = (query) => (/-$/.test(query.adduct) ? "⁻" : "⁺");

/** Whether an answer's mass is that of the precursor; null if the adduct does not say. */
const fits = (answer) => (answer[ERROR] == null ? null : Math.abs(answer[ERROR]) <= data.ppm);

/** In ppm; where the answer is another compound altogether, in Da. */
function massError(answer, query) {
  if (answer[ERROR] == null) return element("span", {className: "soft", textContent: "adduct unknown"});
  const relative = answer[ERROR] / 1e6;
  const difference = (query.mz * relative) / (1 + relative);
  const error = Math.abs(difference) < 0.5 ? `${signed(answer[ERROR])} ppm` : `${signed(difference, 2)} Da`;
  return element("span", {className: fits(answer) ? "good" : "bad"}, `${fits(answer) ? "✓" : "✗"} ${error}`);
}

function confidence(answer) {
  return answer[PROBABILITY] == null ? decimal(answer[SCORE]) : percent(answer[PROBABILITY]);
}

// Head and summary

function head() {
  const files = data.files.length > 3 ? plural(data.files.length, "file") : data.files.map((f) => f.name).join(", ");
  document.title = `spec2mol: ${files}`;
  document.getElementById("head").append(
    element("h1", {textContent: "Structures proposed from MS/MS spectra"}),
    element("p", {textContent: `${files} · model ${data.model} · spec2mol ${data.version} · ${data.created}`}),
  );
}

function summary() {
  const total = (key) => d3.sum(data.files, (file) => file[key]);
  const skipped = data.files.flatMap((file) => file.skipped.map(([index, id, reason]) => ({file: file.name, index, id, reason})));
  const best = queries.filter((q) => q.answers.length).map((q) => q.answers[0]);
  const tiles = [
    [queries.length, "spectra answered"],
    [best.filter(fits).length, `best answers within ${data.ppm} ppm`],
    [queries.length - best.length, "without a valid structure"],
    [skipped.length + data.unusable.length, "skipped"],
  ];
  if (total("notMs2")) tiles.push([total("notMs2"), "scans that are not MS2"]);
  if (data.library) tiles.push([queries.filter((q) => q.match).length, `matched in a library of ${data.library.toLocaleString("en")}`]);

  const panels = [];
  if (queries.length >= MANY) {
    const explained = queries.filter((q) => q.explained != null).map((q) => 100 * q.explained);
    const errors = best.map((answer) => answer[ERROR]).filter((error) => Math.abs(error) <= 3 * data.ppm);
    panels.push(
      histogram("Fragment intensity explained by the best answer", "%", explained, [0, 100]),
      histogram("Mass error of the best answer", "ppm", errors, [-3 * data.ppm, 3 * data.ppm], best.length - errors.length),
    );
  }
  if (skipped.length || data.unusable.length) panels.push(skippedPanel(skipped));
  const warnings = data.files.flatMap((file) => Object.entries(file.warnings).map(([text, n]) => ({file: file.name, text, n})));
  if (warnings.length) {
    const merged = d3.rollups(warnings, (group) => d3.sum(group, (w) => w.n), (w) => w.text);
    panels.push(element("div", {className: "panel"},
      element("h2", {textContent: "Read with an assumption"}),
      table(["spectra", ""], merged.map(([text, n]) => [n.toLocaleString("en"), text])),
    ));
  }
  document.getElementById("summary").append(
    element("div", {className: "tiles"}, tiles.map(([number, text]) =>
      element("div", {className: "tile"}, element("b", {textContent: number.toLocaleString("en")}), element("span", {textContent: text})))),
    element("div", {className: "panels"}, panels),
  );
}

function histogram(title, unit, values, domain, beyond = 0) {
  const plot = Plot.plot({
    width: 420, height: 130, marginLeft: 44, marginTop: 8, marginBottom: 34,
    x: {domain, label: unit}, y: {label: null, grid: true, ticks: 3, tickFormat: "d"},
    marks: [
      Plot.rectY(values, Plot.binX({y: "count"}, {x: Plot.identity, fill: COLOURS.explained, thresholds: 20, domain})),
      Plot.ruleY([0]),
    ],
  });
  const note = beyond ? `, ${beyond.toLocaleString("en")} further off` : "";
  return element("div", {className: "panel"}, element("h2", {textContent: title + note}), plot);
}

function skippedPanel(skipped) {
  const reasons = d3.rollups(skipped, (group) => group.length, (s) => s.reason).sort((a, b) => b[1] - a[1]);
  const shown = reasons.slice(0, 8).map(([reason, n]) => [n.toLocaleString("en"), reason]);
  if (reasons.length > 8) shown.push([d3.sum(reasons.slice(8), (r) => r[1]).toLocaleString("en"), "other reasons, see the list"]);
  const list = element("details", {}, element("summary", {textContent: "which ones"}));
  list.addEventListener("toggle", () => {
    if (list.children.length === 1) {
      list.append(element("div", {className: "scroll"},
        table(["entry", "id", "reason"], skipped.map((s) => [s.index, s.id, s.reason]))));
    }
  });
  return element("div", {className: "panel"},
    element("h2", {textContent: "Skipped"}),
    table(["entries", "reason"], [...data.unusable.map((message) => ["file", message]), ...shown]),
    skipped.length > 0 && list,
  );
}

function table(names, rows) {
  const cell = (tag) => (value, column) => {
    const node = element(tag, {}, value instanceof Node ? value : String(value ?? ""));
    if (rows.length && /^[−+]?[\d,.]+( %)?$/.test(String(rows[0][column]))) node.className = "number";
    return node;
  };
  return element("table", {},
    element("thead", {}, element("tr", {}, names.map(cell("th")))),
    element("tbody", {}, rows.map((row) => element("tr", {}, row.map(cell("td"))))),
  );
}

// A query: a row, and a body below it when it is open

const COLUMNS = [
  ["query", (q) => q.position, "ascending"],
  ["precursor", (q) => q.mz, "ascending"],
  ["best answer", (q) => (q.answers.length ? molecules[q.answers[0][MOLECULE]].formula : null), "ascending"],
  [hasProbability ? "confidence" : "score", (q) => q.answers[0]?.[hasProbability ? PROBABILITY : SCORE], "descending"],
  ["mass error", (q) => (q.answers[0]?.[ERROR] == null ? null : Math.abs(q.answers[0][ERROR])), "ascending"],
  ["explained", (q) => q.explained, "descending"],
];
if (hasLibrary) COLUMNS.push(["library", (q) => q.match?.cosine, "descending"]);

function rowOf(query) {
  const [best] = query.answers;
  const molecule = best && molecules[best[MOLECULE]];
  const known = [query.adduct, query.energy != null && `${+query.energy.toFixed(1)} eV`, query.instrument];
  const row = element("button", {className: "row", type: "button", ariaExpanded: String(query.open)},
    element("span", {className: "arrow", textContent: "▸"}),
    drawing(best?.[MOLECULE], "thumb"),
    element("span", {title: query.id}, element("b", {textContent: query.id}),
      query.name && query.name !== query.id && element("small", {textContent: query.name})),
    element("span", {}, query.mz.toFixed(4), element("small", {textContent: known.filter(Boolean).join(" · ")})),
    element("span", {}, best ? formulaNodes(molecule.formula) : element("span", {className: "soft"}, "no valid structure"),
      best && element("small", {textContent: molecule.smiles, title: molecule.smiles})),
    element("span", {}, best ? confidence(best) : "", best && best[CLOSE] != null && element("small", {textContent: `similar ${percent(best[CLOSE])}`, title: SIMILAR})),
    element("span", {}, best ? massError(best, query) : ""),
    element("span", {}, query.explained == null ? "" : [percent(query.explained), bar(query.explained)]),
    hasLibrary && element("span", {}, query.match ? [query.match.cosine.toFixed(2), element("small", {textContent: query.match.name, title: query.match.name})] : ""),
  );
  row.addEventListener("click", () => {
    query.open = !query.open;
    draw(query);
  });
  return row;
}

function bar(share) {
  const filled = element("i");
  filled.style.width = `${100 * share}%`;
  return element("span", {className: "bar"}, filled);
}

function bodyOf(query, width) {
  const facts = [
    ["feature", query.feature !== query.id && query.feature], ["given formula", query.formula],
    ["file", data.files.length > 1 && query.file],
    ["peaks", query.peaks > query.mzs.length ? `${query.peaks}, the ${query.mzs.length} most intense shown` : query.peaks],
  ].filter(([, value]) => value);
  const narrow = width < 860;
  const plotWidth = Math.floor(narrow ? width - 34 : (width - 54) * (1.75 / 2.75));
  const [best, ...others] = query.answers;
  return element("div", {className: "body"},
    element("div", {className: "facts"}, facts.map(([name, value]) => element("span", {}, `${name} `, element("b", {textContent: value})))),
    spectrumOf(query, plotWidth),
    best ? answerOf(query, best, 1, "answer best") : element("p", {className: "soft"}, query.problem ?? "Nothing that the model wrote is a molecule."),
    element("div", {className: "answers"}, 
      query.match?.molecule != null && libraryOf(query),
      others.map((answer, i) => answerOf(query, answer, i + 2, "answer"))),
    query.ions?.length > 0 && peakTable(query),
  );
}

function answerOf(query, answer, rank, className) {
  const molecule = molecules[answer[MOLECULE]];
  const lines = [["formula", formulaNodes(molecule.formula)], ["mass", massError(answer, query)]];
  if (answer[PROBABILITY] != null) lines.push(["confidence", percent(answer[PROBABILITY])]);
  if (answer[CLOSE] != null) lines.push([element("span", {title: SIMILAR}, "similar"), percent(answer[CLOSE])]);
  lines.push(["score", decimal(answer[SCORE])]);
  return element("div", {className},
    element("span", {className: "rank", textContent: rank === 1 ? "1 · best answer" : rank}),
    drawing(answer[MOLECULE], "drawing"),
    listOf(lines),
    rank === 1 && element("p", {className: "smiles", textContent: molecule.smiles}),
    linksOf(molecule),
  );
}

/** The structure that the library names, and whether it is among the answers: stereochemistry is left out here. */
function libraryOf(query) {
  const molecule = molecules[query.match.molecule];
  const skeleton = (position) => molecules[position].inchikey?.slice(0, 14);
  const rank = 1 + query.answers.findIndex(([position]) => skeleton(position) === skeleton(query.match.molecule));
  const lines = [["formula", formulaNodes(molecule.formula)], ["cosine", query.match.cosine.toFixed(2)],
    ["answer", rank ? String(rank) : "none of these"]];
  return element("div", {className: "answer library"},
    element("span", {className: "rank", textContent: "library match"}),
    drawing(query.match.molecule, "drawing"),
    listOf(lines),
    linksOf(molecule),
  );
}

function listOf(lines) {
  return element("dl", {}, lines.flatMap(([name, value]) => [element("dt", {}, name), element("dd", {}, value)]));
}

/** PubChem finds all stereoisomers by the first block of the InChIKey; structures here have no stereochemistry. */
function linksOf(molecule) {
  const copy = element("button", {type: "button", textContent: "copy SMILES", title: molecule.smiles});
  copy.addEventListener("click", () => navigator.clipboard.writeText(molecule.smiles).then(
    () => { copy.textContent = "copied"; }, () => { copy.textContent = "not allowed here"; }));
  const url = `https://pubchem.ncbi.nlm.nih.gov/#query=${molecule.inchikey?.slice(0, 14)}`;
  return element("div", {className: "links"},
    molecule.inchikey && element("a",
      {href: url, target: "_blank", rel: "noopener noreferrer", title: molecule.inchikey, textContent: "PubChem"}),
    navigator.clipboard && copy,
  );
}

function peakTable(query) {
  const total = d3.sum(query.intensities);
  return element("details", {className: "peaks"},
    element("summary", {textContent: `${plural(query.ions.length, "explained peak")} of ${query.mzs.length}`}),
    table(["m/z", "intensity", "ion", "error, ppm"], query.ions.map(([i, formula, error]) => [
      query.mzs[i].toFixed(4), `${query.intensities[i].toFixed(1)} %`,
      element("span", {}, formulaNodes(formula), charge(query)), signed(error)])),
  );
}

// Spectra

function spectrumOf(query, width) {
  const box = element("div", {className: "plot"});
  const ions = new Map((query.ions ?? []).map(([i, formula, error]) => [i, {formula, error}]));
  const peaks = query.mzs.map((mz, i) => ({mz, intensity: query.intensities[i], ...ions.get(i)}));
  const mirrored = query.match ? query.match.mzs.map((mz, i) => ({mz, intensity: -query.match.intensities[i]})) : [];
  const last = d3.max([...peaks, ...mirrored, {mz: query.mz}], (p) => p.mz);
  const first = d3.min([...peaks, ...mirrored], (p) => p.mz);
  const whole = [Math.max(0, first - 0.06 * (last - first) - 5), last + 0.06 * (last - first) + 5];
  const legend = legendOf(query, () => saveSvg(box.querySelector("svg"), query.id));

  function show(domain) {
    const plot = spectrumPlot(query, peaks, mirrored, domain, width);
    const brush = d3.brushX().extent([[50, 10], [width - 12, plot.height.baseVal.value - 36]]).on("end", ({selection}) => {
      if (selection) show(selection.map(plot.scale("x").invert));
    });
    d3.select(plot).append("g").lower().call(brush).on("dblclick", () => show(whole));
    box.replaceChildren(plot, legend);
  }
  show(whole);
  return box;
}

function spectrumPlot(query, peaks, mirrored, domain, width) {
  const inside = (peak) => peak.mz >= domain[0] && peak.mz <= domain[1];
  peaks = peaks.filter(inside);
  mirrored = mirrored.filter(inside);
  const height = mirrored.length ? 360 : 290;
  const highest = d3.max(peaks, (p) => p.intensity) || 100;
  const lowest = d3.min(mirrored, (p) => p.intensity) || 0;
  const [top, bottom] = [1.22 * highest, 1.05 * lowest];
  const position = {
    x: (mz) => 50 + ((mz - domain[0]) / (domain[1] - domain[0])) * (width - 62),
    y: (intensity) => 10 + ((top - intensity) / (top - bottom)) * (height - 46),
  };
  position.x.range = [50, width - 12];
  const colour = (p) => (p.formula ? COLOURS.explained : COLOURS.unexplained);
  const text = (p) => (p.formula ? `${subscripts(p.formula)}${charge(query)}\n${p.mz.toFixed(4)}` : p.mz.toFixed(4));
  const describe = (p) => [
    `m/z ${p.mz.toFixed(4)}`, `${Math.abs(p.intensity).toFixed(1)} %`,
    p.formula && `${subscripts(p.formula)}${charge(query)}, ${signed(p.error)} ppm`,
    p.intensity < 0 && "library",
  ].filter(Boolean).join("\n");
  const labels = [...labelled(peaks, position)].map(([side, chosen]) => Plot.text(chosen, {
    x: "mz", y: "intensity", text, textAnchor: side, dx: {middle: 0, start: 4, end: -4}[side], dy: side === "middle" ? -4 : 11,
    lineAnchor: "bottom", fontSize: 10.5, fill: (p) => (p.formula ? COLOURS.explained : "#5b6575"),
  }));
  return Plot.plot({
    width, height, marginLeft: 50, marginRight: 12, marginTop: 10, marginBottom: 36,
    ariaLabel: `MS/MS spectrum of ${query.id}`,
    x: {domain, label: "m/z", labelAnchor: "center", labelArrow: "none"},
    y: {domain: [bottom, top], label: "intensity, %", labelAnchor: "center", labelArrow: "none",
      ticks: d3.ticks(lowest, highest, 5), tickFormat: (v) => String(Math.abs(v))},
    marks: [
      inside({mz: query.mz}) ? Plot.ruleX([query.mz], {stroke: "#8b95a5", strokeDasharray: "3 3", strokeOpacity: 0.7}) : null,
      Plot.ruleX(peaks, {x: "mz", y1: 0, y2: "intensity", stroke: colour, strokeWidth: 1.6, className: "sticks"}),
      Plot.ruleX(mirrored, {x: "mz", y1: 0, y2: "intensity", stroke: COLOURS.library, strokeWidth: 1.6, className: "library-sticks"}),
      Plot.ruleY([0], {stroke: "#5b6575"}),
      labels,
      Plot.tip([...peaks, ...mirrored], Plot.pointerX({x: "mz", y: "intensity", title: describe})),
    ],
  });
}

const SIDES = [["middle", -33, 33], ["start", 3, 69], ["end", -69, -3]]; // where a label goes, in pixels from its peak

/** Labels of the most intense peaks, explained ones first among about equals, where they leave each other and the
 *  other peaks room; by their side. */
function labelled(peaks, position) {
  const sticks = peaks.map((p) => ({x: position.x(p.mz), y: position.y(p.intensity)}));
  const boxes = [];
  const bySide = new Map(SIDES.map(([side]) => [side, []]));
  const order = d3.sort(d3.range(peaks.length), (i) => -peaks[i].intensity * (peaks[i].formula ? 1.5 : 1));
  for (const i of order.slice(0, 60)) {
    const {x, y} = sticks[i];
    for (const [side, from, to] of SIDES) {
      const bottom = side === "middle" ? y - 3 : y + 12;
      const box = {left: x + from, right: x + to, top: bottom - (peaks[i].formula ? 28 : 15), bottom};
      const free = box.left > position.x.range[0] && box.right < position.x.range[1] && box.bottom < position.y(0)
        && !boxes.some((b) => b.left < box.right && box.left < b.right && b.top < box.bottom && box.top < b.bottom)
        && !sticks.some((s, j) => j !== i && s.x > box.left && s.x < box.right && s.y < box.bottom);
      if (free) {
        boxes.push(box);
        bySide.get(side).push(peaks[i]);
        break;
      }
    }
  }
  return bySide;
}

function legendOf(query, save) {
  const entry = (colour, text) => {
    const stroke = element("i");
    stroke.style.background = colour;
    return element("span", {}, stroke, text);
  };
  const button = element("button", {className: "plain", type: "button", textContent: "save as SVG"});
  button.addEventListener("click", save);
  const match = query.match;
  return element("div", {className: "legend"},
    query.ions && entry(COLOURS.explained, "explained by the best answer"),
    entry(COLOURS.unexplained, query.ions ? "not explained" : "peak"),
    match && entry(COLOURS.library, `library: ${match.name}, cosine ${match.cosine.toFixed(2)}, ${plural(match.matched, "matched peak")}`),
    element("span", {textContent: "drag to zoom, double click for all"}),
    button,
  );
}

function saveSvg(svg, name) {
  const copy = svg.cloneNode(true);
  copy.querySelectorAll(".selection, .handle, .overlay").forEach((node) => node.remove());
  copy.setAttribute("xmlns", "http://www.w3.org/2000/svg");
  const url = URL.createObjectURL(new Blob([copy.outerHTML], {type: "image/svg+xml"}));
  element("a", {href: url, download: `${name.replace(/[^\w.-]+/g, "_")}.svg`}).click();
  URL.revokeObjectURL(url);
}

// The list: drawn as it is scrolled to

function draw(query) {
  const {node} = query;
  node.classList.toggle("open", query.open);
  node.replaceChildren(rowOf(query), ...(query.open ? [bodyOf(query, node.clientWidth)] : []));
  node.style.minHeight = "";
}

/** Draws what is near the window now, and from now on what comes near it. */
function observe() {
  observer.disconnect();
  for (const query of queries) {
    query.node.style.minHeight = query.open ? OPEN_HEIGHT : "";
    observer.observe(query.node);
  }
}

function clear(query) {
  if (query.node.isConnected) query.node.style.minHeight = `${query.node.offsetHeight}px`;
  query.node.replaceChildren();
}

const observer = new IntersectionObserver((entries) => {
  for (const {target, isIntersecting} of entries) {
    const query = queries[target.dataset.position];
    if (isIntersecting && !target.firstChild) draw(query);
    else if (!isIntersecting && target.firstChild) clear(query);
  }
}, {rootMargin: DRAWN_AHEAD});

queries.forEach((query, position) => {
  query.position = position;
  query.open = queries.length < MANY;
  query.node = element("article", {className: "query"});
  query.node.dataset.position = position;
  const words = [query.id, query.name, query.adduct, query.match?.name];
  for (const [molecule] of query.answers) {
    const {smiles, inchikey, formula} = molecules[molecule];
    words.push(smiles, inchikey, formula);
  }
  query.words = words.filter(Boolean).join("\n").toLowerCase();
});

const sorting = {column: 0, direction: "ascending"};
const inputs = Object.fromEntries(["search", "fits", "matched", "explained"].map((id) => [id, document.getElementById(id)]));

function list() {
  const text = inputs.search.value.trim().toLowerCase();
  const explained = Number(inputs.explained.value) / 100;
  const shown = queries.filter((q) =>
    q.words.includes(text) && (!inputs.fits.checked || (q.answers.length && fits(q.answers[0])))
    && (!inputs.matched.checked || q.match) && (explained <= 0 || q.explained >= explained));
  const [, value] = COLUMNS[sorting.column];
  const order = sorting.direction === "ascending" ? d3.ascending : d3.descending;
  // Queries without the value come last either way.
  shown.sort((a, b) => (value(a) == null) - (value(b) == null) || order(value(a), value(b)) || a.position - b.position);
  const main = document.getElementById("queries");
  main.replaceChildren(...shown.map((q) => q.node));
  if (!shown.length) main.append(element("p", {className: "none", textContent: "No query passes the filter."}));
  document.getElementById("count").textContent =
    shown.length === queries.length ? plural(queries.length, "query").replace("querys", "queries")
      : `${shown.length.toLocaleString("en")} of ${queries.length.toLocaleString("en")} queries`;
}

function columns() {
  const cells = COLUMNS.map(([name, , direction], column) => {
    const button = element("button", {type: "button", textContent: name});
    button.addEventListener("click", () => {
      const other = {ascending: "descending", descending: "ascending"};
      sorting.direction = sorting.column === column ? other[sorting.direction] : direction;
      sorting.column = column;
      mark();
      list();
    });
    return button;
  });
  const mark = () => cells.forEach((cell, i) =>
    i === sorting.column ? cell.setAttribute("aria-sort", sorting.direction) : cell.removeAttribute("aria-sort"));
  mark();
  document.getElementById("columns").append(element("span"), element("span"), ...cells);
}

function controls() {
  document.getElementById("fits-label").textContent = `exact mass within ${data.ppm} ppm`;
  document.getElementById("matched-label").hidden = !hasLibrary;
  for (const input of Object.values(inputs)) input.addEventListener("input", list);
  const toggle = document.getElementById("toggle");
  const name = () => { toggle.textContent = queries.every((q) => q.open) ? "close all" : "open all"; };
  toggle.addEventListener("click", () => {
    const open = !queries.every((q) => q.open);
    for (const query of queries) {
      query.open = open;
      query.node.replaceChildren();
    }
    observe();
    name();
  });
  name();
}

document.body.classList.toggle("with-library", hasLibrary);
head();
summary();
controls();
columns();
list();
observe();
let resized;
window.addEventListener("resize", () => {
  clearTimeout(resized);
  resized = setTimeout(() => queries.filter((q) => q.open && q.node.firstChild && q.node.isConnected).forEach(draw), 150);
});
document.body.dataset.ready = "true";
})();
