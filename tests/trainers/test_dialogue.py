"""Conversations from dialogue banks: what is drawn, what is carried, and what never appears."""

from __future__ import annotations

import os
import random
import subprocess
import sys
from itertools import islice
from pathlib import Path

import pytest

from picogpt.chat import Turn
from picogpt.errors import CorpusError
from trainers.banks import Banks, load_banks, normal_form
from trainers.dialogue import conversations, held_out
from trainers.dialogue_noise import misspell, noisy

ROOT = Path(__file__).parents[2]
SHIPPED = ROOT / "corpora" / "dialogue"

BANK = """\
table country: name, capital
  France, Paris
  Japan, Tokyo
  Peru, Lima
list person = Anna, Bernard, Clementine

[capital]
ask: what is the capital of {country}?
ask: which city is the capital of {country}?
test: name the capital of {country}
say: It is {country.capital}.
expect: {country.capital}

[joke]
ask: tell me a joke
ask: make me laugh
test: do you know something funny
say: Joke one.
say: Joke two.
say: Joke three.
another: yes
why: It is in the words.
more: Jokes are old.
expect: joke

[hello]
place: first
ask: hello
ask: good day to you
test: greetings
say: Hello there.
expect: hello

[bye]
place: last
ask: bye
ask: see you later
test: farewell
say: Goodbye then.
expect: goodbye

[who-am-i]
ask: who am I?
ask: what is my name?
say: You did not tell me.

[speaking]
ask: I am {person}
say: Nice to hear, {person}.

flow remember
user: my name is {person}
pico: Hello {person}.
...
user: who am I?
user: do you know my name?
pico: You are {person}.
"""

FOLLOW = """\
[follow-why]
ask: why?
say: No reason.
[follow-more]
ask: tell me more
say: That is all.
[follow-another]
ask: another one
say: Another what?
[follow-repeat]
ask: what did you say?
say: Nothing yet.
"""


@pytest.fixture(scope="module")
def banks(tmp_path_factory) -> Banks:
    folder = tmp_path_factory.mktemp("banks")
    (folder / "small.txt").write_text(BANK, encoding="utf-8")
    (folder / "follow.txt").write_text(FOLLOW, encoding="utf-8")
    return load_banks(folder)


@pytest.fixture(scope="module")
def drawn(banks) -> list[list[Turn]]:
    return list(islice(conversations(banks, 7), 3000))


@pytest.fixture(scope="module")
def shipped() -> Banks:
    return load_banks(SHIPPED)


def clean(user_text: str) -> str:
    """A user's line without what noise may put before or after it."""
    form = normal_form(user_text)
    for prefix in ("please ", "hey pico ", "hi "):
        form = form.removeprefix(prefix)
    return form.removesuffix(" thanks").removesuffix(" thank you")


def pairs(conversation: list[Turn]) -> list[tuple[str, str]]:
    return [
        (clean(user.text), pico.text)
        for user, pico in zip(conversation[::2], conversation[1::2], strict=True)
    ]


def followed(drawn, phrase: str) -> list[tuple[list[tuple[str, str]], str]]:
    """What was said before each turn of `phrase`, and its answer."""
    return [
        (said[:i], said[i][1])
        for said in map(pairs, drawn)
        for i in range(len(said))
        if said[i][0] == phrase
    ]


