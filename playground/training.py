"""What happens in the Train tab; `tabs/train.py` lays it out and connects it."""

from __future__ import annotations

import functools
import math
from pathlib import Path

import gradio as gr

from picogpt.errors import CheckpointError, CorpusError, PicoGPTError
from playground.components import loss_payload, loss_points
from playground.errors import error_note, info_note
from playground.forms import train_form
from playground.services import Services
from trainers.corpus import import_text
from trainers.estimate import estimate
from trainers.fit import fit
from trainers.metrics import StepMetrics, best, read_metrics
from trainers.presets import PRESETS
from trainers.run import ACTIVE
from trainers.sources import corpus_names

#: Fields of the recipe that have a control, in the order in which handlers take them.
KNOBS = (
    "steps", "batch_size", "muon_lr", "n_layer", "n_head", "n_embd", "block_size", "vocab_size",
    "tokenizer", "dropout", "adam_lr", "eval_every", "sample_every", "seed", "out",
)  # fmt: skip
SHOWN_POINTS = 4000
"""Most points of a curve sent at once when a page opens."""
BUTTONS = {"running": "Pause", "paused": "Resume", "stopping": "Stopping"}


def duration(seconds: float) -> str:
    """Seconds in the words of a person: 40 s, 4 min, 2.5 h."""
    if seconds < 90:
        return f"{max(1, round(seconds))} s"
    return f"{round(seconds / 60)} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"


def status_line(snapshot: dict) -> str:
    """A run in one line."""
    state, name = snapshot["state"], snapshot["name"]
    if state == "failed":
        return f"{name} failed: {snapshot['error']}"
    if state == "running" and snapshot["phase"] != "training":
        return f"{name}: {snapshot['phase']}"
    parts = [f"{name}: {state}", f"step {snapshot['step']:,} of {snapshot['steps']:,}"]
    if snapshot["val_loss"] is not None:
        bits = f"{snapshot['bits_per_byte']:.2f} bits/byte"
        parts.append(f"validation loss {snapshot['val_loss']:.3f} ({bits})")
    if state == "running":
        parts.append(f"{snapshot['tokens_per_second']:,.0f} tokens/s")
        if snapshot["seconds_left"] is not None:
            parts.append(f"about {duration(snapshot['seconds_left'])} left")
    elif snapshot["seconds"]:
        parts.append(f"{duration(snapshot['seconds'])} of training")
    return ", ".join(parts)


def curve_of(
    name: str, reports: list[StepMetrics], state: str, total: int, baselines: dict[str, float]
) -> dict:
    """The payload of the loss curve for a run."""
    return loss_payload(name, points_of(reports), state=state, total=total, baselines=baselines)


def points_of(reports: list[StepMetrics]) -> dict:
    """Reports as points of the curve."""
    return loss_points(
        [r.step for r in reports],
        [r.train_loss for r in reports],
        [(r.step, r.val_loss) for r in reports if r.val_loss is not None],
    )


def last_sample(reports: list[StepMetrics]) -> str:
    """The newest sample, with the step it was written at."""
    for report in reversed(reports):
        if report.sample:
            return f"Step {report.step:,}\n\n{spoken(report.sample)}"
    return ""


def spoken(sample: str) -> str:
    """A sample with its turns written as a script, where it has any."""
    for mark, words in (("<|user|>", "\nYou: "), ("<|assistant|>", "\nPico: "), ("<|end|>", ""),
                        ("<|endoftext|>", "")):  # fmt: skip
        sample = sample.replace(mark, words)
    return sample.strip()


@functools.lru_cache(maxsize=8)
def _read(path: Path, stamp: int) -> list[StepMetrics]:
    """A file of metrics, read once for every `stamp` (when it was written)."""
    return read_metrics(path)


