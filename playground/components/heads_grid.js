// Heads grid: every head's attention map, small; a click enlarges one. Payload: see heads_grid.py.
// Needs common.js, heads_data.js, heads_zoom.js.
const HINT = "Each square is one head; a row is a token, and bright is where it looks. Click one to enlarge it.";
const HINT_COMPACT = "Rows of squares are layers, columns are heads. Click a square to enlarge it.";
const CELL_MAX = 140;
let store = null;
let geometry = null;
let focused = 0;

const empty = root.appendChild(
  picoEl("div", "pico-empty", "The attention maps appear here once there is some text."),
);
const overview = root.appendChild(picoEl("div", "heads-overview"));
const field = overview.appendChild(picoEl("div", "heads-field"));
field.setAttribute("role", "group");
field.setAttribute("aria-label", (props.label || "Attention heads") + ". Arrow keys move, Enter enlarges.");
const canvas = field.appendChild(picoEl("canvas", "heads-canvas"));
const buttons = field.appendChild(picoEl("div", "heads-buttons"));
const readout = overview.appendChild(picoEl("p", "pico-readout heads-readout", HINT));
const zoom = headsZoom(root, closeZoom, stepZoom);
const legend = root.appendChild(picoEl("p", "pico-caption heads-legend"));
legend.appendChild(picoEl("span", "", "weight 0"));
legend.appendChild(picoEl("span", "heads-ramp"));
legend.appendChild(picoEl("span", "", "1 (square-root scale)"));
const table = root.appendChild(picoEl("div", "pico-hidden")).appendChild(picoEl("table"));
overview.hidden = legend.hidden = true;

function layout(width) {
  const wide = (gutter, gap) => Math.floor((width - 1 - gutter - gap * (store.heads - 1)) / store.heads);
  let gutter = 56;
  let gap = 6;
  const compact = wide(gutter, gap) < 48;
  if (compact) [gutter, gap] = [22, 3];
  const cell = Math.max(8, Math.min(CELL_MAX, wide(gutter, gap)));
  const top = 20;
  return {
    gutter, gap, cell, compact, top,
    width: gutter + store.heads * (cell + gap) - gap + 1,
    height: top + store.layers * (cell + gap) - gap + 1,
    x: (head) => gutter + head * (cell + gap),
    y: (layer) => top + layer * (cell + gap),
  };
}

/** How many tokens a square stands for: while a text grows it changes in steps, not at every token. */
function span() {
  if (!store.live) return store.n;
  return [8, 16, 32, 48, 64, 96, 128, 192, 256].find((size) => size >= store.n) || store.n;
}

function paint() {
  if (!store || !root.clientWidth) return;
  if (zoom.isOpen()) return zoom.paint();
  geometry = layout(root.clientWidth);
  const context = picoSize(canvas, geometry.width, geometry.height);
  const ratio = canvas.width / geometry.width;
  const size = Math.max(1, Math.floor(geometry.cell * ratio));
  const image = context.createImageData(canvas.width, canvas.height);
  const out = new Uint32Array(image.data.buffer);
  const palette = headsPalette(picoIsDark());
  for (let layer = 0; layer < store.layers; layer++) {
    for (let head = 0; head < store.heads; head++) {
      const x = Math.round(geometry.x(head) * ratio);
      const y = Math.round(geometry.y(layer) * ratio);
      headsDraw(store, layer, head, span(), size, out, canvas.width, x, y, palette);
    }
  }
  context.putImageData(image, 0, 0);
  caption(context);
  placeButtons();
  if (readout.dataset.hint !== "0") hint();
}

function hint() {
  readout.dataset.hint = "1";
  readout.textContent = geometry && geometry.compact ? HINT_COMPACT : HINT;
}

function say(text) {
  readout.dataset.hint = "0";
  readout.textContent = text;
}

function caption(context) {
  const { compact, cell, top } = geometry;
  context.strokeStyle = picoColour("--border");
  context.fillStyle = picoColour("--muted");
  context.font = "13px " + getComputedStyle(root).fontFamily;
  context.textBaseline = "alphabetic";
  context.textAlign = "center";
  for (let head = 0; head < store.heads; head++) {
    const text = compact ? String(head + 1) : "head " + (head + 1);
    context.fillText(text, geometry.x(head) + cell / 2, top - 6);
  }
  context.textAlign = "left";
  context.textBaseline = "middle";
  for (let layer = 0; layer < store.layers; layer++) {
    context.fillText(compact ? String(layer + 1) : "layer " + (layer + 1), 0, geometry.y(layer) + cell / 2);
    for (let head = 0; head < store.heads; head++)
      context.strokeRect(geometry.x(head) - 0.5, geometry.y(layer) - 0.5, cell + 1, cell + 1);
  }
}

function placeButtons() {
  const count = store.layers * store.heads;
  const shape = store.layers + "x" + store.heads;
  if (buttons.dataset.shape !== shape) {
    buttons.dataset.shape = shape;
    focused = 0;
    buttons.replaceChildren(...Array.from({ length: count }, (_, i) => makeButton(i)));
    describe();
  }
  for (let i = 0; i < count; i++) {
    const box = buttons.children[i].style;
    box.left = geometry.x(i % store.heads) + "px";
    box.top = geometry.y(Math.floor(i / store.heads)) + "px";
    box.width = box.height = geometry.cell + "px";
  }
}

function makeButton(i) {
  const node = picoEl("button", "heads-button");
  node.type = "button";
  node.tabIndex = i === focused ? 0 : -1;
  node.dataset.layer = String(Math.floor(i / store.heads));
  node.dataset.head = String(i % store.heads);
  node.setAttribute("aria-label", "layer " + (Number(node.dataset.layer) + 1) + ", head " + (Number(node.dataset.head) + 1));
  return node;
}

