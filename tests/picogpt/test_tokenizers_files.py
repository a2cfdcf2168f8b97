"""Files of a BPE tokenizer: saved, read by transformers, foreign, malformed."""

from __future__ import annotations

import json

import pytest
import tokenizers

from picogpt.errors import TokenizerError
from picogpt.tokenizers import BPETokenizer, load_tokenizer

SAMPLE = (
    "It's the best of times, it was the worst of times: we'll see 1234 things,\n\n"
    "    don't we?  naïve façade — Straße, привет мир, 你好世界, ありがとう 😀😀👩‍👩‍👧\t(end)\r\n"
) * 3


@pytest.fixture(scope="module")
def tok() -> BPETokenizer:
    return BPETokenizer.train(SAMPLE, 380)


def test_a_saved_tokenizer_loads_the_same(tok, tmp_path):
    tok.save(tmp_path)
    again = load_tokenizer(tmp_path)
    assert isinstance(again, BPETokenizer)
    assert again.to_json() == tok.to_json()
    assert again.special_tokens == tok.special_tokens
    assert again.encode(SAMPLE) == tok.encode(SAMPLE)


def test_transformers_loads_the_folder(tok, tmp_path):
    transformers = pytest.importorskip("transformers")
    tok.save(tmp_path)
    (tmp_path / "config.json").write_text('{"model_type": "gpt2"}')
    foreign = transformers.AutoTokenizer.from_pretrained(tmp_path)
    assert foreign.encode(SAMPLE) == tok.encode(SAMPLE)
    assert foreign.decode(tok.encode(SAMPLE)) == SAMPLE
    assert foreign.decode(tok.encode(" a , b . c 's")) == " a , b . c 's"
    assert len(foreign) == tok.vocab_size
    assert foreign.eos_token_id == tok.special_tokens["<|end|>"]
    assert foreign.bos_token is None
    messages = [
        {"role": "user", "content": "Hi!\n"},
        {"role": "assistant", "content": " Hello."},
        {"role": "user", "content": "Bye"},
    ]
    rendered = "<|user|>Hi!\n<|end|><|assistant|> Hello.<|end|><|user|>Bye<|end|>"
    assert foreign.apply_chat_template(messages, tokenize=False) == rendered
    ids = foreign.apply_chat_template(messages, add_generation_prompt=True, return_dict=False)
    user, assistant, end, _ = tok.special_tokens.values()
    assert ids == [
        *[user, *tok.encode("Hi!\n"), end],
        *[assistant, *tok.encode(" Hello."), end],
        *[user, *tok.encode("Bye"), end],
        assistant,
    ]
    with pytest.raises(Exception, match="roles user and assistant only"):
        foreign.apply_chat_template([{"role": "system", "content": "x"}], tokenize=False)


def test_no_chat_template_without_the_role_tokens(tmp_path):
    BPETokenizer.train("text", 300, special_tokens=["<|endoftext|>"]).save(tmp_path)
    config = json.loads((tmp_path / "tokenizer_config.json").read_text())
    assert "chat_template" not in config
    assert config["eos_token"] == "<|endoftext|>"


