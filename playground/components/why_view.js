// The panel "Why this word?" of one token. Needs common.js and why_math.js.
// It is a manual popover: it stays inside the widget (and its styles) but is drawn in the top layer.
const WHY_SCALES = [0.02, 0.05, 0.1, 0.2, 0.35, 0.5, 0.75, 1];
const WHY_ROWS = 11;

function picoWhy(onClose, onStep) {
  const box = picoEl("section", "why-panel");
  box.hidden = true;
  box.tabIndex = -1;
  box.setAttribute("popover", "manual");
  box.setAttribute("role", "dialog");
  box.setAttribute("aria-label", "Why this word?");

  const head = box.appendChild(picoEl("header", "why-head"));
  head.appendChild(picoEl("h2", "why-title", "Why this word?"));
  const back = headButton("\u2039", "Previous token", "[");
  const next = headButton("\u203a", "Next token", "]");
  const close = headButton("\u00d7", "Close this panel", "Esc");
  const big = box.appendChild(picoEl("p", "why-token"));
  const place = box.appendChild(picoEl("p", "pico-caption why-place"));
  const chosen = box.appendChild(picoEl("p", "why-line why-chosen"));
  const kept = box.appendChild(picoEl("p", "why-line why-kept"));
  const unsure = box.appendChild(picoEl("p", "why-line why-unsure"));

  box.appendChild(picoEl("h3", "why-heading", "What else it could have said"));
  const chart = box.appendChild(picoEl("div", "bars why-bars"));
  const legend = chart.appendChild(picoEl("p", "pico-caption bars-legend"));
  legend.appendChild(picoEl("span", "bars-swatch bars-swatch-before"));
  legend.appendChild(picoEl("span", "", "before filters"));
  legend.appendChild(picoEl("span", "bars-swatch bars-swatch-after"));
  legend.appendChild(picoEl("span", "", "after"));
  const list = chart.appendChild(picoEl("div", "bars-list"));
  list.setAttribute("aria-hidden", "true");
  const rows = Array.from({ length: WHY_ROWS }, row);
  const table = chart.appendChild(picoEl("div", "pico-hidden")).appendChild(picoEl("table"));

  box.appendChild(picoEl("h3", "why-heading", "Where the dice fell"));
  const dice = box.appendChild(picoEl("div", "why-dice"));
  dice.setAttribute("role", "img");
  const flag = dice.appendChild(picoEl("span", "why-flag"));
  const line = dice.appendChild(picoEl("div", "why-track"));
  const pin = dice.appendChild(picoEl("span", "why-pin"));
  const ends = dice.appendChild(picoEl("div", "pico-caption why-ends"));
  ends.appendChild(picoEl("span", "", "0"));
  ends.appendChild(picoEl("span", "", "1"));
  const sentence = box.appendChild(picoEl("p", "why-line why-sentence"));
  const hint = box.appendChild(picoEl("p", "pico-caption why-hint"));
  const foot = box.appendChild(picoEl("p", "pico-caption why-foot"));
  const news = box.appendChild(picoEl("p", "pico-hidden"));
  news.setAttribute("aria-live", "polite");

  back.addEventListener("click", () => onStep(-1));
  next.addEventListener("click", () => onStep(1));
  close.addEventListener("click", () => onClose());

  function headButton(sign, name, key) {
    const button = head.appendChild(picoEl("button", "pico-button why-button", sign));
    button.type = "button";
    button.title = name + " (" + key + ")";
    button.setAttribute("aria-label", button.title);
    return button;
  }

  function row() {
    const node = list.appendChild(picoEl("div", "bars-row"));
    const token = node.appendChild(picoEl("span", "bars-token"));
    const track = node.appendChild(picoEl("span", "bars-track"));
    const after = track.appendChild(picoEl("span", "bars-after"));
    const before = track.appendChild(picoEl("span", "bars-before"));
    const numbers = node.appendChild(picoEl("span", "bars-numbers"));
    const was = numbers.appendChild(picoEl("span", "bars-was"));
    const now = numbers.appendChild(picoEl("span", "bars-now"));
    return { node, token, before, after, was, now };
  }

  function bars(token) {
    const at = whyChosen(token);
    const shown = Array.from(token.alts, ([text, prob, kept], i) => ({ text, prob, kept, chosen: i === at }));
    shown.length = Math.min(shown.length, WHY_ROWS - 1);
    const other = at < 0 || at >= shown.length;
    if (other) shown.push({ text: token.text, prob: token.prob, kept: token.kept, chosen: true });
    const top = Math.max(...shown.map((line) => Math.max(line.prob, line.kept)));
    const scale = WHY_SCALES.find((step) => step >= top - 1e-9) || 1;
    rows.forEach((parts, i) => {
      const line = shown[i];
      parts.node.hidden = !line;
      if (!line) return;
      const cut = !(line.kept > 0);
      parts.token.textContent = picoVisible(line.text);
      parts.before.style.width = (100 * line.prob) / scale + "%";
      parts.after.style.width = (100 * line.kept) / scale + "%";
      parts.was.textContent = whyShort(line.prob);
      parts.now.textContent = cut ? "cut" : whyShort(line.kept);
      parts.node.classList.toggle("bars-cut", cut);
      parts.node.classList.toggle("why-apart", other && line.chosen && i > 0);
      parts.node.dataset.chosen = line.chosen ? "1" : "0";
      parts.node.title = whyQuote(line.text) + ": " + whyPercent(line.prob) + " before the filters, "
        + (cut ? "cut by them" : whyPercent(line.kept) + " after") + (line.chosen ? " (chosen)" : "");
    });
    const cells = shown.map((line) => [
      picoVisible(line.text),
      whyPercent(line.prob),
      line.kept > 0 ? whyPercent(line.kept) : "cut",
      line.chosen ? "chosen" : "",
    ]);
    picoTable(table, "Alternatives", ["token", "before filters", "after filters", ""], cells);
  }

  function roll(token) {
    const none = token.u === null || token.u === undefined;
    dice.hidden = hint.hidden = none;
    dice.dataset.u = none ? "" : String(token.u);
    sentence.textContent = whyDice(token);
    if (none) return;
    const pieces = whyPieces(token);
    line.replaceChildren(...pieces.filter((piece) => piece.to - piece.from > 5e-4).map(drawn));
    const at = 100 * token.u + "%";
    pin.style.left = flag.style.left = at;
    flag.textContent = picoSig(token.u);
    flag.style.transform = "translateX(-" + Math.min(90, Math.max(10, 100 * token.u)) + "%)";
    const hatched = pieces.some((piece) => piece.text === null);
    hint.textContent = "Every word that was kept, end to end, likeliest first."
      + (hatched ? " Hatched: words not listed." : "");
    dice.setAttribute("aria-label", "From 0 to 1: " + pieces.map(said).join(", ") + ". " + sentence.textContent);
  }

  function drawn(piece) {
    const text = piece.text === null ? "" : picoVisible(piece.text);
    const room = (piece.to - piece.from) * (line.clientWidth || 288) - 9;
    const node = picoEl("span", "why-piece", 7.4 * Array.from(text).length <= room ? text : "");
    node.dataset.kind = piece.text === null ? "rest" : piece.chosen ? "chosen" : "other";
    node.style.left = 100 * piece.from + "%";
    node.style.width = 100 * (piece.to - piece.from) + "%";
    node.dataset.from = piece.from.toFixed(4);
    node.dataset.to = piece.to.toFixed(4);
    node.title = said(piece);
    return node;
  }

  function said(piece) {
    const name = piece.text === null ? "words not listed" : whyQuote(piece.text);
    return name + " " + picoSig(piece.from) + " to " + picoSig(piece.to);
  }

  return {
    box,
    isOpen: () => !box.hidden,
    /** Fill the panel with token i of a reply ({tokens, model, seed, settings, prompt_note}). */
    show(reply, i) {
      const token = reply.tokens[i];
      const rank = token.rank === 0 ? "the likeliest of all" : "rank " + picoInt(token.rank + 1) + " of the alternatives";
      big.textContent = picoVisible(token.text);
      place.textContent = "token " + picoInt(i + 1) + " of " + picoInt(reply.tokens.length) + ", id " + token.id;
      chosen.textContent = "Chosen with probability " + whyPercent(token.prob) + " (" + rank + ").";
      kept.textContent = "After temperature and filters: " + whyPercent(token.kept) + ".";
      unsure.textContent = whyUnsure(token.entropy).text;
      bars(token);
      roll(token);
      const about = [reply.model, "seed " + reply.seed, reply.settings].filter(Boolean).join(", ");
      foot.textContent = reply.prompt_note ? about + ". " + reply.prompt_note : about;
      news.textContent = whyQuote(token.text) + ", " + place.textContent + ". " + chosen.textContent + " " + sentence.textContent;
      back.disabled = i === 0;
      next.disabled = i === reply.tokens.length - 1;
    },
    open() {
      if (!box.hidden) return;
      box.hidden = false;
      if (box.showPopover) box.showPopover();
      box.scrollTop = 0;
      document.body.dataset.why = "open";
    },
    close() {
      if (box.hidden) return;
      if (box.hidePopover) box.hidePopover();
      box.hidden = true;
      if (!document.querySelector(".why-panel:not([hidden])")) delete document.body.dataset.why;
    },
  };
}
