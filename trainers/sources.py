"""Where a run's ids come from: a text file, or the dialogue banks with the stories (`talk`)."""

from __future__ import annotations

from pathlib import Path

from picogpt.tokenizers import Tokenizer
from trainers.big_text import Progress
from trainers.config import TrainConfig
from trainers.corpus import Corpus, find_corpus, list_corpora, make_corpus
from trainers.talk import TALK, has_banks, talk_corpus
from trainers.text_file import TextFile


def load_corpus(
    config: TrainConfig,
    corpora: Path,
    tokenizer: Tokenizer | None = None,
    progress: Progress | None = None,
) -> Corpus:
    """The corpus of a recipe.

    Args:
        config: names the corpus and says how to make a tokenizer.
        corpora: the folder of all corpora.
        tokenizer: use this one instead of fitting a new one.
        progress: told how the reading of a text file goes on; see `make_corpus`.

    Raises:
        CorpusError: no such corpus, not readable, or too short for the context.
        TokenizerError: the tokenizer cannot take the text.
    """
    if config.corpus == TALK:
        return talk_corpus(config, corpora, tokenizer)
    path = find_corpus(config.corpus, corpora)
    return make_corpus(
        path.stem, TextFile(path), config.tokenizer, config.vocab_size, config.block_size,
        tokenizer, progress,
    )  # fmt: skip


def corpus_names(corpora: Path) -> list[str]:
    """Every name that `load_corpus` takes."""
    return ([TALK] if has_banks(corpora) else []) + list(list_corpora(corpora))
