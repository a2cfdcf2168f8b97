// Token view: a text cut into tokens, one colour after another. Payload: see token_view.py.
// Needs common.js.
const MOST = 2000;
const encoder = new TextEncoder();
let columns = [];

const empty = root.appendChild(picoEl("div", "pico-empty", "The tokens of your text appear here."));
const bar = root.appendChild(picoEl("div", "tokens-bar"));
const toggle = bar.appendChild(picoEl("button", "pico-button tokens-toggle", "Show ids"));
toggle.type = "button";
toggle.setAttribute("aria-pressed", "true");
const grid = root.appendChild(picoEl("div", "tokens-grid"));
grid.setAttribute("role", "group");
grid.setAttribute("aria-label", props.label || "Tokens");
bar.hidden = grid.hidden = true;

function build(column, c) {
  const box = picoEl("section", "tokens-column");
  const tokens = Array.from(column.tokens, (token) => Array.from(token));
  const head = box.appendChild(picoEl("header", "tokens-head"));
  head.appendChild(picoEl("h3", "tokens-title", column.title));
  head.appendChild(picoEl("p", "pico-caption", column.summary || ""));
  const flow = box.appendChild(picoEl("div", "tokens-flow"));
  flow.dataset.column = String(c);
  flow.setAttribute("role", "group");
  flow.setAttribute("aria-label", column.title + ". Arrow keys move from token to token.");
  const pieces = document.createDocumentFragment();
  tokens.slice(0, MOST).forEach((token, i) => {
    pieces.appendChild(chip(token, i));
    if (String(token[0]).includes("\n")) pieces.appendChild(picoEl("br"));
  });
  flow.appendChild(pieces);
  if (tokens.length > MOST)
    box.appendChild(picoEl("p", "pico-caption tokens-more", picoInt(tokens.length - MOST) + " more tokens are not shown."));
  const readout = box.appendChild(picoEl("p", "pico-readout"));
  columns.push({ tokens, flow, readout, current: 0, title: column.title });
  return box;
}

function chip([text, id], i) {
  const node = picoEl("button", "tokens-chip tokens-hue-" + ((i % 6) + 1));
  node.type = "button";
  node.tabIndex = i === 0 ? 0 : -1;
  node.dataset.i = String(i);
  node.appendChild(picoEl("span", "tokens-text", picoVisible(text)));
  node.appendChild(picoEl("span", "tokens-id", String(id)));
  return node;
}

/** "token 5 of 14: ' cat', id 312, 4 bytes: 20 63 61 74". */
function sentence(column, i) {
  const [text, id, given] = column.tokens[i];
  const hex = (byte) => byte.toString(16).padStart(2, "0");
  const bytes = given || (text.includes("\ufffd") ? "" : Array.from(encoder.encode(text), hex).join(" "));
  const count = bytes ? bytes.split(" ").length : 0;
  const tail = bytes ? ", " + count + (count === 1 ? " byte: " : " bytes: ") + bytes : ", part of a character";
  const name = "token " + picoInt(i + 1) + " of " + picoInt(column.tokens.length);
  return name + ": '" + picoVisible(text, true) + "', id " + id + tail;
}

/** The line under the column; also the chip's own tip, for long texts whose end is off screen. */
function show(c, i, node) {
  const text = sentence(columns[c], i);
  columns[c].readout.textContent = text;
  if (node) node.title = text;
}

function found(event) {
  const node = event.target.closest(".tokens-chip");
  if (!node) return null;
  return { node, c: Number(node.parentElement.dataset.column), i: Number(node.dataset.i) };
}

function focusOn(c, i) {
  const column = columns[c];
  const chips = column.flow.querySelectorAll(".tokens-chip");
  if (i < 0 || i >= chips.length) return;
  chips[column.current].tabIndex = -1;
  column.current = i;
  chips[i].tabIndex = 0;
  chips[i].focus();
}

/** The chip nearest above (-1) or below (1), by where it stands on the page. */
function vertical(node, direction) {
  const from = node.getBoundingClientRect();
  const middle = from.left + from.width / 2;
  let best = null;
  let line = null;
  for (let next = node; (next = direction > 0 ? next.nextElementSibling : next.previousElementSibling); ) {
    if (!next.dataset.i) continue;
    const box = next.getBoundingClientRect();
    if (Math.abs(box.top - from.top) < from.height / 2) continue;
    if (line === null) line = box.top;
    if (Math.abs(box.top - line) > from.height / 2) break;
    const gap = Math.abs(box.left + box.width / 2 - middle);
    if (!best || gap < best.gap) best = { gap, i: Number(next.dataset.i) };
  }
  return best ? best.i : -1;
}

grid.addEventListener("pointerover", (event) => {
  const hit = found(event);
  if (hit) show(hit.c, hit.i, hit.node);
});
grid.addEventListener("focusin", (event) => {
  const hit = found(event);
  if (hit) show(hit.c, hit.i, hit.node);
});
grid.addEventListener("click", (event) => {
  const hit = found(event);
  if (!hit) return;
  focusOn(hit.c, hit.i);
  const [text, id] = columns[hit.c].tokens[hit.i];
  trigger("pick", { index: hit.i, id, text, column: hit.c });
});
grid.addEventListener("keydown", (event) => {
  const hit = found(event);
  if (!hit) return;
  const last = hit.node.parentElement.querySelectorAll(".tokens-chip").length - 1;
  let goal;
  if (event.key === "ArrowRight") goal = hit.i + 1;
  else if (event.key === "ArrowLeft") goal = hit.i - 1;
  else if (event.key === "Home") goal = 0;
  else if (event.key === "End") goal = last;
  else if (event.key === "ArrowDown") goal = vertical(hit.node, 1);
  else if (event.key === "ArrowUp") goal = vertical(hit.node, -1);
  else return;
  event.preventDefault();
  focusOn(hit.c, goal);
});
toggle.addEventListener("click", () => {
  const on = toggle.getAttribute("aria-pressed") !== "true";
  toggle.setAttribute("aria-pressed", String(on));
  grid.classList.toggle("tokens-no-ids", !on);
  root.dataset.ids = on ? "1" : "0";
});

picoFollow((value) => {
  const since = performance.now();
  const given = value ? Array.from(value.columns) : [];
  columns = [];
  grid.replaceChildren(...given.map(build));
  columns.forEach((column, c) => {
    if (column.tokens.length) show(c, 0);
  });
  empty.hidden = given.length > 0;
  bar.hidden = grid.hidden = given.length === 0;
  grid.dataset.columns = String(given.length);
  root.dataset.n = columns.map((column) => column.tokens.length).join(",");
  root.dataset.ids = toggle.getAttribute("aria-pressed") === "true" ? "1" : "0";
  root.dataset.paintedMs = (performance.now() - since).toFixed(1);
  root.dataset.ready = given.length ? "1" : "0";
});
