// Run chip: the training that is going on, asked again and again. Answers: see run_chip.py.
// Needs common.js.
const ACTIVE = ["running", "paused", "stopping"];
let run = null;
let timer = 0;
let asking = false;

const button = root.appendChild(picoEl("button", "run-chip"));
button.type = "button";
button.hidden = true;
const text = button.appendChild(picoEl("span", "run-text"));
const verb = text.appendChild(picoEl("span", "run-verb"));
const main = text.appendChild(picoEl("span"));
const tail = text.appendChild(picoEl("span", "run-tail"));
const line = button.appendChild(picoEl("span", "run-line"));
const done = line.appendChild(picoEl("span", "run-done"));
const news = root.appendChild(picoEl("span", "pico-hidden"));
news.setAttribute("aria-live", "polite");

function words({ preset, state, percent }) {
  const at = Math.floor(percent) + "%";
  if (state === "running") return "training " + preset + ", " + at;
  if (state === "paused") return preset + " paused at " + at;
  if (state === "stopping") return "stopping " + preset + " at " + at;
  if (state === "finished") return preset + " finished";
  return preset + " failed at " + at;
}

function show(answer) {
  const state = answer ? answer.state : "";
  if (state !== (root.dataset.state || "") && (answer || run)) news.textContent = answer ? words(answer) : "";
  run = answer;
  button.hidden = run === null;
  root.dataset.state = state;
  root.dataset.run = run ? run.name : "";
  root.dataset.percent = run ? String(run.percent) : "";
  root.dataset.ready = "1";
  if (!run) return;
  const said = words(run);
  verb.textContent = state === "running" ? "training " : "";
  main.textContent = said.slice(verb.textContent.length);
  tail.textContent = run.loss === null || state === "failed" ? "" : ", loss " + picoSig(run.loss);
  done.style.width = (state === "finished" ? 100 : run.percent) + "%";
  button.title = run.name + ": " + said + tail.textContent + ". Open training.";
  button.setAttribute("aria-label", said + tail.textContent + ". Open training.");
}

async function ask() {
  clearTimeout(timer);
  if (!element.isConnected) {
    document.removeEventListener("visibilitychange", ask);
    return;
  }
  if (document.hidden || asking) return;
  asking = true;
  let pause = 2000;
  try {
    show((await server.run_now([])) || null);
    if (run && ACTIVE.includes(run.state)) pause = 1000;
  } catch (error) {
    pause = 10000;
  }
  asking = false;
  timer = setTimeout(ask, pause);
}

button.addEventListener("click", () => trigger("open", { name: run ? run.name : "" }));
document.addEventListener("visibilitychange", ask);
root.dataset.ready = "0";
queueMicrotask(ask);
