"""The Models tab: what there is, and what can be done with it."""

from __future__ import annotations

from dataclasses import dataclass

import gradio as gr

from picogpt.errors import PicoGPTError
from playground.components import note
from playground.errors import error_note, info_note
from playground.services import ModelInfo, Services
from playground.shared import Shared

HEADERS = ["Model", "Parameters", "Bits/byte", "Corpus", "Steps", "Size", "For", "State"]
GUIDE = (
    "Bits per byte says how well a model predicts text it has not seen: lower is better, and it "
    "compares models with different tokenizers. Choose a row, then what to do with it."
)


@dataclass
class ModelsTab:
    """The components of the tab."""

    table: gr.Dataframe
    picked: gr.Dropdown
    use: gr.Button
    download: gr.Button
    archive: gr.DownloadButton
    """Never seen: holds the zip that the browser then fetches."""
    delete: gr.Button
    really: gr.Button
    keep: gr.Button
    status: gr.HTML
    card: gr.Textbox


def rows(infos: list[ModelInfo]) -> list[list[str]]:
    """The table's rows."""
    return [
        [
            info.name,
            f"{info.parameters / 1e6:.3g} M" if info.parameters else "",
            f"{info.bits_per_byte:.3f}" if info.bits_per_byte is not None else "",
            info.corpus,
            f"{info.steps:,}",
            f"{info.size / 1e6:.1f} MB",
            "chat" if info.chat else "text",
            info.problem or "made here",
        ]
        for info in infos
    ]


def build_models(shared: Shared) -> ModelsTab:
    """Lay out the tab; `build.py` connects what changes the list of models."""
    infos = shared.services.models.infos()
    gr.HTML(f"<p>{GUIDE}</p>", elem_classes="guide")
    table = gr.Dataframe(
        rows(infos), headers=HEADERS, interactive=False, elem_id="models-table",
        show_label=False, label="Models", wrap=False, buttons=[],
    )  # fmt: skip
    with gr.Row(elem_id="model-actions", equal_height=True):
        picked = gr.Dropdown(
            [info.name for info in infos], value=shared.services.model or None, label="Model",
            elem_id="picked-model", scale=1, min_width=200,
        )  # fmt: skip
        use = gr.Button("Use it", variant="primary", elem_id="use-model", scale=0, min_width=88)
        download = gr.Button("Download as zip", elem_id="download-model", scale=0, min_width=168)
        archive = gr.DownloadButton(visible=False)
        delete = gr.Button("Delete", elem_id="delete-model", scale=0, min_width=88)
        really = gr.Button(
            "Delete for good", variant="stop", visible=False, elem_id="really-delete", scale=0,
            min_width=140,
        )  # fmt: skip
        keep = gr.Button("Keep it", visible=False, elem_id="keep-model", scale=0, min_width=88)
    status = note("models-note", "Notes on models")
    card = gr.Textbox(
        Shelf(shared.services).card(shared.services.model), label="Model card", lines=12,
        max_lines=24, interactive=False, elem_id="model-card",
    )  # fmt: skip
    tab = ModelsTab(table, picked, use, download, archive, delete, really, keep, status, card)
    _connect(shared, tab)
    return tab


def _connect(shared: Shared, tab: ModelsTab) -> None:
    do = Shelf(shared.services)
    quiet = {
        "show_progress": "hidden", "api_visibility": "private", "preprocess": False,
        "queue": False,
    }  # fmt: skip
    asked = [tab.really, tab.keep, tab.delete, tab.status]
    tab.table.select(do.pick, [tab.table], [tab.picked], **quiet)
    tab.picked.change(do.card, [tab.picked], [tab.card], **quiet)
    tab.use.click(do.use, [tab.picked], [shared.model, tab.status], **quiet)
    tab.delete.click(do.ask, [tab.picked], asked, **quiet)
    tab.keep.click(do.keep, None, asked, **quiet)
    tab.download.click(
        do.zip, [tab.picked], [tab.archive, tab.status], **(quiet | {"queue": True})
    ).then(None, [tab.archive], None, js="window.pico.download", **quiet)
    tab.really.click(
        do.delete, [tab.picked, shared.model],
        [tab.table, tab.picked, shared.model, *asked], **quiet,
    )  # fmt: skip


class Shelf:
    """What can be done with models."""

    def __init__(self, services: Services) -> None:
        self.services, self.models = services, services.models

    def refresh(self, model: str) -> tuple[dict, dict, dict]:
        """The table and both pickers, as the folder is now."""
        infos = self.models.infos()
        names = [info.name for info in infos]
        chosen = model if model in names else next(iter(names), None)
        return (
            gr.update(value=rows(infos)),
            gr.update(choices=names, value=chosen),
            gr.update(choices=[(info.label, info.name) for info in infos], value=chosen),
        )

    def pick(self, table: object, event: gr.SelectData) -> str:
        """The model of the row that was clicked."""
        return str(event.row_value[0])

    def card(self, name: str | None) -> str:
        """What the model's folder says of it."""
        path = self.models.checkpoints / (name or "") / "README.md"
        if name not in self.models.names() or not path.is_file():
            return "This model has no card."
        return path.read_text(encoding="utf-8", errors="replace")

    def use(self, name: str) -> tuple[object, dict]:
        """Choose a model for all tabs, once it has been loaded without a fault."""
        try:
            self.models.get(name)
        except PicoGPTError as error:
            return gr.skip(), error_note(error)
        return name, info_note(f"{name} is now the model in every tab.")

    def zip(self, name: str) -> tuple[object, dict]:
        """A zip of the model's folder."""
        try:
            return str(self.models.zip(name)), info_note(f"{name}.zip is ready.")
        except PicoGPTError as error:
            return None, error_note(error)

    def ask(self, name: str) -> tuple[dict, dict, dict, dict]:
        """Ask before deleting."""
        if not name:
            return *self.keep()[:3], {"text": "No model is chosen.", "kind": "error"}
        words = f"Delete {name}? Its folder is removed from this computer and cannot be restored."
        return gr.update(visible=True), gr.update(visible=True), gr.update(visible=False), {
            "text": words, "kind": "error",
        }  # fmt: skip

    def keep(self) -> tuple[dict, dict, dict, None]:
        """Do not delete."""
        return gr.update(visible=False), gr.update(visible=False), gr.update(visible=True), None

    def delete(self, name: str, model: str) -> tuple[object, ...]:
        """Delete a model that no run is training."""
        active = self.services.runs.active()
        try:
            if active is not None and active.name == name:
                problem = f"{name} is being trained. Stop the run first."
                said = {"text": problem, "kind": "error"}
            else:
                self.models.delete(name)
                said = info_note(f"{name} was deleted.")
        except PicoGPTError as error:
            said = error_note(error)
        except OSError as error:
            said = {"text": f"{name} could not be deleted: {error.strerror}.", "kind": "error"}
        return (*self.refresh(model), *self.keep()[:3], said)
