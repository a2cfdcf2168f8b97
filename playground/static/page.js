// What the whole page needs: the theme switch, sliders that move the bars, and the keyboard.

(() => {
  "use strict";

  // --- light and dark -------------------------------------------------------------------------

  const THEME = "pico-theme";
  const stored = () => {
    try {
      return localStorage.getItem(THEME);
    } catch {
      return null; // storage may be switched off; the system's choice then holds
    }
  };

  function applyTheme(dark) {
    document.body.classList.toggle("dark", dark);
  }

  function toggleTheme() {
    const dark = !document.body.classList.contains("dark");
    applyTheme(dark);
    try {
      localStorage.setItem(THEME, dark ? "dark" : "light");
    } catch {
      // the choice then holds until the page is closed
    }
  }

  function startTheme() {
    if (stored()) applyTheme(stored() === "dark");
  }

  // --- sliders to bars ------------------------------------------------------------------------

  const SETTINGS = {
    temperature: "temperature",
    "top-k": "top_k",
    "top-p": "top_p",
    "min-p": "min_p",
  };

  function readSettings(changed) {
    const values = {};
    for (const [id, name] of Object.entries(SETTINGS)) {
      const box = document.getElementById(id);
      if (!box) continue;
      const input = changed && box.contains(changed)
        ? changed
        : box.querySelector("input[type=number]") || box.querySelector("input[type=range]");
      const value = input ? Number.parseFloat(input.value) : Number.NaN;
      if (Number.isFinite(value)) values[name] = value;
    }
    window.picoSampling.set(values);
  }

  function setSampling(temperature, top_k, top_p, min_p) {
    window.picoSampling.set({ temperature, top_k, top_p, min_p });
  }

  /** The model, the mode and the settings as the browser stores them. */
  function keepControls(...values) {
    return { controls: values };
  }

  /** Save a file that the server has made; nothing when it could not make it. */
  function download(file) {
    if (!file) return;
    const link = document.createElement("a");
    link.href = file.url;
    link.download = file.orig_name;
    link.click();
  }

  let inputs = 0;
  function readNewInputs() {
    const now = document.querySelectorAll("#rail input[type=number]").length;
    if (now !== inputs) readSettings();
    inputs = now;
  }

  document.addEventListener("input", (event) => {
    if (event.target.closest?.("#rail")) readSettings(event.target);
  }, true);

  // --- a line of explanation behind every control's "?" ---------------------------------------

  function explain(info) {
    const title = info.previousElementSibling;
    if (info.dataset.explained || !title) return;
    info.dataset.explained = "yes";
    info.hidden = true;
    const button = document.createElement("button");
    button.type = "button";
    button.className = "explain";
    button.textContent = "?";
    button.setAttribute("aria-label", `What is ${title.textContent.trim()}?`);
    button.setAttribute("aria-expanded", "false");
    button.addEventListener("click", (event) => {
      event.preventDefault(); // it stands inside a label, which would move the focus
      info.hidden = !info.hidden;
      button.setAttribute("aria-expanded", String(!info.hidden));
    });
    // Inside a label the button would be what the label names, so the field is named by itself.
    const field = title.closest("label")?.querySelector("input, textarea");
    field?.setAttribute("aria-label", title.textContent.trim());
    title.after(button);
  }

  function explainAll() {
    for (const info of document.querySelectorAll(".info-text")) explain(info);
  }

  function meetNewControls() {
    explainAll();
    readNewInputs();
  }

  // --- keyboard -------------------------------------------------------------------------------

  const KEYS = [
    ["Enter", "send the message"],
    ["Shift + Enter", "a new line"],
    ["Esc", "stop the reply, or close a panel"],
    ["Up", "in an empty box: change the last message"],
    ["[ and ]", "step through the tokens of the last reply"],
    ["Arrows", "move in the grid of heads"],
    ["?", "this list"],
  ];

  function showKeys() {
    let dialog = document.getElementById("pico-keys");
    if (!dialog) {
      dialog = document.createElement("dialog");
      dialog.id = "pico-keys";
      const title = document.createElement("h2");
      title.textContent = "Keyboard";
      const list = document.createElement("dl");
      for (const [key, meaning] of KEYS) {
        const term = document.createElement("dt");
        term.textContent = key;
        const words = document.createElement("dd");
        words.textContent = meaning;
        list.append(term, words);
      }
      dialog.append(title, list);
      dialog.addEventListener("click", () => dialog.close());
      document.body.append(dialog);
    }
    dialog.showModal();
  }

  const visible = (element) => element && element.offsetParent !== null;
  const press = (id) => {
    const button = document.getElementById(id);
    if (visible(button)) button.click();
    return visible(button);
  };
  const typing = (target) => target.matches?.("input, textarea, select, [contenteditable=true]");

  document.addEventListener("keydown", (event) => {
    if (event.defaultPrevented || event.isComposing) return;
    const target = event.target;
    if (event.key === "Escape") {
      if (closeRail()) return;
      press("stop") || press("stop-text");
    } else if (event.key === "?" && !typing(target)) {
      showKeys();
      event.preventDefault();
    } else if (event.key === "ArrowUp" && target.closest?.("#message") && target.value === "") {
      document.getElementById("edit-last")?.click();
      event.preventDefault();
    }
  });

  // --- on a phone the sampling rail is a sheet that opens from the bottom ---------------------

  function closeRail() {
    const open = document.body.dataset.rail === "open";
    delete document.body.dataset.rail;
    return open;
  }

  document.addEventListener("click", (event) => {
    if (event.target.closest?.("#open-rail")) {
      if (!closeRail()) document.body.dataset.rail = "open";
    } else if (!event.target.closest?.("#rail")) {
      closeRail();
    }
  });

  // --- start ----------------------------------------------------------------------------------

  function whenThere(id, act) {
    const now = document.getElementById(id);
    if (now) return act(now);
    const observer = new MutationObserver(() => {
      const found = document.getElementById(id);
      if (found) {
        observer.disconnect();
        act(found);
      }
    });
    observer.observe(document.documentElement, { childList: true, subtree: true });
  }

  const begin = () => {
    startTheme();
    whenThere("theme-toggle", (button) => button.addEventListener("click", toggleTheme));
    meetNewControls();
    new MutationObserver(meetNewControls).observe(document.body, { childList: true, subtree: true });
  };
  if (document.body) begin();
  else document.addEventListener("DOMContentLoaded", begin);
  // The page has brought back what the browser remembered; from here on it is the person's.
  function opened() {
    document.body.dataset.opened = "yes";
  }

  window.pico = { opened, setSampling, keepControls, download };
})();
