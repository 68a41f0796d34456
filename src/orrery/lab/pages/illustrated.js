"use strict";
const D = JSON.parse(document.getElementById("data").textContent);
const NUMBERS = {};
for (const name of ["q", "k", "v", "scores", "weights", "z"]) {
  const raw = Uint8Array.from(atob(D[name]), (letter) => letter.charCodeAt(0));
  NUMBERS[name] = new Float32Array(raw.buffer);
}
const T = D.words.length;
const chosen = { layer: D.start[0], head: D.start[1], query: D.start[2] };
const byId = (id) => document.getElementById(id);
const percent = (share) => (share >= 0.0995 ? Math.round(100 * share) : (100 * share).toFixed(1)) + " %";

/** The numbers of word `place` in the chosen head: of a vector, or of a row of a square. */
function row(name, place) {
  const width = name === "scores" || name === "weights" ? T : D.size;
  const from = ((chosen.layer * D.heads + chosen.head) * T + place) * width;
  return NUMBERS[name].subarray(from, from + width);
}

/** An element of HTML or SVG. */
function make(tag, attributes, ...children) {
  const spaces = { svg: 1, rect: 1, line: 1, text: 1, title: 1 };
  const element = tag in spaces ? document.createElementNS("http://www.w3.org/2000/svg", tag) : document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
  element.append(...children);
  return element;
}

/** Orange below nothing, white at it, blue above. */
function colour(share) {
  const end = share < 0 ? [178, 88, 6] : [33, 91, 168];
  const mix = end.map((part) => Math.round(250 + (part - 250) * Math.min(1, Math.abs(share))));
  return `rgb(${mix.join(",")})`;
}

/** A vector as a bar of colours. */
function bar(label, numbers, largest) {
  const [low, high] = [Math.min(...numbers), Math.max(...numbers)].map((n) => n.toFixed(2));
  const text = D.text.vector.replace("{name}", label).replace("{low}", low).replace("{high}", high);
  const svg = make("svg", { class: "bar", viewBox: `0 0 ${numbers.length} 1`, preserveAspectRatio: "none", role: "img", "aria-label": text });
  numbers.forEach((number, i) => svg.append(make("rect", { x: i, y: 0, width: 1.02, height: 1, fill: colour(number / largest) })));
  return svg;
}

/** The largest size of a number among the vectors of the chosen head. */
function largest(name) {
  let most = 1e-9;
  for (let place = 0; place < T; place++) for (const n of row(name, place)) most = Math.max(most, Math.abs(n));
  return most;
}

/** Lines from the query to every word, as wide as their weights. */
function drawLines() {
  const width = Math.max(260, byId("lines").clientWidth - 2);
  const step = 26, height = T * step + 6, left = width * 0.36, right = width * 0.62;
  const svg = make("svg", { width, height, viewBox: `0 0 ${width} ${height}`, role: "img", "aria-label": summary() });
  const y = (place) => place * step + 17;
  const weights = row("weights", chosen.query);
  weights.forEach((weight, place) => {
    svg.append(make("line", { x1: left + 8, y1: y(chosen.query) - 5, x2: right - 8, y2: y(place) - 5, stroke: "#215ba8", "stroke-linecap": "round", "stroke-width": 0.5 + 11 * weight, "stroke-opacity": 0.12 + 0.88 * weight, class: "weight" }));
  });
  D.words.forEach((word, place) => {
    const mine = place === chosen.query;
    const asks = make("text", { x: left, y: y(place), "text-anchor": "end", class: mine ? "asks mine" : "asks" }, word);
    asks.addEventListener("click", () => choose({ query: place }));
    const size = weights[place] >= 0.005 ? `  ${percent(weights[place])}` : "";
    svg.append(asks, make("text", { x: right, y: y(place), class: weights[place] >= 0.1 ? "mine" : "" }, word + size));
  });
  byId("lines").replaceChildren(svg);
}

/** The steps of the sum, a row a word. */
function drawSteps() {
  const word = D.words[chosen.query];
  const sizes = { q: largest("q"), k: largest("k"), v: largest("v") };
  byId("query").replaceChildren(bar(`q, ${word}`, row("q", chosen.query), sizes.q));
  const scores = row("scores", chosen.query), weights = row("weights", chosen.query);
  const rows = D.words.map((name, place) => {
    const share = make("span", { class: "share" }, make("i", {}));
    share.firstChild.style.width = `${100 * weights[place]}%`;
    const score = Number.isFinite(scores[place]) ? scores[place].toFixed(2) : "−∞";
    const value = bar(`v, ${name}`, row("v", place), sizes.v);
    value.style.opacity = 0.25 + 0.75 * Math.min(1, weights[place] * 2);
    const cell = (kind, ...inside) => make("div", { role: "cell", class: kind }, ...inside);
    return make("div", { role: "row", class: "step" },
      make("div", { role: "rowheader", class: "word" }, name),
      cell("key", bar(`k, ${name}`, row("k", place), sizes.k)), cell("score", score),
      cell("size", share, percent(weights[place])), cell("value", value));
  });
  const table = byId("steps");
  table.replaceChildren(table.firstElementChild, ...rows);
  byId("sum").replaceChildren(bar(`z, ${word}`, row("z", chosen.query), sizes.v));
}

/** In words: where the query looks most. */
function summary() {
  const weights = row("weights", chosen.query);
  const order = [...weights.keys()].sort((a, b) => weights[b] - weights[a]).slice(0, 3);
  const parts = order.map((place) => `“${D.words[place]}” ${percent(weights[place])}`).join(", ");
  return D.text.summary.replace("{layer}", chosen.layer + 1).replace("{head}", chosen.head + 1)
    .replace("{word}", D.words[chosen.query]).replace("{parts}", parts);
}

/** Show another layer, head or query. */
function choose(change, focus = false) {
  Object.assign(chosen, change);
  byId("layer").value = chosen.layer;
  byId("head").value = chosen.head;
  document.querySelectorAll("input[name=query]")[chosen.query].checked = true;
  for (const button of document.querySelectorAll("#maps button")) {
    const mine = Number(button.dataset.layer) === chosen.layer && Number(button.dataset.head) === chosen.head;
    button.setAttribute("aria-pressed", mine);
    button.tabIndex = mine ? 0 : -1;
    if (mine && focus) button.focus();
  }
  byId("said").textContent = summary();
  drawLines();
  drawSteps();
}

const ARROWS = { ArrowUp: [-1, 0], ArrowDown: [1, 0], ArrowLeft: [0, -1], ArrowRight: [0, 1] };
byId("layer").addEventListener("change", (event) => choose({ layer: Number(event.target.value) }));
byId("head").addEventListener("change", (event) => choose({ head: Number(event.target.value) }));
document.querySelectorAll("input[name=query]").forEach((input) => input.addEventListener("change", () => choose({ query: Number(input.value) })));
byId("maps").addEventListener("click", (event) => {
  const button = event.target.closest("button");
  if (button) choose({ layer: Number(button.dataset.layer), head: Number(button.dataset.head) });
});
byId("maps").addEventListener("keydown", (event) => {
  const move = ARROWS[event.key];
  if (!move) return;
  event.preventDefault();
  choose({ layer: (chosen.layer + move[0] + D.layers) % D.layers, head: (chosen.head + move[1] + D.heads) % D.heads }, true);
});
let drawn = innerWidth;
addEventListener("resize", () => { if (drawn !== innerWidth) { drawn = innerWidth; drawLines(); } });
choose({});
