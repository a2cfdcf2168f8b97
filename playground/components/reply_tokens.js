// Reply tokens: the last reply as chips shaded by surprise, each opening "Why this word?".
// Payload: see reply_tokens.py. Needs common.js, why_math.js, why_view.js.
const MOST = 2000;
const BITS = 8;
let reply = null;
let open = -1;
let current = 0;
let seen = false;
let returnTo = null;

const empty = root.appendChild(
  picoEl("p", "pico-caption reply-empty", "When the model has answered, its tokens appear here: click one to see why it was chosen."),
);
const body = root.appendChild(picoEl("div", "reply"));
const bar = body.appendChild(picoEl("div", "reply-bar"));
const about = bar.appendChild(picoEl("p", "pico-caption reply-about"));
const legend = bar.appendChild(picoEl("p", "pico-caption reply-legend"));
legend.appendChild(picoEl("span", "", "sure"));
legend.appendChild(picoEl("span", "reply-ramp")).setAttribute("aria-hidden", "true");
legend.appendChild(picoEl("span", "", "surprised"));
const flow = body.appendChild(picoEl("div", "reply-flow"));
flow.setAttribute("role", "group");
flow.setAttribute("aria-label", (props.label || "Reply") + ". Arrow keys move from token to token, Enter explains one.");
const note = body.appendChild(picoEl("p", "pico-caption reply-note"));
const why = picoWhy(close, step);
root.appendChild(why.box);
body.hidden = true;

/** Background strength 0..100: 0 where the model was sure, 100 at 8 bits of surprise and more. */
function surprise(prob) {
  const bits = prob > 0 ? -Math.log2(prob) : BITS;
  return Math.round((100 * Math.min(BITS, Math.max(0, bits))) / BITS);
}

function chip(token, i) {
  const node = picoEl("button", "reply-chip", picoVisible(token.text));
  node.type = "button";
  node.tabIndex = i === current ? 0 : -1;
  node.dataset.i = String(i);
  node.style.setProperty("--level", surprise(token.prob) + "%");
  node.title = whyQuote(token.text) + ", " + whyPercent(token.prob);
  node.setAttribute("aria-label", node.title);
  return node;
}

function append(from) {
  const pieces = document.createDocumentFragment();
  const stop = Math.min(MOST, reply.tokens.length);
  for (let i = from; i < stop; i++) {
    pieces.appendChild(chip(reply.tokens[i], i));
    if (String(reply.tokens[i].text).includes("\n")) pieces.appendChild(picoEl("br"));
  }
  flow.appendChild(pieces);
}

function words() {
  const n = reply.tokens.length;
  const parts = [picoInt(n) + (n === 1 ? " token" : " tokens"), reply.model, "seed " + reply.seed, reply.settings];
  about.textContent = parts.filter(Boolean).join(", ");
  const more = n > MOST ? picoInt(n - MOST) + " more tokens are not shown." : "";
  note.textContent = [reply.prompt_note, more].filter(Boolean).join(" ");
  note.hidden = note.textContent === "";
}

function chipAt(i) {
  return i < 0 ? null : flow.querySelector('[data-i="' + i + '"]');
}

function mark(i) {
  const before = chipAt(open);
  if (before) before.removeAttribute("aria-current");
  open = i;
  const node = chipAt(i);
  if (node) node.setAttribute("aria-current", "true");
  root.dataset.open = i < 0 ? "" : String(i);
}

function makeCurrent(i) {
  const before = chipAt(current);
  if (before) before.tabIndex = -1;
  current = i;
  const node = chipAt(i);
  if (node) node.tabIndex = 0;
  return node;
}

function show(i) {
  if (!why.isOpen()) document.dispatchEvent(new CustomEvent("pico-why", { detail: root }));
  makeCurrent(i);
  mark(i);
  seen = true;
  why.show(reply, i);
  why.open();
}

/** Open the panel on a token and move the focus into it; closing gives it back to the chip. */
function enter(i) {
  returnTo = null;
  show(i);
  why.box.focus({ preventScroll: true });
}

function close() {
  if (!why.isOpen()) return;
  const inside = why.box.contains(document.activeElement);
  const goal = returnTo instanceof Element && returnTo.isConnected ? returnTo : chipAt(open);
  why.close();
  mark(-1);
  if (inside && goal) goal.focus();
  returnTo = null;
}

/** One token back or on, from wherever the focus is. */
function step(direction) {
  const last = Math.min(MOST, reply.tokens.length) - 1;
  let goal = current + direction;
  if (!why.isOpen()) {
    goal = seen ? goal : direction > 0 ? 0 : last;
    returnTo = document.activeElement === document.body ? null : document.activeElement;
  }
  goal = Math.min(last, Math.max(0, goal));
  const onChip = flow.contains(document.activeElement);
  if (onChip) returnTo = null;
  show(goal);
  const node = chipAt(goal);
  node.scrollIntoView({ block: "nearest" });
  if (onChip) node.focus();
}

function typing(node) {
  return node instanceof Element && (node.isContentEditable || /^(INPUT|TEXTAREA|SELECT)$/.test(node.tagName));
}

function onKey(event) {
  if (!element.isConnected) {
    document.removeEventListener("keydown", onKey);
    document.removeEventListener("pico-why", onOther);
    return;
  }
  if (event.defaultPrevented || event.metaKey || (event.ctrlKey && !event.altKey)) return;
  if (!reply || !element.offsetParent) return;
  if (event.key === "Escape" && why.isOpen()) {
    event.preventDefault();
    close();
  } else if ((event.key === "[" || event.key === "]") && !typing(event.target)) {
    if (!why.isOpen() && document.querySelector(".why-panel:popover-open")) return;
    event.preventDefault();
    step(event.key === "]" ? 1 : -1);
  }
}

/** Only one panel at a time on a page with several strips. */
function onOther(event) {
  if (event.detail !== root) close();
}

flow.addEventListener("click", (event) => {
  const node = event.target.closest(".reply-chip");
  if (node) enter(Number(node.dataset.i));
});
flow.addEventListener("keydown", (event) => {
  const last = Math.min(MOST, reply.tokens.length) - 1;
  let goal;
  if (event.key === "ArrowRight" || event.key === "ArrowDown") goal = current + 1;
  else if (event.key === "ArrowLeft" || event.key === "ArrowUp") goal = current - 1;
  else if (event.key === "Home") goal = 0;
  else if (event.key === "End") goal = last;
  else return;
  event.preventDefault();
  goal = Math.min(last, Math.max(0, goal));
  const node = makeCurrent(goal);
  node.focus();
  if (why.isOpen()) show(goal);
});
document.addEventListener("keydown", onKey);
document.addEventListener("pico-why", onOther);

picoFollow((value) => {
  const given = value ? { ...value, tokens: Array.from(value.tokens) } : null;
  const same = given && reply && given.key === reply.key && given.tokens.length >= reply.tokens.length;
  const known = same ? Math.min(MOST, reply.tokens.length) : 0;
  if (!same) {
    close();
    flow.replaceChildren();
    current = 0;
    seen = false;
  }
  reply = given && given.tokens.length ? given : null;
  if (reply) {
    append(known);
    words();
    if (why.isOpen()) why.show(reply, open);
  }
  empty.hidden = reply !== null;
  body.hidden = reply === null;
  root.dataset.n = String(reply ? reply.tokens.length : 0);
  root.dataset.key = reply ? String(reply.key) : "";
  root.dataset.open = open < 0 ? "" : String(open);
  root.dataset.ready = reply ? "1" : "0";
});
