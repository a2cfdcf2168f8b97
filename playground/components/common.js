// Shared helpers, prepended to every widget's js_on_load (one function body: no imports, no exports).
// Gradio supplies: element, trigger, props, server, upload, watch.
const root = element.querySelector(".pico-widget");

/** A new element; text always goes in through textContent, never as HTML. */
function picoEl(tag, className, text) {
  const node = document.createElement(tag);
  if (className) node.className = className;
  if (text !== undefined && text !== null) node.textContent = text;
  return node;
}

/** A token's text with its whitespace and control characters made visible. */
function picoVisible(text, keepSpaces) {
  let out = "";
  for (const char of String(text)) {
    const code = char.codePointAt(0);
    if (char === " ") out += keepSpaces ? " " : "\u00b7";
    else if (char === "\n") out += "\u21b5";
    else if (char === "\t") out += "\u2192";
    else if (code < 32 || (code >= 127 && code < 161) || /\p{Cf}|\p{Zs}|\p{Zl}|\p{Zp}/u.test(char))
      out += "\u2039" + code.toString(16) + "\u203a";
    else out += char;
  }
  return out === "" ? "\u2205" : out;
}

/** Base64 -> bytes. */
function picoBytes(base64) {
  const binary = atob(base64 || "");
  const bytes = new Uint8Array(binary.length);
  for (let i = 0; i < binary.length; i++) bytes[i] = binary.charCodeAt(i);
  return bytes;
}

/** Base64 of little-endian float32 -> Float32Array (every platform a browser runs on is little). */
function picoFloats(base64) {
  const bytes = picoBytes(base64);
  return new Float32Array(bytes.buffer, 0, bytes.length >> 2);
}

/** Grouped integer: 1240 -> "1,240". */
function picoInt(value) {
  return Math.round(value).toLocaleString("en-US");
}

/** Three significant digits; null and NaN read as a dash. */
function picoSig(value) {
  if (value === null || value === undefined || !Number.isFinite(value)) return "\u2013";
  if (value === 0) return "0";
  const digits = Math.max(0, Math.min(6, 2 - Math.floor(Math.log10(Math.abs(value)))));
  return value.toFixed(digits);
}

/** A probability as a percentage of even width: "12.3%", "<0.1%". */
function picoPercent(p) {
  if (p >= 0.9995) return "100%";
  if (p > 0 && p < 0.0005) return "<0.1%";
  return (100 * p).toFixed(1) + "%";
}

/** A CSS variable as the widget sees it. */
function picoColour(name) {
  return getComputedStyle(root).getPropertyValue(name).trim();
}

function picoIsDark() {
  return document.body.classList.contains("dark");
}

/** Call back when light and dark change places. */
function picoOnTheme(callback) {
  const observer = new MutationObserver(() => {
    if (!element.isConnected) observer.disconnect();
    else callback();
  });
  observer.observe(document.body, { attributes: true, attributeFilter: ["class"] });
}

/** Call back (at most once a frame) when a node's width changes, also from 0 when a tab opens. */
function picoOnWidth(node, callback) {
  let last = -1;
  let queued = false;
  new ResizeObserver(() => {
    if (queued) return;
    queued = true;
    requestAnimationFrame(() => {
      queued = false;
      const width = node.clientWidth;
      if (width === last) return;
      last = width;
      if (width > 0) callback(width);
    });
  }).observe(node);
}

/** Size a canvas in CSS pixels for this screen's density; returns its 2D context, scaled. */
function picoSize(canvas, width, height) {
  const ratio = window.devicePixelRatio || 1;
  canvas.width = Math.max(1, Math.round(width * ratio));
  canvas.height = Math.max(1, Math.round(height * ratio));
  canvas.style.width = width + "px";
  canvas.style.height = height + "px";
  const context = canvas.getContext("2d");
  context.setTransform(ratio, 0, 0, ratio, 0, 0);
  return context;
}

/**
 * Ask the server again and again, never twice at once, only while the widget is on the page and seen.
 * ask() resolves to true (there was news), false (nothing new) or "stop".
 */
function picoPoll(interval, ask) {
  let running = false;
  let quiet = 0;
  async function tick() {
    if (!running) return;
    if (!element.isConnected) {
      running = false;
      return;
    }
    if (element.offsetParent && !document.hidden) {
      try {
        const answer = await ask();
        if (answer === "stop") running = false;
        quiet = answer === true ? 0 : quiet + 1;
      } catch (error) {
        quiet = Math.max(quiet, 50) + 1;
      }
    }
    if (running) setTimeout(tick, quiet > 50 ? Math.max(interval, 1000) : interval);
  }
  return {
    start() {
      quiet = 0;
      if (running) return;
      running = true;
      setTimeout(tick, interval);
    },
    stop() {
      running = false;
    },
  };
}

/** A table for screen readers: header row, then rows of text. */
function picoTable(table, caption, head, rows) {
  table.replaceChildren();
  table.appendChild(picoEl("caption", "", caption));
  const add = (parent, tag, cells) => {
    const row = parent.appendChild(picoEl("tr"));
    for (const cell of cells) row.appendChild(picoEl(tag, "", cell));
  };
  add(table.appendChild(picoEl("thead")), "th", head);
  const body = table.appendChild(picoEl("tbody"));
  for (const row of rows) add(body, "td", row);
}

/** Run after the burst of calls is over. */
function picoDebounce(wait, callback) {
  let timer = 0;
  return () => {
    clearTimeout(timer);
    timer = setTimeout(callback, wait);
  };
}

/** Draw the first payload (outside Gradio's own effect) and every later one. */
function picoFollow(show) {
  const now = () => {
    const value = props.value === undefined || props.value === "" ? null : props.value;
    show(value && value.__type__ === "update" ? null : value); // "as it is", to a widget unmounted
  };
  watch("value", now);
  queueMicrotask(now);
}
