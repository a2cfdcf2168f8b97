"""Dialogue banks: what is read, what is refused and how it is said, and the shipped banks."""

from __future__ import annotations

from pathlib import Path

import pytest

from picogpt.errors import CorpusError
from trainers.bank_report import distinct, shortcomings, statistics
from trainers.banks import Exchange, Intent, load_banks, normal_form

SHIPPED = Path(__file__).parents[2] / "corpora" / "dialogue"

COLOUR = """\
# a note
[favourite-colour]
ask: what is your favourite colour?
ask: which colour: this or that?
test: tell me the colour you like most
say: I like indigo.
why: It is calm.
more: It lies between blue and violet.
another: yes
expect: indigo | violet
"""

COUNTRY = """\
table country: name, capital
  France, Paris
  Japan, Tokyo

list person = Anna, Ben

[capital]
ask: what is the capital of {country}?
test: name the capital of {country}
say: It is {country.capital}.
expect: {country.capital}

flow remember
user: my name is {person}
user: I am {person}
pico: Hello {person}.
...
user: who am I?
pico: {person}.
"""


@pytest.fixture
def write(tmp_path):
    def write(**files: str) -> Path:
        for name, text in files.items():
            (tmp_path / f"{name}.txt").write_text(text, encoding="utf-8")
        return tmp_path

    return write


def problems_of(folder: Path) -> list[str]:
    problems: list[str] = []
    load_banks(folder, problems.append)
    return problems


def test_an_intent_is_read_as_written(write):
    banks = load_banks(write(colours=COLOUR))
    assert banks.intents == (
        Intent(
            name="favourite-colour", topic="colours",
            ask=("what is your favourite colour?", "which colour: this or that?"),
            test=("tell me the colour you like most",), say=("I like indigo.",),
            why=("It is calm.",), more=("It lies between blue and violet.",),
            another=True, expect=("indigo", "violet"),
        ),
    )  # fmt: skip


def test_flows_lists_and_tables_are_read(write):
    banks = load_banks(write(lands=COUNTRY))
    assert banks.flows[0].exchanges == (
        Exchange(("my name is {person}", "I am {person}"), ("Hello {person}.",)),
        Exchange(("who am I?",), ("{person}.",), gap=True),
    )
    tables = banks.slots["lands"].tables
    assert tables["country"].rows == (("France", "Paris"), ("Japan", "Tokyo"))
    assert tables["person"].rows == (("Anna",), ("Ben",))


def test_the_built_in_sums_are_right(write):
    tables = load_banks(write(colours=COLOUR)).slots["colours"].tables
    for name, sign in (("plus", "+"), ("minus", "-"), ("times", "*")):
        for a, b, result in tables[name].rows:
            assert result == str(eval(f"{a}{sign}{b}"))
    assert max(int(row[2]) for row in tables["plus"].rows) == 20
    assert all(int(row[2]) >= 0 for row in tables["minus"].rows)
    assert ("10", "10", "100") in tables["times"].rows


def test_files_keep_their_slots_to_themselves(write):
    other = "list animal = cat\n[pet]\nask: do you like a {country}?\nsay: Yes.\n"
    problem = problems_of(write(lands=COUNTRY, pets=other))
    assert problem == [
        "pets.txt, line 3: The slot {country} is not defined. Add a list or table 'country'."
    ]


@pytest.mark.parametrize(
    ("text", "line", "what"),
    [
        ("[No Name]\nask: a\nsay: b\n", 1, "no intent name"),
        ("[a]\nask: a\n", 1, "no line 'say'"),
        ("[a]\nsay: a\n", 1, "no line 'ask'"),
        ("[a]\nask: a\nsay: b\nsing: c\n", 4, "starts with none of ask:"),
        ("[a]\nask: a\nsay:\n", 3, "the line 'say' is empty"),
        ("[a]\nask: a\nsay: b\nanother: maybe\n", 4, "'yes' or 'no'"),
        ("[a]\nask: a\nsay: b\nplace: middle\n", 4, "'first' or 'last'"),
        ("[a]\nask: a\nsay: b\nexpect: b |\n", 4, "expected word is empty"),
        ("[a]\nask: a\nsay: b\nexpect: b\nexpect: c\n", 5, "second line 'expect'"),
        ("[a]\nask: a\nsay: {gone}\n", 3, "{gone} is not defined"),
        ("[a]\nask: a\nsay: {plus.d}\n", 3, "a, b, result"),
        ("[a]\nask: a\nsay: lone }\n", 3, "brace stands alone"),
        ("hello\n[a]\nask: a\nsay: b\n", 1, "before the first part"),
        ("list Animal = cat\n", 1, "list name = one, two"),
        ("list a = cat,, dog\n", 1, "empty cell"),
        ("list a = cat\ncow\n", 2, "a list ends"),
        ("table t: a, b\n  one\n", 2, "1 cells; the table has 2"),
        ("table t: a, a\n  one, two\n", 1, "stands twice"),
        ("table t: a, b\n", 1, "no rows"),
        ("list plus = one\n", 1, "exists already"),
        ("flow f\nuser: a\n", 1, "does not end"),
        ("flow f\npico: a\n", 2, "stands where user speaks"),
        ("flow f\nuser: a\npico: b\n...\npico: c\n", 5, "stands where user speaks"),
        ("flow f\nuser: a\n...\npico: b\n", 3, "after a line of pico"),
        ("flow f\nuser: a\npico: b\n...\n", 1, "does not end"),
    ],
)
def test_a_malformed_part_is_named_and_the_rest_loads(write, text, line, what):
    folder = write(bad=text, colours=COLOUR)
    problems: list[str] = []
    banks = load_banks(folder, problems.append)
    assert "favourite-colour" in [intent.name for intent in banks.intents]
    assert len(problems) == 1
    assert problems[0].startswith(f"bad.txt, line {line}: ")
    assert what in problems[0]
    with pytest.raises(CorpusError) as error:
        load_banks(folder)
    assert str(error.value) == problems[0]