class Trainer:
    """What the tab's events do; one object for all sessions."""

    def __init__(self, services: Services) -> None:
        self.services, self.runs = services, services.runs

    # --- the form ---------------------------------------------------------------------------

    def upload(self, file: dict | None) -> tuple[None, object, dict | None]:
        """Check and keep an uploaded text; it becomes the chosen one.

        Args:
            file: as the page sends it: `path` on this server, and `orig_name`.

        Returns:
            For the upload box (empty again), the choice of texts and the note.
        """
        if not file:
            return None, gr.skip(), None
        path = Path(file["path"])
        try:
            name = file.get("orig_name") or path.name
            stored = import_text(path.read_bytes(), name, self.services.corpora)
        except (CorpusError, OSError) as error:
            return None, gr.skip(), {"text": str(error), "kind": "error"}
        finally:
            path.unlink(missing_ok=True)
        names = corpus_names(self.services.corpora)
        size = stored.stat().st_size
        words = f"{stored.name}, {size / 1000:,.1f} KB, is ready to train on."
        return None, gr.update(choices=names, value=stored.stem), info_note(words)

    def load_preset(self, preset_name: str) -> tuple[object, ...]:
        """The preset's values for every control."""
        config = PRESETS[preset_name].config
        return tuple(getattr(config, name) for name in KNOBS if name != "out")

    def suit(self, preset_name: str, corpus: str) -> str:
        """The preset's own text; a text that somebody brought stays chosen."""
        own = {preset.config.corpus for preset in PRESETS.values()}
        return PRESETS[preset_name].config.corpus if corpus in own else corpus

    def estimate(self, preset_name: str, corpus: str, *values: object) -> dict:
        """What the run would cost, or what is wrong with the form."""
        try:
            config = train_form(preset_name, corpus, **dict(zip(KNOBS, values, strict=True)))
            config, notes = fit(config)
            cost = estimate(config)
        except PicoGPTError as error:
            return error_note(error)
        facts = (
            f"About {cost.parameters / 1e6:.3g} M parameters, {cost.memory / 1e6:,.0f} MB of "
            f"memory, {duration(cost.seconds)} for {cost.tokens:,} tokens on this machine."
        )
        return info_note(" ".join([facts, *notes]))

    # --- the run ----------------------------------------------------------------------------

    def press(self, state: str, preset_name: str, corpus: str, *values: object) -> tuple:
        """The big button: start, pause or resume, whichever its word says."""
        active = self.runs.active()
        try:
            if state == "running" and active is not None:
                active.pause()
            elif state == "paused" and active is not None:
                active.resume()
            elif state in BUTTONS:  # it ended while the button still said Pause
                return gr.skip(), gr.skip(), info_note("The run has ended.")
            else:
                corpus = self.services.corpus(corpus)
                config = train_form(preset_name, corpus, **dict(zip(KNOBS, values, strict=True)))
                active = self.runs.start(config)
        except PicoGPTError as error:
            return gr.skip(), gr.skip(), error_note(error)
        return active.name, self._curve(active.name), None

    def ask_stop(self) -> tuple[dict, dict]:
        """Ask once before stopping."""
        return gr.update(visible=False), gr.update(visible=True)

    def stop(self) -> tuple[dict, dict]:
        """Stop the run that is active; it scores and saves first."""
        active = self.runs.active()
        if active is not None:
            active.stop()
        return self.stay()

    def stay(self) -> tuple[dict, dict]:
        """Do not stop after all."""
        return gr.update(visible=True), gr.update(visible=False)

    # --- what a page shows ------------------------------------------------------------------

    def current(self) -> str:
        """The run that a page should show: the active one, the latest, or a recorded one."""
        run = self.runs.active() or self.runs.latest()
        if run is not None:
            return run.name
        names = [self.services.first(), *self.services.models.names()]
        folder = self.services.models.checkpoints
        return next((n for n in names if n and (folder / n / "metrics.jsonl").is_file()), "")

    def open(self) -> tuple:
        """What a page shows when it opens or is reloaded: the run with its whole history."""
        name = self.current()
        return name, self._curve(name), *self.poll(name)

    def follow(self, name: str) -> tuple:
        """`poll`; when a run trains that the page does not show, the page turns to it."""
        active = self.runs.active()
        if active is None or active.name == name:
            return gr.skip(), gr.skip(), *self.poll(name)
        return active.name, self._curve(active.name), *self.poll(active.name)

    def poll(self, name: str) -> tuple:
        """The parts of the page that follow a run: state, status, buttons, sample."""
        run = self.runs.get(name)
        active = self.runs.active()
        if run is None:
            reports = self._recorded(name)
            end = best(reports)
            words = "No run yet. Choose a text and a preset, then press Start."
            if end is not None:
                words = (
                    f"This is how {name} learned: {reports[-1].step:,} steps, "
                    f"{duration(reports[-1].seconds)}, best validation loss {end.val_loss:.3f} "
                    f"({end.bits_per_byte:.2f} bits/byte)."
                )
            buttons = self._buttons("idle", bool(reports), active)
            return (*buttons, info_note(words), last_sample(reports))
        snapshot = run.snapshot()
        state = snapshot["state"]
        kind = "error" if state == "failed" else "busy" if state in ACTIVE else "info"
        buttons = self._buttons(state, snapshot["saved_step"] >= 0, active)
        line = {"text": status_line(snapshot), "kind": kind}
        return (*buttons, line, last_sample(snapshot["reports"]))

    def _buttons(self, state: str, chat: bool, active: object) -> tuple:
        word = BUTTONS.get(state, "Start")
        return (
            state,
            gr.update(value=word, interactive=state != "stopping"),
            gr.update(interactive=active is not None and state in ("running", "paused")),
            gr.update(interactive=chat),
        )

    def _curve(self, name: str) -> dict | None:
        run = self.runs.get(name)
        if run is not None:
            snapshot = run.snapshot()
            return curve_of(
                name, snapshot["reports"], snapshot["state"], snapshot["steps"],
                snapshot["baselines"],
            )  # fmt: skip
        reports = self._recorded(name)
        if not reports:
            return None
        step = math.ceil(len(reports) / SHOWN_POINTS)
        thin = [r for i, r in enumerate(reports) if i % step == 0 or r.val_loss is not None]
        return curve_of(name, thin, "recorded", reports[-1].step, {})

    def _recorded(self, name: str) -> list[StepMetrics]:
        path = self.services.models.checkpoints / (name or "") / "metrics.jsonl"
        return _read(path, path.stat().st_mtime_ns) if name and path.is_file() else []

    def loss_since(self, name: str, points: int, vals: int) -> dict | None:
        """What the curve of a run has beyond what the browser knows."""
        run = self.runs.get(name)
        if run is None:
            return None
        snapshot = run.snapshot(points)
        fresh = snapshot["reports"]
        scored = [r for r in run.snapshot()["reports"] if r.val_loss is not None][vals:]
        answer = points_of(fresh)
        answer["val"] = [[r.step, round(r.val_loss, 6)] for r in scored]
        lines = [{"label": k, "value": round(v, 4)} for k, v in snapshot["baselines"].items()]
        return answer | {
            "state": snapshot["state"], "total": snapshot["steps"], "baselines": lines,
        }  # fmt: skip

    def run_now(self) -> dict | None:
        """The active run for the chip in the header."""
        run = self.runs.active()
        if run is None:
            return None
        snapshot = run.snapshot()
        return {
            "name": run.name, "preset": snapshot["preset"], "state": snapshot["state"],
            "percent": 100 * snapshot["step"] / max(1, snapshot["steps"]),
            "loss": snapshot["val_loss"] or snapshot["train_loss"],
        }  # fmt: skip

    def chat_with(self, name: str) -> tuple[object, dict | None]:
        """Choose the run's newest checkpoint, also while it trains on."""
        try:
            self.services.models.get(name)
        except CheckpointError as error:
            return gr.skip(), error_note(error)
        infos = self.services.models.infos()
        return (
            gr.update(choices=[(info.label, info.name) for info in infos], value=name),
            info_note(f"{name} is now the model in every tab."),
        )
