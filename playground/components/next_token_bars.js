// Next-token bars: what the model expects next, before and after the sampling filters.
// Payload: see next_token_bars.py. Needs common.js, sampling_math.js, sampling_store.js.
const SHOWN = 12;
const SCALES = [0.02, 0.05, 0.1, 0.2, 0.35, 0.5, 0.75, 1];
let payload = null;
let logits = new Float32Array(0);
let result = null;

const empty = root.appendChild(
  picoEl("div", "pico-empty", "Type something, and the likeliest next tokens appear here."),
);
const chart = root.appendChild(picoEl("div", "bars"));
const legend = chart.appendChild(picoEl("p", "pico-caption bars-legend"));
legend.appendChild(picoEl("span", "bars-swatch bars-swatch-before"));
legend.appendChild(picoEl("span", "", "before filters"));
legend.appendChild(picoEl("span", "bars-swatch bars-swatch-after"));
legend.appendChild(picoEl("span", "", "after"));
const list = chart.appendChild(picoEl("div", "bars-list"));
list.setAttribute("aria-hidden", "true");
const status = chart.appendChild(picoEl("p", "pico-caption bars-status"));
const table = chart.appendChild(picoEl("div", "pico-hidden")).appendChild(picoEl("table"));
chart.setAttribute("role", "group");
chart.setAttribute("aria-label", props.label || "Next token");
chart.hidden = true;

const rows = Array.from({ length: SHOWN }, () => {
  const row = list.appendChild(picoEl("div", "bars-row"));
  const token = row.appendChild(picoEl("span", "bars-token"));
  const track = row.appendChild(picoEl("span", "bars-track"));
  const after = track.appendChild(picoEl("span", "bars-after"));
  const before = track.appendChild(picoEl("span", "bars-before"));
  const numbers = row.appendChild(picoEl("span", "bars-numbers"));
  const was = numbers.appendChild(picoEl("span", "bars-was"));
  const now = numbers.appendChild(picoEl("span", "bars-now"));
  return { row, token, before, after, was, now };
});

function paint(settings, since) {
  if (!element.isConnected) return false;
  if (!payload) return true;
  result = picoSample(logits, payload.rest, settings);
  const shown = Math.min(SHOWN, logits.length, payload.tokens.length);
  let top = 0;
  for (let i = 0; i < shown; i++) top = Math.max(top, result.before[i], result.after[i]);
  const scale = SCALES.find((step) => step >= top - 1e-9) || 1;
  for (let i = 0; i < SHOWN; i++) paintRow(rows[i], i, i < shown, scale);
  const total = logits.length + payload.rest.n;
  const kept = picoInt(result.kept) + " of " + picoInt(total) + " tokens can be drawn.";
  status.textContent = payload.note ? kept + " " + payload.note : kept;
  root.dataset.kept = String(result.kept);
  root.dataset.paintMs = (performance.now() - since).toFixed(1);
  root.dataset.paints = String(Number(root.dataset.paints || 0) + 1);
  describe();
  return true;
}

function paintRow(parts, i, used, scale) {
  parts.row.hidden = !used;
  if (!used) return;
  const before = result.before[i];
  const after = result.after[i];
  const cut = PICO_CUTS[result.cut[i]];
  parts.before.style.width = (100 * before) / scale + "%";
  parts.after.style.width = (100 * after) / scale + "%";
  parts.was.textContent = picoPercent(before);
  parts.now.textContent = cut ? "cut" : picoPercent(after);
  parts.row.classList.toggle("bars-cut", cut !== "");
  parts.row.dataset.cut = cut;
  const first = picoVisible(payload.tokens[i]) + ": " + picoPercent(before) + " before the filters, ";
  parts.row.title = cut ? "cut by " + cut + " (" + first.slice(0, -2) + ")" : first + picoPercent(after) + " after";
}

const describe = picoDebounce(250, () => {
  if (!payload || !result) return;
  const shown = Math.min(SHOWN, logits.length, payload.tokens.length);
  const lines = Array.from({ length: shown }, (_, i) => [
    picoVisible(payload.tokens[i]),
    picoPercent(result.before[i]),
    picoPercent(result.after[i]),
    result.cut[i] ? "cut by " + PICO_CUTS[result.cut[i]] : "kept",
  ]);
  picoTable(table, props.label || "Next token", ["token", "before filters", "after filters", "state"], lines);
});

picoFollow((value) => {
  const since = performance.now();
  empty.hidden = value !== null;
  chart.hidden = value === null;
  payload = null;
  if (value !== null) {
    payload = { tokens: Array.from(value.tokens), rest: { n: 0, lse: 0 }, note: value.note || "" };
    if (value.rest) payload.rest = { n: value.rest.n || 0, lse: value.rest.lse || 0 };
    logits = picoFloats(value.logits);
    rows.forEach((parts, i) => {
      parts.token.textContent = i < payload.tokens.length ? picoVisible(payload.tokens[i]) : "";
    });
    paint(window.picoSampling.get(), since);
  }
  root.dataset.n = String(payload ? logits.length : 0);
  root.dataset.ready = payload ? "1" : "0";
});
window.picoSampling.follow(paint);
