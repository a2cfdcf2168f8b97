// The sampling pipeline in the browser: temperature -> top-k -> softmax -> top-p -> min-p -> renormalise.
// Pure: no DOM. Node can load it too (see the last line).

const PICO_CUTS = ["", "top-k", "top-p", "min-p", "temperature 0"];

/** Settings made safe: temperature >= 0, top_k a whole number >= 0 (0 off), top_p and min_p in 0..1. */
function picoSettings(settings) {
  const number = (value, fallback) => (Number.isFinite(Number(value)) && value !== null ? Number(value) : fallback);
  const given = settings || {};
  const topP = number(given.top_p, 1);
  return {
    temperature: Math.max(0, number(given.temperature, 1)),
    top_k: Math.max(0, Math.floor(number(given.top_k, 0))),
    top_p: topP >= 0 && topP < 1 ? topP : 1,
    min_p: Math.min(1, Math.max(0, number(given.min_p, 0))),
  };
}

/** Softmax of logits/temperature over the first k, with a tail of restN equal logits beyond them. */
function picoSoftmax(logits, temperature, k, restN, restLogit) {
  const probs = new Float64Array(logits.length);
  if (!logits.length) return { probs, tail: 0 };
  const top = logits[0];
  let sum = 0;
  for (let i = 0; i < k; i++) {
    const gap = (logits[i] - top) / temperature;
    probs[i] = gap === 0 || Number.isNaN(gap) ? 1 : Math.exp(gap);
    sum += probs[i];
  }
  let tail = restN > 0 ? restN * Math.exp((restLogit - top) / temperature) : 0;
  sum += tail;
  for (let i = 0; i < k; i++) probs[i] /= sum;
  tail /= sum;
  return { probs, tail };
}

/**
 * logits: sorted falling. rest: {n, lse} of the tokens that were not sent: they count as n equal
 * logits (exact at temperature 1, close elsewhere).
 * Returns before (temperature 1), after (all filters), cut (index into PICO_CUTS), kept (how many).
 */
function picoSample(logits, rest, settings) {
  const s = picoSettings(settings);
  const size = logits.length;
  const restN = rest && rest.n > 0 ? rest.n : 0;
  const restLogit = restN ? rest.lse - Math.log(restN) : 0;
  const before = picoSoftmax(logits, 1, size, restN, restLogit).probs;
  const cut = new Uint8Array(size);
  if (size === 0) return { before, after: new Float64Array(0), cut, kept: 0 };
  if (s.temperature === 0) {
    const after = new Float64Array(size);
    after[0] = 1;
    cut.fill(4, 1);
    return { before, after, cut, kept: 1 };
  }
  const k = s.top_k > 0 ? Math.min(s.top_k, size) : size;
  const tailN = s.top_k > 0 ? Math.max(0, Math.min(restN, s.top_k - size)) : restN;
  const filtered = picoSoftmax(logits, s.temperature, k, tailN, restLogit);
  const after = filtered.probs;
  cut.fill(1, k);
  const prefix = picoPrefix(after, k, s.top_p);
  cut.fill(2, prefix, k);
  let last = prefix;
  if (s.min_p > 0) while (last > 1 && after[last - 1] < s.min_p * after[0]) last--;
  cut.fill(3, last, prefix);
  const tailKept = last === size && tailN > 0 && filtered.tail / tailN >= s.min_p * after[0];
  const whole = tailKept ? filtered.tail : 0;
  let sum = whole;
  for (let i = 0; i < last; i++) sum += after[i];
  for (let i = 0; i < last; i++) after[i] /= sum;
  after.fill(0, last);
  return { before, after, cut, kept: last + (whole > 0 ? tailN : 0) };
}

/** Length of the smallest prefix whose probabilities reach topP: at least 1, k when top-p is off. */
function picoPrefix(probs, k, topP) {
  if (topP >= 1) return k;
  let sum = 0;
  for (let i = 0; i < k; i++) {
    sum += probs[i];
    if (sum >= topP) return i + 1;
  }
  return k;
}

if (typeof module !== "undefined") module.exports = { picoSample, picoSettings, picoPrefix, PICO_CUTS };
