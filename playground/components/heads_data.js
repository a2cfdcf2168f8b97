// Attention rows as they arrive, one flat array of bytes: for each token t, for each layer, for each
// head, t + 1 weights (0..255). Token t starts at L * H * t * (t + 1) / 2, so growth is appending.

function headsStore(payload) {
  const store = {
    key: payload.key,
    layers: payload.n_layer,
    heads: payload.n_head,
    n: 0,
    tokens: [],
    data: new Uint8Array(0),
    live: false,
  };
  return headsAppend(store, { ...payload, from: 0 }) ? store : null;
}

function headsOffset(store, t) {
  return (store.layers * store.heads * t * (t + 1)) / 2;
}

/** Append rows from..n-1; rows already known are skipped. False when rows are missing or cut short. */
function headsAppend(store, payload) {
  const from = payload.from || 0;
  const tokens = Array.from(payload.tokens);
  const n = payload.n === undefined ? from + tokens.length : payload.n;
  if (from > store.n) return false;
  store.live = Boolean(payload.live);
  if (n <= store.n) return true;
  const bytes = picoBytes(payload.data);
  const base = headsOffset(store, from);
  if (bytes.length < headsOffset(store, n) - base || tokens.length < n - from) return false;
  const end = headsOffset(store, n);
  if (store.data.length < end) {
    const grown = new Uint8Array(from === 0 && store.n === 0 ? end : 2 * end);
    grown.set(store.data.subarray(0, headsOffset(store, store.n)));
    store.data = grown;
  }
  const known = headsOffset(store, store.n);
  store.data.set(bytes.subarray(known - base, end - base), known);
  store.tokens.push(...tokens.slice(store.n - from, n - from));
  store.n = n;
  return true;
}

/** Where the weights of token t in this head begin. */
function headsRow(store, layer, head, t) {
  return headsOffset(store, t) + (layer * store.heads + head) * (t + 1);
}

function headsWeight(store, layer, head, t, j) {
  return store.data[headsRow(store, layer, head, t) + j] / 255;
}

/** The largest weight of a head; the first token, which can only look at itself, does not count. */
function headsStrongest(store, layer, head) {
  let best = { t: 0, j: 0, weight: store.n ? headsWeight(store, layer, head, 0, 0) : 0 };
  if (store.n > 1) best = { t: 1, j: 0, weight: -1 };
  for (let t = 1; t < store.n; t++) {
    const start = headsRow(store, layer, head, t);
    for (let j = 0; j <= t; j++) {
      const weight = store.data[start + j] / 255;
      if (weight > best.weight) best = { t, j, weight };
    }
  }
  return best;
}

/** "' cat' -> ' the', 0.42": the token that looks, the token it looks at, the weight. */
function headsSentence(store, layer, head, t, j) {
  const name = (i) => "'" + picoVisible(store.tokens[i], true) + "'";
  const where = "layer " + (layer + 1) + ", head " + (head + 1) + ": ";
  if (j > t) return where + name(t) + " cannot look ahead at " + name(j);
  return where + name(t) + " \u2192 " + name(j) + ", " + headsWeight(store, layer, head, t, j).toFixed(2);
}

const HEADS_VIRIDIS = [0x440154, 0x472d7b, 0x3b528b, 0x2c728e, 0x21918c, 0x28ae80, 0x5ec962, 0xaddc30, 0xfde725];
const HEADS_MAGMA = [0x000004, 0x1c1044, 0x4f127b, 0x812581, 0xb5367a, 0xe55064, 0xfb8761, 0xfec287, 0xfcfdbf];

/** [r, g, b] at 0..1 along nine stops. */
function headsColour(stops, x) {
  const place = x * (stops.length - 1);
  const i = Math.min(stops.length - 2, Math.floor(place));
  const part = (shift) => {
    const low = (stops[i] >> shift) & 255;
    const high = (stops[i + 1] >> shift) & 255;
    return Math.round(low + (high - low) * (place - i));
  };
  return [part(16), part(8), part(0)];
}

/** 256 packed pixels (little-endian RGBA); the square root lifts small weights into sight. */
function headsPalette(dark) {
  const table = new Uint32Array(256);
  for (let v = 0; v < 256; v++) {
    const [r, g, b] = headsColour(dark ? HEADS_MAGMA : HEADS_VIRIDIS, Math.sqrt(v / 255));
    table[v] = ((255 << 24) | (b << 16) | (g << 8) | r) >>> 0;
  }
  return table;
}

/**
 * Draw one head as size x size device pixels into out (stride pixels a row) at (x0, y0). span is how
 * many tokens the square stands for (at least n). Many tokens to a pixel: the largest weight shows.
 */
function headsDraw(store, layer, head, span, size, out, stride, x0, y0, palette) {
  const edges = new Int32Array(size + 1);
  for (let x = 0; x <= size; x++) edges[x] = Math.floor((x * span) / size);
  let previous = -1;
  for (let y = 0; y < size; y++) {
    const top = edges[y];
    if (top >= store.n) return;
    const line = (y0 + y) * stride + x0;
    if (top === previous && span <= size) {
      out.copyWithin(line, line - stride, line - stride + size);
      continue;
    }
    previous = top;
    const bottom = Math.min(store.n, Math.max(top + 1, edges[y + 1]));
    for (let x = 0; x < size; x++) {
      const left = edges[x];
      if (left >= bottom) break;
      const right = Math.max(left + 1, edges[x + 1]);
      let weight = 0;
      for (let t = Math.max(top, left); t < bottom; t++) {
        const start = headsRow(store, layer, head, t);
        const stop = Math.min(right, t + 1);
        for (let j = left; j < stop; j++) if (store.data[start + j] > weight) weight = store.data[start + j];
      }
      out[line + x] = palette[weight];
    }
  }
}
