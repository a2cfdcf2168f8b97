// Note: one line of plain text under a control. Payload: see note.py. Needs common.js.
const MARKS = { info: "", error: "!", busy: "\u2026" };

const line = root.appendChild(picoEl("p", "note-line"));
const mark = line.appendChild(picoEl("span", "note-mark"));
mark.setAttribute("aria-hidden", "true");
// Two regions that never change their role: screen readers follow only those.
const status = line.appendChild(picoEl("span", "note-text"));
status.setAttribute("role", "status");
const alarm = line.appendChild(picoEl("span", "note-text"));
alarm.setAttribute("role", "alert");
for (const region of [status, alarm]) region.setAttribute("aria-label", props.label || "Note");

picoFollow((value) => {
  const text = value && value.text ? String(value.text) : "";
  const kind = !text ? "" : value.kind in MARKS ? value.kind : "info";
  status.textContent = kind === "error" ? "" : text;
  alarm.textContent = kind === "error" ? text : "";
  mark.textContent = MARKS[kind] || "";
  mark.hidden = mark.textContent === "";
  root.dataset.kind = kind;
  root.dataset.ready = "1";
});
