// Loss curve: train and validation loss while a run goes on. Payload: see loss_curve.py.
// Needs common.js and loss_data.js.
const ACTIVE = ["running", "paused", "stopping"];
const HEIGHT = 320;
let store = null;
let limits = null;
let plot = null;
let cursor = null;

const empty = root.appendChild(picoEl("div", "pico-empty loss-empty", "The loss curve appears here once a run has its first point."));
const chart = root.appendChild(picoEl("div", "loss-chart"));
chart.setAttribute("role", "group");
chart.setAttribute("aria-label", props.label || "Loss curve");
const legend = chart.appendChild(picoEl("div", "loss-legend pico-caption"));
const keyTrain = addKey("loss-key-train");
const keyVal = addKey("loss-key-val");
const status = legend.appendChild(picoEl("span", "loss-status"));
const area = chart.appendChild(picoEl("div", "loss-area"));
area.tabIndex = 0;
area.setAttribute("role", "img");
const canvas = area.appendChild(picoEl("canvas"));
const over = area.appendChild(picoEl("canvas", "loss-over"));
const readout = chart.appendChild(picoEl("p", "pico-readout"));
readout.setAttribute("aria-live", "polite");
const table = chart.appendChild(picoEl("div", "pico-hidden")).appendChild(picoEl("table"));
chart.hidden = true;

function addKey(mark) {
  const key = legend.appendChild(picoEl("span", "loss-key"));
  key.appendChild(picoEl("span", mark));
  return key.appendChild(picoEl("span"));
}

function paint() {
  if (!store || !area.clientWidth) return;
  limits = lossLimits(store, limits);
  const width = area.clientWidth;
  const box = { left: 44, right: width - 8, top: 8, bottom: HEIGHT - 40 };
  plot = {
    width, box,
    x: (step) => box.left + ((step - limits.left) / (limits.right - limits.left || 1)) * (box.right - box.left),
    y: (loss) => box.bottom - ((loss - limits.bottom) / (limits.top - limits.bottom || 1)) * (box.bottom - box.top),
  };
  const context = picoSize(canvas, width, HEIGHT);
  axes(context);
  context.save();
  context.beginPath();
  context.rect(box.left, 0, box.right - box.left + 6, box.bottom + 4);
  context.clip();
  baselines(context);
  lines(context);
  context.restore();
  mark();
}

function axes(context) {
  const { box } = plot;
  context.font = "12px " + getComputedStyle(root).fontFamily;
  context.lineWidth = 1;
  context.strokeStyle = picoColour("--border");
  context.fillStyle = picoColour("--muted");
  context.textBaseline = "middle";
  context.textAlign = "right";
  for (const loss of lossTicks(limits.bottom, limits.top, 5)) {
    const y = Math.round(plot.y(loss)) + 0.5;
    context.beginPath();
    context.moveTo(box.left, y);
    context.lineTo(box.right, y);
    context.stroke();
    context.fillText(String(Number(loss.toPrecision(6))), box.left - 8, y);
  }
  context.textBaseline = "top";
  for (const step of lossTicks(limits.left, limits.right, plot.width < 480 ? 3 : 6)) {
    const x = plot.x(step);
    context.textAlign = x > box.right - 24 ? "right" : "center";
    context.fillText(picoInt(step), x > box.right - 24 ? box.right : x, box.bottom + 8);
  }
  context.textAlign = "center";
  context.fillText("step", (box.left + box.right) / 2, box.bottom + 24);
}

function baselines(context) {
  const { box } = plot;
  context.textAlign = "right";
  context.textBaseline = "bottom";
  context.strokeStyle = context.fillStyle = picoColour("--muted");
  const taken = [];
  for (const line of [...store.baselines].sort((a, b) => b.value - a.value)) {
    if (line.value < limits.bottom || line.value > limits.top) continue;
    const y = Math.round(plot.y(line.value)) + 0.5;
    context.setLineDash([4, 4]);
    context.beginPath();
    context.moveTo(box.left, y);
    context.lineTo(box.right, y);
    context.stroke();
    let place = Math.max(y - 2, 14);
    while (taken.some((other) => Math.abs(other - place) < 14)) place += 14;
    taken.push(place);
    context.fillText(line.label + " " + picoSig(line.value), box.right - 4, place);
  }
  context.setLineDash([]);
}

function lines(context) {
  const raw = lossColumns(store.step, store.train, plot.x);
  context.globalAlpha = 0.3;
  context.strokeStyle = picoColour("--train");
  context.lineWidth = 1;
  context.beginPath();
  for (const column of raw) {
    context.lineTo(column.x, plot.y(column.high));
    context.lineTo(column.x, plot.y(column.low));
  }
  context.stroke();
  context.globalAlpha = 1;
  context.lineWidth = 1.75;
  trace(context, lossColumns(store.step, store.smooth, plot.x));
  context.strokeStyle = context.fillStyle = picoColour("--val");
  const dots = lossColumns(store.valStep, store.val, plot.x);
  trace(context, dots);
  if (dots.length > plot.width / 8) return;
  for (const dot of dots) {
    context.beginPath();
    context.arc(dot.x, plot.y(dot.last), 3, 0, 2 * Math.PI);
    context.fill();
  }
}

function trace(context, columns) {
  context.beginPath();
  for (const column of columns) context.lineTo(column.x, plot.y(column.last));
  context.stroke();
}

