// One head, large, with its tokens on both axes. Needs common.js and heads_data.js.

function headsZoom(parent, onClose, onStep) {
  const box = parent.appendChild(picoEl("div", "heads-zoom"));
  const bar = box.appendChild(picoEl("div", "heads-bar"));
  const title = bar.appendChild(picoEl("strong", "heads-title"));
  const button = (text, label, action) => {
    const node = bar.appendChild(picoEl("button", "pico-button", text));
    node.type = "button";
    node.setAttribute("aria-label", label);
    node.addEventListener("click", action);
  };
  button("\u2039", "Previous head", () => onStep(-1));
  button("\u203a", "Next head", () => onStep(1));
  button("Close", "Close this head (Esc)", () => onClose());
  const area = box.appendChild(picoEl("div", "heads-area"));
  area.tabIndex = 0;
  area.setAttribute("role", "img");
  const base = area.appendChild(picoEl("canvas", "heads-base"));
  const over = area.appendChild(picoEl("canvas", "heads-over"));
  const readout = box.appendChild(picoEl("p", "pico-readout heads-zoom-readout"));
  readout.setAttribute("aria-live", "polite");
  box.hidden = true;

  let store = null;
  let at = { layer: 0, head: 0 };
  let cursor = null;
  let geo = null;

  function measure(context) {
    context.font = "12px " + picoColour("--mono");
    const widest = Math.max(...store.tokens.map((token) => context.measureText(short(token)).width));
    const width = box.clientWidth;
    const gutter = Math.ceil(Math.min(widest + 12, 110, width * 0.28));
    const size = Math.max(64, Math.min(width - gutter - 2, 640));
    const cell = size / store.n;
    return { gutter, size, cell, every: Math.max(1, Math.ceil(14 / cell)), width: gutter + size + 2 };
  }

  function short(token) {
    const shown = picoVisible(token);
    return shown.length > 13 ? shown.slice(0, 12) + "\u2026" : shown;
  }

  function paint() {
    if (box.hidden || !store || !box.clientWidth) return;
    geo = measure(base.getContext("2d"));
    const context = picoSize(base, geo.width, geo.width);
    const ratio = base.width / geo.width;
    const pixels = Math.max(1, Math.floor(geo.size * ratio));
    const image = context.createImageData(pixels, pixels);
    const out = new Uint32Array(image.data.buffer);
    headsDraw(store, at.layer, at.head, store.n, pixels, out, pixels, 0, 0, headsPalette(picoIsDark()));
    context.putImageData(image, Math.round(geo.gutter * ratio), Math.round(geo.gutter * ratio));
    context.strokeStyle = picoColour("--border");
    context.strokeRect(geo.gutter - 0.5, geo.gutter - 0.5, geo.size + 1, geo.size + 1);
    context.fillStyle = picoColour("--muted");
    for (let i = 0; i < store.n; i += geo.every) label(context, i, true), label(context, i, false);
    const name = "layer " + (at.layer + 1) + ", head " + (at.head + 1);
    title.textContent = name;
    area.setAttribute("aria-label", name + ", " + store.n + " tokens. Arrow keys move; Esc closes.");
    mark();
  }

  function label(context, i, left) {
    context.font = "12px " + picoColour("--mono");
    context.textBaseline = "middle";
    context.textAlign = left ? "right" : "left";
    const place = geo.gutter + (i + 0.5) * geo.cell;
    context.save();
    if (left) context.translate(geo.gutter - 6, place);
    else {
      context.translate(place, geo.gutter - 6);
      context.rotate(-Math.PI / 2);
    }
    context.fillText(short(store.tokens[i]), 0, 0, geo.gutter - 8);
    context.restore();
  }

  function mark() {
    const context = picoSize(over, geo.width, geo.width);
    context.clearRect(0, 0, geo.width, geo.width);
    box.dataset.row = cursor ? String(cursor.t) : "";
    box.dataset.column = cursor ? String(cursor.j) : "";
    if (!cursor || cursor.t >= store.n || cursor.j >= store.n) {
      readout.textContent = "Row: the token that looks. Column: the token it looks at.";
      return;
    }
    const cell = Math.max(geo.cell, 3);
    context.strokeStyle = picoColour("--accent");
    context.lineWidth = 1.5;
    const x = geo.gutter + cursor.j * geo.cell;
    const y = geo.gutter + cursor.t * geo.cell;
    context.strokeRect(geo.gutter, y, geo.size, cell);
    context.strokeRect(x, geo.gutter, cell, geo.size);
    tag(context, cursor.t, true);
    tag(context, cursor.j, false);
    readout.textContent = headsSentence(store, at.layer, at.head, cursor.t, cursor.j);
  }

  /** The hovered token's label, on an accent ground, also where labels are thinned out. */
  function tag(context, i, left) {
    const place = geo.gutter + (i + 0.5) * geo.cell;
    context.fillStyle = picoColour("--accent");
    if (left) context.fillRect(0, place - 9, geo.gutter - 2, 18);
    else context.fillRect(place - 9, 0, 18, geo.gutter - 2);
    context.fillStyle = picoColour("--surface");
    label(context, i, left);
  }

  function move(t, j) {
    const clamp = (value) => Math.max(0, Math.min(store.n - 1, value));
    cursor = { t: clamp(t), j: clamp(j) };
    mark();
  }

  area.addEventListener("pointermove", (event) => {
    if (!geo) return;
    const frame = area.getBoundingClientRect();
    const j = Math.floor((event.clientX - frame.left - geo.gutter) / geo.cell);
    const t = Math.floor((event.clientY - frame.top - geo.gutter) / geo.cell);
    if (t >= 0 && j >= 0) move(t, j);
  });
  area.addEventListener("pointerleave", () => {
    cursor = null;
    mark();
  });
  area.addEventListener("keydown", (event) => {
    const step = { ArrowUp: [-1, 0], ArrowDown: [1, 0], ArrowLeft: [0, -1], ArrowRight: [0, 1] }[event.key];
    if (!step) return;
    event.preventDefault();
    const from = cursor || { t: store.n - 1 - step[0], j: 0 - step[1] };
    move(from.t + step[0], from.j + step[1]);
  });
  box.addEventListener("keydown", (event) => {
    if (event.key !== "Escape") return;
    event.preventDefault();
    event.stopPropagation();
    onClose();
  });

  return {
    box,
    isOpen: () => !box.hidden,
    where: () => at,
    paint,
    use(next) {
      store = next;
    },
    open(layer, head, focus) {
      at = { layer, head };
      cursor = null;
      box.hidden = false;
      paint();
      if (focus) area.focus({ preventScroll: true });
    },
    close() {
      box.hidden = true;
      cursor = null;
    },
  };
}