def test_a_phrasing_of_two_intents_is_reported_with_both_places(write):
    twin = "[twin]\nask: What is your favourite COLOUR\nsay: Red.\n"
    (problem,) = problems_of(write(colours=COLOUR, twins=twin))
    assert "twins.txt, line 2" in problem
    assert "colours.txt, line 3" in problem
    assert "'favourite-colour'" in problem


def test_a_name_in_two_files_is_refused(write):
    folder = write(a=COLOUR, b="[favourite-colour]\nask: and now?\nsay: Blue.\n")
    assert problems_of(folder) == [
        "b.txt, line 1: the intent 'favourite-colour' is already in a.txt, line 2. Rename one."
    ]
    assert len(load_banks(folder, lambda problem: None).intents) == 1


def test_a_flow_may_not_use_a_phrasing_kept_for_the_evaluation(write):
    flow = "flow f\nuser: tell me the colour you like most!\npico: Red.\n"
    (problem,) = problems_of(write(colours=COLOUR, flows=flow))
    assert problem.startswith("flows.txt, line 2: ")
    assert "kept for the evaluation" in problem


def test_an_empty_folder_and_bytes_that_are_no_text(tmp_path):
    with pytest.raises(CorpusError, match="No dialogue banks"):
        load_banks(tmp_path)
    (tmp_path / "a.txt").write_bytes(b"[a]\nask: caf\xe9\n")
    with pytest.raises(CorpusError, match=r"a\.txt: byte 12 is not UTF-8"):
        load_banks(tmp_path)


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ("What's your name?", "whats your name", True),
        ("hi,  there...", "hi there", True),
        ("top-k", "top k", True),
        ("{plus.a} + {plus.b}", "{plus.a} {plus.b}", False),
        ("?", "!", False),
    ],
)
def test_the_identity_of_a_phrasing(one, other, same):
    assert (normal_form(one) == normal_form(other)) is same


def test_phrasings_that_are_nearly_alike_count_once():
    assert distinct(["what is a token?", "what is a token", "what is the token?", "token?"]) == 2


def test_statistics_count_lines_by_topic(write):
    banks = load_banks(write(colours=COLOUR, lands=COUNTRY))
    both, lands = statistics(banks), statistics(banks, "lands")
    assert (both.intents, both.flows, both.asks, both.tests) == (2, 1, 3, 2)
    assert (both.says, both.whys, both.mores) == (2, 1, 1)
    assert (lands.intents, lands.asks, lands.tests) == (1, 1, 1)
    assert both.distinct_phrasings == 4  # the two about capitals are nearly alike


def test_shortcomings_name_what_is_thin_or_cannot_be_right(write):
    text = COUNTRY.replace("say: It is", "ask: and its capital?\nsay: I forgot.\nsay: It is")
    found = shortcomings(load_banks(write(lands=text)))
    assert all(problem.startswith("lands.txt, [capital]: ") for problem in found)
    assert sum("lines; there should be" in problem for problem in found) == 3
    assert any("'I forgot.' holds no expected word" in problem for problem in found)
    assert any("'and its capital?' lacks {country}" in problem for problem in found)


def test_the_shipped_banks_load_without_a_problem():
    assert problems_of(SHIPPED) == []


def test_the_shipped_banks_are_as_rich_as_their_readme_asks():
    assert shortcomings(load_banks(SHIPPED)) == []