/** The crosshair and the line of exact values under the curve. */
function mark() {
  const context = picoSize(over, plot.width, HEIGHT);
  const i = cursor === null ? -1 : lossNearest(store.step, cursor);
  root.dataset.cursor = i < 0 ? "" : String(store.step[i]);
  if (i < 0) {
    readout.textContent = "Point at the curve for exact values, or use the arrow keys.";
    return;
  }
  const x = Math.round(plot.x(store.step[i])) + 0.5;
  context.strokeStyle = picoColour("--muted");
  context.beginPath();
  context.moveTo(x, plot.box.top);
  context.lineTo(x, plot.box.bottom);
  context.stroke();
  dot(context, x, store.smooth[i], "--train");
  let text = "step " + picoInt(store.step[i]) + ": train " + picoSig(store.train[i]) + " (smoothed " + picoSig(store.smooth[i]) + ")";
  const v = lossNearest(store.valStep, store.step[i]);
  if (v >= 0) {
    dot(context, plot.x(store.valStep[v]), store.val[v], "--val");
    text += ", validation " + picoSig(store.val[v]) + " at step " + picoInt(store.valStep[v]);
  }
  readout.textContent = text + ", " + store.unit;
}

function dot(context, x, loss, colour) {
  if (loss === null) return;
  context.fillStyle = picoColour(colour);
  context.beginPath();
  context.arc(x, plot.y(loss), 4, 0, 2 * Math.PI);
  context.fill();
}

function words() {
  const last = (array) => (array.length ? array[array.length - 1] : null);
  keyTrain.textContent = "train " + picoSig(last(store.smooth)) + " (smoothed)";
  keyVal.textContent = "validation " + picoSig(last(store.val));
  const of = store.total ? " of " + picoInt(store.total) : "";
  status.textContent = store.state + ", step " + picoInt(last(store.step) || 0) + of + ", " + store.unit;
  area.setAttribute("aria-label", keyTrain.textContent + ", " + keyVal.textContent + ", " + status.textContent);
}

const describe = picoDebounce(500, () => {
  if (!store || !element.isConnected) return;
  const rows = [];
  for (let v = Math.max(0, store.val.length - 8); v < store.val.length; v++) {
    const i = lossNearest(store.step, store.valStep[v]);
    rows.push([picoInt(store.valStep[v]), i < 0 ? "\u2013" : picoSig(store.smooth[i]), picoSig(store.val[v])]);
  }
  const i = store.step.length - 1;
  if (i >= 0) rows.push([picoInt(store.step[i]), picoSig(store.smooth[i]), "\u2013"]);
  for (const line of store.baselines) rows.push([line.label + " baseline", "\u2013", picoSig(line.value)]);
  picoTable(table, (props.label || "Loss") + ": last values, " + store.unit, ["step", "train, smoothed", "validation"], rows);
});

function refresh(since) {
  paint();
  words();
  describe();
  root.dataset.n = String(store.step.length);
  root.dataset.nVal = String(store.val.length);
  root.dataset.state = store.state;
  root.dataset.run = store.run;
  root.dataset.paintedMs = (performance.now() - since).toFixed(1);
  root.dataset.ready = "1";
}

const poll = picoPoll(400, async () => {
  if (!store || !ACTIVE.includes(store.state)) return "stop";
  const run = store.run;
  const answer = await server.loss_since([run, store.step.length, store.val.length]);
  if (!store || store.run !== run) return true;
  if (!answer) return false;
  const since = performance.now();
  const grew = lossAppend(store, answer);
  if (answer.total) store.total = answer.total;
  if (answer.baselines) store.baselines = Array.from(answer.baselines);
  const changed = answer.state && answer.state !== store.state;
  if (changed) store.state = answer.state;
  if (grew || changed) refresh(since);
  if (changed) trigger("state", { run, state: store.state });
  return ACTIVE.includes(store.state) ? grew || changed : "stop";
});

function moveTo(i) {
  cursor = store.step[Math.max(0, Math.min(store.step.length - 1, i))];
  if (plot) mark();
}

area.addEventListener("pointermove", (event) => {
  if (!plot || !store || !store.step.length) return;
  const { left, right } = plot.box;
  const part = (event.clientX - area.getBoundingClientRect().left - left) / (right - left);
  cursor = limits.left + part * (limits.right - limits.left);
  mark();
});
area.addEventListener("pointerleave", () => {
  cursor = null;
  if (plot && store) mark();
});
area.addEventListener("keydown", (event) => {
  if (!store || !store.step.length) return;
  const count = store.step.length;
  const here = cursor === null ? count : lossNearest(store.step, cursor);
  const stride = Math.max(1, Math.round(count / 100));
  const goal = { ArrowLeft: here - stride, ArrowRight: here + stride, Home: 0, End: count - 1 }[event.key];
  if (goal === undefined) return;
  event.preventDefault();
  moveTo(goal);
});

picoOnTheme(paint);
picoOnWidth(root, paint);
picoFollow((value) => {
  const since = performance.now();
  empty.hidden = Boolean(value);
  chart.hidden = !value;
  cursor = null;
  limits = null;
  store = value ? lossStore(value) : null;
  if (!store) {
    poll.stop();
    root.dataset.ready = "0";
    root.dataset.n = "0";
    return;
  }
  refresh(since);
  if (server && server.loss_since && ACTIVE.includes(store.state)) poll.start();
});