def gpt2_like(as_text: bool) -> dict:
    """A tokenizer.json in GPT-2's own layout, with its order of the bytes, made by the library."""
    made = tokenizers.Tokenizer(tokenizers.models.BPE())
    made.pre_tokenizer = tokenizers.pre_tokenizers.ByteLevel(add_prefix_space=False)
    made.decoder = tokenizers.decoders.ByteLevel()
    made.post_processor = tokenizers.processors.ByteLevel(trim_offsets=False)
    trainer = tokenizers.trainers.BpeTrainer(
        vocab_size=350,
        special_tokens=["<|endoftext|>"],
        initial_alphabet=tokenizers.pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    made.train_from_iterator([SAMPLE], trainer)
    obj = json.loads(made.to_str())
    pairs = [m.split(" ") if isinstance(m, str) else m for m in obj["model"]["merges"]]
    obj["model"]["merges"] = [" ".join(p) for p in pairs] if as_text else pairs
    del obj["model"]["type"]  # as in older files
    return obj


@pytest.mark.parametrize("as_text", [True, False])
def test_a_foreign_gpt2_file_loads(tmp_path, as_text):
    obj = gpt2_like(as_text)
    (tmp_path / "tokenizer.json").write_text(json.dumps(obj))
    tok = load_tokenizer(tmp_path)
    assert list(tok.special_tokens) == ["<|endoftext|>"]
    assert tok.vocab_size == len(obj["model"]["vocab"])
    obj["model"]["type"] = "BPE"
    library = tokenizers.Tokenizer.from_str(json.dumps(obj))
    assert tok.encode(SAMPLE) == library.encode(SAMPLE).ids
    written = tokenizers.Tokenizer.from_str(json.dumps(tok.to_json()))
    assert written.encode(SAMPLE + "<|endoftext|>").ids == (
        library.encode(SAMPLE + "<|endoftext|>").ids
    )


def changed(obj: dict, path: str, value) -> dict:
    *folders, last = path.split("/")
    place = obj
    for folder in folders:
        place = place[folder]
    place[last] = value
    return obj


SOME_ADDED = {"id": 260, "content": "<x>", "special": True}


@pytest.mark.parametrize(
    ("path", "value", "reason"),
    [
        ("normalizer", {"type": "NFC"}, "normalizer"),
        ("pre_tokenizer", None, "pre-tokenizer"),
        ("pre_tokenizer", {"type": "Whitespace"}, "pre-tokenizer"),
        ("pre_tokenizer/use_regex", False, "pre-tokenizer"),
        ("pre_tokenizer/add_prefix_space", True, "add_prefix_space"),
        ("decoder", {"type": "Fuse"}, "decoder"),
        ("post_processor", {"type": "TemplateProcessing"}, "post-processor"),
        ("model/byte_fallback", True, "byte_fallback"),
        ("model/dropout", 0.1, "dropout"),
        ("model/end_of_word_suffix", "</w>", "end_of_word_suffix"),
        ("model/vocab", [], "not an object"),
        ("model/vocab", {}, "id 256"),
        ("model/vocab/a", 7, "id 7"),
        ("model/vocab/a", 10**9, "1000000000"),
        ("model/vocab/a", 1.5, "1.5"),
        ("model/vocab/<|end|>", 97, "has two ids"),
        ("model/vocab/日", 260, "GPT-2's bytes"),
        ("model/merges", None, "not a list"),
        ("model/merges", ["a"], "merge 'a'"),
        ("model/merges", ["a b c"], "merge 'a b c'"),
        ("model/merges", [["a", ["b"]]], "merge"),
        ("model/merges", [7], "merge 7"),
        ("model/merges", ["a 日"], "merge 'a 日'"),
        ("model/merges", ["a b"], "lacks the token b'ab'"),
        ("model/merges", ["< |"], "lacks the token"),
        ("added_tokens", {}, "not a list"),
        ("added_tokens", [7], "not an object"),
        ("added_tokens", [{"id": 1}], "no name or id"),
        ("added_tokens", [SOME_ADDED, SOME_ADDED], "no name or id"),
        ("added_tokens", [{**SOME_ADDED, "content": "\ud800", "id": 260}], "not valid text"),
        ("added_tokens", [{**SOME_ADDED, "special": False}], "not special"),
        ("added_tokens", [{**SOME_ADDED, "id": 1000}], "id 1000"),
    ],
)
def test_a_malformed_bpe_file_is_refused(tmp_path, path, value, reason):
    obj = changed(BPETokenizer.train("", 260).to_json(), path, value)
    obj["model"]["type"] = "BPE"
    (tmp_path / "tokenizer.json").write_text(json.dumps(obj))
    with pytest.raises(TokenizerError, match=reason) as caught:
        load_tokenizer(tmp_path)
    assert "tokenizer.json" in str(caught.value)


def test_a_byte_missing_from_the_vocabulary_is_refused():
    obj = BPETokenizer.train("", 257, special_tokens=["<x>"]).to_json()
    vocab = obj["model"]["vocab"]
    vocab["aa"] = vocab.pop("a")
    with pytest.raises(TokenizerError, match="lacks the token b'a'"):
        BPETokenizer.from_json(obj)
