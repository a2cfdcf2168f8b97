"""The character tokenizer, and what all tokenizers share (decoding, streaming, files)."""

from __future__ import annotations

import json
import string

import hypothesis
import pytest
import tokenizers
from hypothesis import strategies as st

from picogpt.errors import PicoGPTError, TokenizerError
from picogpt.tokenizers import CharTokenizer, load_tokenizer

any_text = st.text(st.characters(exclude_categories=["Cs"]), max_size=60)
some_text = any_text.filter(bool)


def given(*strategies):
    """hypothesis.given without its time limit for one example: the machine may be busy."""
    return lambda test: hypothesis.settings(deadline=None)(hypothesis.given(*strategies)(test))


def in_library(tokenizer) -> tokenizers.Tokenizer:
    return tokenizers.Tokenizer.from_str(json.dumps(tokenizer.to_json()))


def test_ids_are_the_places_in_the_sorted_alphabet():
    tok = CharTokenizer.train("banana bread")
    assert [tok.token_text(i) for i in range(tok.vocab_size)] == list(" abdenr")
    assert tok.encode("bad") == [2, 1, 3]
    assert tok.decode([2, 1, 3]) == "bad"
    assert (tok.kind, tok.special_tokens) == ("char", {})


def test_also_adds_characters():
    tok = CharTokenizer.train("é", also=string.printable)
    assert tok.decode(tok.encode("Hello\n{é}")) == "Hello\n{é}"
    assert tok.vocab_size == len(string.printable) + 1


@given(some_text)
def test_round_trip(text):
    tok = CharTokenizer.train(text)
    ids = tok.encode(text)
    assert len(ids) == len(text)
    assert tok.decode(ids) == text
    assert tok.decode(ids, skip_special=True) == text
    assert b"".join(tok.token_bytes(i) for i in ids) == text.encode()
    assert sum(tok.byte_lengths()[i] for i in ids) == len(text.encode())


@given(some_text)
def test_the_tokenizers_library_agrees(text):
    tok = CharTokenizer.train(text)
    library = in_library(tok)
    assert library.encode(text).ids == tok.encode(text)
    assert library.decode(tok.encode(text), skip_special_tokens=False) == text
    assert library.get_vocab_size() == tok.vocab_size


@given(some_text)
def test_json_round_trip(text):
    tok = CharTokenizer.train(text)
    again = CharTokenizer.from_json(json.loads(json.dumps(tok.to_json())))
    assert again.encode(text) == tok.encode(text)
    assert again.to_json() == tok.to_json()


@given(some_text)
def test_streaming_gives_each_character_at_once(text):
    tok = CharTokenizer.train(text)
    decoder = tok.stream_decoder()
    assert [decoder.push(i) for i in tok.encode(text)] == list(text)
    assert not decoder.pending
    assert decoder.flush() == ""


def test_unseen_characters_are_named():
    tok = CharTokenizer.train("abc")
    with pytest.raises(PicoGPTError) as caught:
        tok.encode("ab😀c€😀")
    message = str(caught.value)
    assert isinstance(caught.value, ValueError)
    assert "2 characters" in message
    assert "'😀' (U+1F600), '€' (U+20AC)" in message
    assert "more" not in message
    assert "3 characters" in message  # what it knows


def test_at_most_eight_unseen_characters_are_named():
    tok = CharTokenizer.train("ab")
    with pytest.raises(TokenizerError, match=r"'j' \(U\+006A\) and 16 more\."):
        tok.encode(string.ascii_lowercase)


def test_half_a_surrogate_pair_is_the_replacement_character():
    tok = CharTokenizer.train("a\ud83d", also="😀")
    assert tok.decode(tok.encode("a\udc00")) == "a\ufffd"
    assert tok.decode(tok.encode("\ud83d\ude00")) == "😀"


@given(st.lists(some_text, min_size=1))
def test_a_text_in_pieces_is_like_the_whole(pieces):
    tok = CharTokenizer.train("".join(pieces))
    assert CharTokenizer.train(iter(pieces)).to_json() == tok.to_json()
    ids = [id for some in tok.encode_pieces(iter(pieces)) for id in some]
    assert ids == tok.encode("".join(pieces))


def test_unseen_characters_of_all_pieces_are_named():
    tok = CharTokenizer.train("abc")
    with pytest.raises(TokenizerError) as caught:
        list(tok.encode_pieces(iter(["ab", "aé", "c", "€é"])))
    assert "2 characters" in str(caught.value)
    assert "'é' (U+00E9), '€' (U+20AC)" in str(caught.value)


def test_an_empty_text_has_no_alphabet():
    with pytest.raises(TokenizerError, match="empty"):
        CharTokenizer.train("")
    assert CharTokenizer.train("", also="a").vocab_size == 1


def test_no_text_gives_no_ids():
    tok = CharTokenizer.train("abc")
    assert tok.encode("") == []
    assert tok.decode([]) == ""


