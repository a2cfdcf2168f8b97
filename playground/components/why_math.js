// Pure functions of "Why this word?": numbers into words, probabilities into pieces of the dice line.
// Needs common.js.

/** Three significant digits of a percentage: 0.4118 -> "41.2%". */
function whyPercent(p) {
  if (p > 0 && p < 1e-6) return "<0.0001%";
  if (p >= 0.9995) return p >= 0.99995 ? "100%" : (100 * p).toFixed(2) + "%";
  return picoSig(100 * p) + "%";
}

/** The same where many stand in a column: at most seven characters. */
function whyShort(p) {
  return p > 0 && p < 1e-4 ? "<0.01%" : whyPercent(p);
}

/** A token between quotation marks, as it stands in a sentence. */
function whyQuote(text) {
  return "'" + picoVisible(text, true) + "'";
}

/** How unsure the model was, from the entropy in bits. */
function whyUnsure(bits) {
  const many = 2 ** bits;
  const word = bits < 1 ? "quite sure" : bits < 3.5 ? "undecided" : "guessing";
  const like = many < 1.05 ? "one word stood out" : "as if it chose among " + picoSig(many) + " equally likely words";
  return { word, text: "The model was " + word + ": " + picoSig(bits) + " bits of entropy, " + like + "." };
}

/** Where the chosen token stands among the alternatives, or -1. */
function whyChosen(token) {
  if (Number.isInteger(token.chosen)) return token.chosen < token.alts.length ? token.chosen : -1;
  return token.alts.findIndex(([text, prob]) => text === token.text && Math.abs(prob - token.prob) < 1e-6);
}

/**
 * The kept probabilities end to end from 0 to 1, likeliest first: {text, from, to, chosen}; text is
 * null for words that are not listed. They may also lie before the chosen one (when it is not listed
 * itself, or a repetition penalty changed the order): then a gap is put where u says it must be.
 */
function whyPieces(token) {
  const chosen = whyChosen(token);
  const known = Array.from(token.alts, ([text, , kept], i) => ({ text, kept, chosen: i === chosen }));
  if (chosen < 0) known.push({ text: token.text, kept: token.kept, chosen: true });
  const order = known.filter((piece) => piece.kept > 0).sort((a, b) => b.kept - a.kept);
  let rest = Math.max(0, 1 - order.reduce((sum, piece) => sum + piece.kept, 0));
  let at = 0;
  const pieces = [];
  const put = (text, length, isChosen) => {
    pieces.push({ text, from: at, to: Math.min(1, at + length), chosen: isChosen });
    at = Math.min(1, at + length);
  };
  for (const piece of order) {
    if (piece.chosen && token.u > at + piece.kept + 1e-4) {
      const gap = Math.min(rest, token.u - at - piece.kept / 2);
      if (gap > 0) put(null, gap, false);
      rest -= Math.max(0, gap);
    }
    put(piece.text, piece.kept, piece.chosen);
  }
  if (rest > 5e-4) put(null, rest, false);
  return pieces;
}

/** What the dice did, in one sentence. */
function whyDice(token) {
  if (token.u === null || token.u === undefined) return "Temperature 0: no dice, the likeliest word.";
  const listed = whyChosen(token) >= 0;
  const place = listed ? "inside " + whyQuote(token.text) : "beyond the words listed here, inside " + whyQuote(token.text);
  return "The dice fell at " + picoSig(token.u) + ", " + place + ".";
}