/** Text for screen readers: names of the buttons and the table of strongest links. */
const describe = picoDebounce(300, () => {
  if (!store || !element.isConnected) return;
  const lines = [];
  for (let i = 0; i < store.layers * store.heads; i++) {
    const [layer, head] = [Math.floor(i / store.heads), i % store.heads];
    const link = headsStrongest(store, layer, head);
    const text = store.n ? headsSentence(store, layer, head, link.t, link.j) : "";
    if (buttons.children[i]) buttons.children[i].setAttribute("aria-label", text + " is its strongest link");
    const name = (t) => picoVisible(store.tokens[t], true);
    lines.push([String(layer + 1), String(head + 1), name(link.t), name(link.j), link.weight.toFixed(2)]);
  }
  const head = ["layer", "head", "token that looks", "token it looks at", "weight"];
  picoTable(table, (props.label || "Attention") + ": each head's strongest link", head, lines);
  root.dataset.described = String(store.n);
});

function focusOn(i) {
  const count = store.layers * store.heads;
  if (i < 0 || i >= count) return;
  buttons.children[focused].tabIndex = -1;
  focused = i;
  buttons.children[i].tabIndex = 0;
  buttons.children[i].focus();
}

function openZoom(i) {
  focused = i;
  overview.hidden = true;
  zoom.open(Math.floor(i / store.heads), i % store.heads, true);
  root.dataset.zoom = String(i);
}

function closeZoom() {
  if (!zoom.isOpen()) return;
  const held = root.contains(document.activeElement);
  zoom.close();
  overview.hidden = false;
  root.dataset.zoom = "";
  paint();
  const node = buttons.children[focused];
  if (!node) return;
  for (const other of buttons.children) other.tabIndex = other === node ? 0 : -1;
  if (held) node.focus({ preventScroll: true });
}

function stepZoom(step) {
  const count = store.layers * store.heads;
  focused = (focused + step + count) % count;
  zoom.open(Math.floor(focused / store.heads), focused % store.heads, false);
  root.dataset.zoom = String(focused);
}

buttons.addEventListener("click", (event) => {
  const node = event.target.closest(".heads-button");
  if (node) openZoom(Number(node.dataset.layer) * store.heads + Number(node.dataset.head));
});
buttons.addEventListener("keydown", (event) => {
  const step = { ArrowLeft: -1, ArrowRight: 1, ArrowUp: -store.heads, ArrowDown: store.heads }[event.key];
  if (step === undefined) return;
  event.preventDefault();
  const edge = focused % store.heads;
  if ((step === -1 && edge === 0) || (step === 1 && edge === store.heads - 1)) return;
  focusOn(focused + step);
});
buttons.addEventListener("focusin", (event) => {
  const { layer, head } = event.target.dataset;
  if (!store.n) return;
  const link = headsStrongest(store, Number(layer), Number(head));
  say(headsSentence(store, Number(layer), Number(head), link.t, link.j) + " (its strongest link)");
});
buttons.addEventListener("pointermove", (event) => {
  const node = event.target.closest(".heads-button");
  if (!node) return;
  const frame = node.getBoundingClientRect();
  const place = (offset) => Math.max(0, Math.floor((offset / geometry.cell) * span()));
  const t = place(event.clientY - frame.top);
  const j = place(event.clientX - frame.left);
  if (t >= store.n || j >= store.n) return;
  say(headsSentence(store, Number(node.dataset.layer), Number(node.dataset.head), t, j));
});
buttons.addEventListener("pointerleave", hint);
buttons.addEventListener("focusout", hint);

const poll = picoPoll(120, async () => {
  if (!store || !store.live) return "stop";
  const key = store.key;
  const answer = await server.rows_since([key, store.n]);
  if (!answer) return false;
  if (store.key !== key || answer.key !== key) return true;
  const before = store.n;
  take(answer);
  return store.live ? store.n > before : "stop";
});

/** A payload has arrived, from Python or from the poll. */
function take(value) {
  const since = performance.now();
  const appends = store && value.from !== undefined && value.key === store.key;
  if (appends) {
    root.dataset.error = headsAppend(store, value) ? "" : "rows are missing";
  } else {
    const fresh = value.from ? null : headsStore(value);
    root.dataset.error = fresh ? "" : "the payload does not fit its sizes";
    if (!fresh) return;
    if (store && (store.layers !== fresh.layers || store.heads !== fresh.heads) && zoom.isOpen()) closeZoom();
    store = fresh;
    zoom.use(store);
  }
  empty.hidden = true;
  overview.hidden = zoom.isOpen();
  legend.hidden = false;
  paint();
  describe();
  root.dataset.n = String(store.n);
  root.dataset.live = store.live ? "1" : "0";
  root.dataset.paintedMs = (performance.now() - since).toFixed(1);
  root.dataset.ready = "1";
  if (store.live && server && server.rows_since) poll.start();
}

function ramp() {
  const stops = picoIsDark() ? HEADS_MAGMA : HEADS_VIRIDIS;
  const colours = stops.map((stop) => "#" + stop.toString(16).padStart(6, "0"));
  legend.querySelector(".heads-ramp").style.background = "linear-gradient(90deg, " + colours.join(", ") + ")";
}

ramp();
picoOnTheme(() => {
  ramp();
  paint();
});
picoOnWidth(root, paint);
picoFollow((value) => {
  if (value) return take(value);
  store = null;
  poll.stop();
  zoom.close();
  root.dataset.zoom = "";
  overview.hidden = legend.hidden = true;
  empty.hidden = false;
  root.dataset.ready = "0";
  root.dataset.n = "0";
});