@pytest.mark.parametrize("id", [-1, 3, 10**30, 1.0, "1", None])
def test_an_unknown_id_is_refused(id):
    tok = CharTokenizer.train("abc")
    for call in (tok.token_bytes, tok.token_text, tok.stream_decoder().push):
        with pytest.raises(TokenizerError):
            call(id)
    with pytest.raises(TokenizerError):
        tok.decode([0, id])


def test_ids_of_numpy_and_torch_pass():
    numpy, torch = pytest.importorskip("numpy"), pytest.importorskip("torch")
    tok = CharTokenizer.train("abc")
    assert tok.decode(numpy.array([0, 2], dtype=numpy.uint16)) == "ac"
    assert tok.decode(torch.tensor([0, 2])) == "ac"
    assert tok.stream_decoder().push(torch.tensor(2)) == "c"


def test_a_saved_tokenizer_loads_here_and_in_transformers(tmp_path):
    transformers = pytest.importorskip("transformers")
    text = "To be, or not to be : that 's\n\n\tthe <question> ."
    tok = CharTokenizer.train(text, also=string.printable + "é😀")
    tok.save(tmp_path / "new" / "folder")
    (tmp_path / "new/folder/config.json").write_text('{"model_type": "gpt2"}')
    again = load_tokenizer(tmp_path / "new" / "folder")
    assert isinstance(again, CharTokenizer)
    assert again.to_json() == tok.to_json()
    foreign = transformers.AutoTokenizer.from_pretrained(tmp_path / "new" / "folder")
    for sample in (text, string.printable, " é 😀 !"):
        assert foreign.encode(sample) == tok.encode(sample)
        assert foreign.decode(tok.encode(sample)) == sample


def test_a_character_tokenizer_has_no_chat_template(tmp_path):
    CharTokenizer.train("<|user|><|assistant|><|end|>").save(tmp_path)
    config = json.loads((tmp_path / "tokenizer_config.json").read_text())
    assert config["tokenizer_class"] == "PreTrainedTokenizerFast"
    assert config["clean_up_tokenization_spaces"] is False
    assert "chat_template" not in config
    assert "eos_token" not in config


def test_saving_twice_gives_the_same_bytes(tmp_path):
    for name, text in (("a", "hello é"), ("b", "é ollllleh")):
        CharTokenizer.train(text).save(tmp_path / name)
    for file in ("tokenizer.json", "tokenizer_config.json"):
        assert (tmp_path / "a" / file).read_bytes() == (tmp_path / "b" / file).read_bytes()


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (None, "cannot be read"),
        (b"", "no valid JSON"),
        (b"{", "no valid JSON"),
        (b"\xff\xfe\x00", "no valid JSON"),
        (b"[" * 100_000, "no valid JSON"),
        (b"[]", "a JSON object"),
        (b"{}", "no 'model'"),
        (b'{"model": {}}', "not supported"),
        (b'{"model": {"type": "Unigram", "vocab": []}}', "'Unigram' is not supported"),
        (b'{"model": {"type": ["BPE"]}}', "not supported"),
    ],
)
def test_a_file_that_is_no_tokenizer_is_refused(tmp_path, content, reason):
    if content is not None:
        (tmp_path / "tokenizer.json").write_bytes(content)
    with pytest.raises(TokenizerError, match=reason) as caught:
        load_tokenizer(tmp_path)
    assert str(tmp_path / "tokenizer.json") in str(caught.value)


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"vocab": None}, "not an object"),
        ({"vocab": {}}, "empty"),
        ({"vocab": {"a": 0, "b": 2}}, "'b' has the id 2"),
        ({"vocab": {"a": 0, "b": 0}}, "'b' has the id 0"),
        ({"vocab": {"a": 0, "b": -1}}, "'b' has the id -1"),
        ({"vocab": {"a": 0, "b": True}}, "'b' has the id True"),
        ({"vocab": {"a": 0, "b": "1"}}, "'b' has the id '1'"),
        ({"vocab": {"a": 0, "[UNK]": 1}}, "not one character"),
        ({"vocab": {"a": 0, "\ud800": 1}}, "not one character"),
        ({"pre_tokenizer": {"type": "Whitespace"}}, "'pre_tokenizer'"),
        ({"decoder": None}, "'decoder'"),
        ({"normalizer": {"type": "Lowercase"}}, "'normalizer'"),
        ({"post_processor": {"type": "TemplateProcessing"}}, "'post_processor'"),
        ({"added_tokens": [{"id": 3, "content": "<s>"}]}, "added tokens"),
    ],
)
def test_a_malformed_character_tokenizer_is_refused(tmp_path, change, reason):
    obj = CharTokenizer.train("abc").to_json()
    (obj["model"] if "vocab" in change else obj).update(change)
    (tmp_path / "tokenizer.json").write_text(json.dumps(obj))
    with pytest.raises(TokenizerError, match=reason):
        load_tokenizer(tmp_path)
