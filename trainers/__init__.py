"""Training a small GPT on a text: presets, a loop, and runs that can be paused and resumed.

    from trainers import RunRegistry, preset, watch
    run = RunRegistry().start(preset("small", corpus="stories", steps=100))
    for snapshot in watch(run):
        print(snapshot["step"], snapshot["val_loss"])

Where to read what: `presets.py` and `config.py` say what can be chosen, `fit.py` what a machine
allows, `corpus.py` makes ids of a text (`text_file.py` and `big_text.py` of one that is large),
`init.py`, `optim.py` and `loop.py` train, `workers.py` on every core, `state.py` saves, `run.py`
puts a run on a thread and `registry.py` lets one run at a time; `cli.py` is `python -m trainers`.
README.md has the reasons.
"""

from trainers.config import TrainConfig
from trainers.corpus import Corpus, import_text, list_corpora
from trainers.loop import TrainingFailed, TrainState, new_state, train
from trainers.metrics import StepMetrics, read_metrics
from trainers.presets import PRESETS, Preset, preset
from trainers.registry import RunRegistry
from trainers.run import TrainingRun, watch
from trainers.sources import corpus_names, load_corpus

__all__ = [
    "PRESETS",
    "Corpus",
    "Preset",
    "RunRegistry",
    "StepMetrics",
    "TrainConfig",
    "TrainState",
    "TrainingFailed",
    "TrainingRun",
    "corpus_names",
    "import_text",
    "list_corpora",
    "load_corpus",
    "new_state",
    "preset",
    "read_metrics",
    "train",
    "watch",
]