def test_turns_alternate_from_the_user_to_pico(drawn):
    for conversation in drawn:
        roles = [turn.role for turn in conversation]
        assert roles == ["user", "assistant"] * (len(roles) // 2)
        assert all(turn.text == turn.text.strip() != "" for turn in conversation)


def test_most_conversations_have_three_to_eight_pairs(shipped):
    lengths = [len(c) // 2 for c in islice(conversations(shipped, 1), 2000)]
    assert min(lengths) == 1
    assert max(lengths) == 8
    assert 0.8 < sum(length >= 3 for length in lengths) / 2000 < 0.9


def test_the_same_seed_gives_the_same_conversations(banks):
    first, again, other = (list(islice(conversations(banks, s), 50)) for s in (1, 1, 2))
    assert first == again != other


def test_conversations_do_not_depend_on_the_hash_seed(shipped):
    code = (
        "import sys; from itertools import islice; from trainers.banks import load_banks;"
        "from trainers.dialogue import conversations, held_out; b = load_banks(sys.argv[1]);"
        "print([*islice(conversations(b, 3), 100)], held_out(b, 3, 50))"
    )
    outputs = [
        subprocess.run(
            [sys.executable, "-c", code, str(SHIPPED)], capture_output=True, check=True, cwd=ROOT,
            env={**os.environ, "PYTHONHASHSEED": seed, "PYTHONPATH": str(ROOT)},
        ).stdout
        for seed in ("1", "2")
    ]  # fmt: skip
    assert outputs[0] == outputs[1]
    assert len(outputs[0]) > 10_000


def test_drawing_leaves_the_global_random_state_alone(banks):
    before = random.getstate()
    list(islice(conversations(banks, 1), 20))
    held_out(banks, 1, 5)
    assert random.getstate() == before


def test_answers_fit_the_slots_of_their_question(drawn):
    capitals = {"france": "Paris", "japan": "Tokyo", "peru": "Lima"}
    seen = set()
    for conversation in drawn:
        for user, pico in pairs(conversation):
            for country, capital in capitals.items():
                if f"capital of {country}" in user:
                    seen.add(country)
                    assert pico == f"It is {capital}."
    assert seen == set(capitals)


def test_a_name_is_carried_over_the_gap_and_nothing_contradicts_it(drawn):
    carried, distances = 0, set()
    for said in map(pairs, drawn):
        start = next((i for i, (user, _) in enumerate(said) if user.startswith("my name is")), None)
        if start is None:
            continue
        name = said[start][1].removeprefix("Hello ").rstrip(".")
        end = next(i for i, (_, pico) in enumerate(said) if pico.startswith("You are"))
        assert said[end][1] == f"You are {name}."
        assert name.lower() in said[start][0]
        texts = [pico for _, pico in said]
        assert "You did not tell me." not in texts
        assert not any(text.startswith("Nice to hear") for text in texts)
        carried += 1
        distances.add(end - start - 1)
    assert carried > 300
    assert distances == {0, 1, 2}


def test_greetings_open_and_goodbyes_close(drawn):
    for said in map(pairs, drawn):
        assert not any(
            pico == "Hello there." for user, pico in said[1:] if "did you say" not in user
        )
        assert not any(pico == "Goodbye then." for _, pico in said[:-1])
    assert sum(said[0][1] == "Hello there." for said in map(pairs, drawn)) > 300
    assert sum(said[-1][1] == "Goodbye then." for said in map(pairs, drawn)) > 300


def test_why_and_more_answer_what_was_talked_about(drawn):
    for phrase, line, fallback in (
        ("why", "It is in the words.", "No reason."),
        ("tell me more", "Jokes are old.", "That is all."),
    ):
        answers = followed(drawn, phrase)
        assert {answer for _, answer in answers} == {line, fallback}
        for before, answer in answers:
            if answer == line:
                assert any(pico.startswith("Joke") for _, pico in before)


def test_another_one_gives_an_answer_not_given_before(drawn):
    jokes = 0
    for before, answer in followed(drawn, "another one"):
        if answer.startswith("Joke"):
            jokes += 1
            told = [pico for user, pico in before if user != "what did you say"]
            assert answer not in told
    assert jokes > 100


def test_what_did_you_say_repeats_the_last_answer(drawn):
    repeats = followed(drawn, "what did you say")
    assert len(repeats) > 50
    assert all(
        answer == (before[-1][1] if before else "Nothing yet.") for before, answer in repeats
    )


def test_phrasings_kept_for_the_evaluation_never_occur(shipped):
    kept = {normal_form(text) for intent in shipped.intents for text in intent.test}
    for conversation in islice(conversations(shipped, 4), 5000):
        for turn in conversation[::2]:
            assert normal_form(turn.text) not in kept


def test_banks_with_problems_still_leak_nothing(tmp_path):
    (tmp_path / "a.txt").write_text(
        "[a]\nask: one?\nask: two?\ntest: three\nsay: x\n[b]\nask: Three!\nask: four\nsay: y\n"
        "flow f\nuser: three\npico: z\n"
    )
    leaky = load_banks(tmp_path, lambda problem: None)
    texts = {t.text for c in islice(conversations(leaky, 1), 300) for t in c}
    assert "y" in texts
    assert not any("three" in text.lower() for text in texts)
    assert "z" not in texts


def test_banks_without_an_intent_are_refused(tmp_path):
    (tmp_path / "a.txt").write_text("list animal = cat\n")
    with pytest.raises(CorpusError, match="no intent"):
        next(conversations(load_banks(tmp_path), 1))


def test_every_intent_of_the_shipped_banks_is_drawn(shipped):
    answers = {t.text for c in islice(conversations(shipped, 2), 4000) for t in c[1::2]}
    for intent in shipped.intents:
        fixed = [line for line in intent.say if "{" not in line]
        assert not fixed or intent.topic == "follow" or not answers.isdisjoint(fixed), intent.name


def test_pico_always_writes_as_in_the_bank(drawn):
    lines = {t.text for c in drawn for t in c[1::2]}
    assert lines <= {
        "Joke one.", "Joke two.", "Joke three.", "It is in the words.", "Jokes are old.",
        "Hello there.", "Goodbye then.", "You did not tell me.", "No reason.", "That is all.",
        "Another what?", "Nothing yet.", "It is Paris.", "It is Tokyo.", "It is Lima.",
        *(f"{start} {name}." for start in ("Hello", "You are", "Nice to hear,")
          for name in ("Anna", "Bernard", "Clementine")),
    }  # fmt: skip


def test_held_out_questions_use_kept_phrasings_with_slots_filled(banks):
    questions = held_out(banks, 5, 40)
    assert len(questions) == 40
    assert questions == held_out(banks, 5, 40)
    assert {q.intent for q in questions[:4]} == {"capital", "joke", "hello", "bye"}
    assert {len(q.turns) for q in questions} == {1, 3, 5}
    capitals = {"France": "Paris", "Japan": "Tokyo", "Peru": "Lima"}
    for question in questions:
        last = question.turns[-1]
        assert last.role == "user"
        assert question.topic == "small"
        if question.intent == "capital":
            country = last.text.removeprefix("name the capital of ")
            assert question.expected == (capitals[country],)
            assert question.answer == f"It is {capitals[country]}."
        if question.intent == "hello":
            assert question.turns == (Turn("user", "greetings"),)


def test_held_out_refuses_a_negative_number(banks):
    assert held_out(banks, 1, 0) == []
    with pytest.raises(ValueError, match="-1"):
        held_out(banks, 1, -1)


def noise(pieces, n=20_000):
    rng = random.Random(0)
    return [noisy(pieces, rng) for _ in range(n)]


def test_noise_comes_as_often_as_it_should():
    results = noise([("What should I Wear?", "")])
    texts = ["".join(text for text, _ in pieces) for pieces, _ in results]
    share = {
        "lower": sum(text == text.lower() for text in texts) / len(texts),
        "no mark": sum(text[-1] not in "?!" for text in texts) / len(texts),
        "prefix": sum(text.lower().startswith(("hi,", "hey", "please")) for text in texts)
        / len(texts),
    }
    assert share == pytest.approx({"lower": 0.40, "no mark": 0.45, "prefix": 0.06}, abs=0.02)
    assert sum(changed for _, changed in results) / len(texts) == pytest.approx(0.15, abs=0.02)


def test_noise_never_misspells_a_slot_value_or_empties_a_line():
    for pieces, _ in noise([("where does ", ""), ("Bernardette", "{person}"), ("?", "")]):
        assert "bernardette" in "".join(text for text, _ in pieces).lower()
    for pieces, _ in noise([("?", "")], 2000):
        assert "".join(text for text, _ in pieces).strip()


def test_the_clean_pieces_are_not_altered():
    pieces = [("Tell me something", ""), ("Now", "{x}")]
    noise(pieces, 500)
    assert pieces == [("Tell me something", ""), ("Now", "{x}")]


def test_a_slip_changes_one_place_and_keeps_the_first_letter():
    rng = random.Random(1)
    for word in ("what", "Elephant", "need", "aaaa"):
        for _ in range(200):
            slip = misspell(word, rng)
            assert slip != word
            assert slip[0] == word[0]
            assert abs(len(slip) - len(word)) <= 1
