"""The terminal: `main(argv)` in this process, and a few real processes for pipes and signals."""

from __future__ import annotations

import io
import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

import picogpt
from picogpt import GPT, BPETokenizer, CharTokenizer, GPTConfig, save_checkpoint
from picogpt.__main__ import main
from picogpt.cli import common, hardware, measure, plot
from picogpt.errors import PicoGPTError

ROOT = Path(__file__).resolve().parents[2]
TEXT = "the cat sat on the mat and the dog saw the cat. once upon a time there was a cat. " * 8
BLOCK = 64
posix_only = pytest.mark.skipif(os.name != "posix", reason="signals and terminals of POSIX")


@pytest.fixture(scope="module")
def checkpoints(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with `talker` (BPE, made for chat) and `writer` (characters, not)."""
    folder = tmp_path_factory.mktemp("checkpoints")
    torch.manual_seed(1)
    meta = {
        "chat": True, "preset": "fast", "corpus": "cats", "steps": 1200, "tokens": 34567,
        "seconds": 8.5, "val_loss": 2.3456, "bits_per_byte": 1.2345,
    }  # fmt: skip
    for name, tokenizer, extra in (
        ("talker", BPETokenizer.train(TEXT, 280), meta),
        ("writer", CharTokenizer.train(TEXT), {}),
    ):
        config = GPTConfig(2, 2, 32, BLOCK, tokenizer.vocab_size)
        model = GPT(config)
        with torch.no_grad():  # sharper than freshly initialised, so that a context matters
            for parameter in model.parameters():
                parameter.mul_(4)
        save_checkpoint(folder / name, model, tokenizer, extra)
    return folder


@pytest.fixture
def cli(
    checkpoints: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> Callable[..., tuple[int, str, str]]:
    """Runs a command on `talker`: (exit status, stdout, stderr)."""

    def run(*argv: str, stdin: str = "") -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "stdin", io.StringIO(stdin))
        command, *rest = argv
        where = ["--checkpoints", str(checkpoints)]
        if command != "bench" and "-m" not in rest:
            where += ["-m", "talker"]
        capsys.readouterr()
        status = main([command, *where, *rest])
        out, err = capsys.readouterr()
        return status, out, err

    return run


@pytest.fixture
def pico(checkpoints: Path) -> picogpt.Pico:
    """`talker` without the terminal, as the oracle."""
    return picogpt.load("talker", device="cpu", checkpoints=checkpoints)


def objects(out: str) -> list[dict]:
    return [json.loads(line) for line in out.splitlines()]


# --- generate ---------------------------------------------------------------------------------


def test_generate_prints_prompt_and_continuation(cli, pico) -> None:
    status, out, err = cli("generate", "-p", "the cat", "-t", "12", "--seed", "3")
    expected = "the cat" + pico.complete("the cat", max_new_tokens=12, seed=3)
    assert (status, err) == (0, "")
    assert out == expected if expected.endswith("\n") else out == expected + "\n"


def test_generate_passes_every_setting_on(cli, pico) -> None:
    flags = ("-t", "9", "-T", "1.5", "-k", "7", "--top-p", "0.9", "--min-p", "0.01")
    flags += ("--repetition-penalty", "1.2", "--seed", "5", "-d", "cpu")
    _, out, _ = cli("generate", "-p", "a dog", "--json", *flags)
    steps = list(pico.stream("a dog", 9, 1.5, 7, 0.9, 0.01, 1.2, seed=5))
    assert objects(out) == [
        {key: getattr(step, key) for key in
         ("id", "text", "prob", "kept_prob", "rank", "entropy", "u", "seed")}
        for step in steps
    ]  # fmt: skip


def test_generate_json_is_ascii_and_draws_nothing_at_temperature_zero(cli) -> None:
    status, out, err = cli("generate", "-p", "the", "-t", "4", "-T", "0", "--json")
    assert (status, err) == (0, "")
    assert out.isascii()
    assert [token["u"] for token in objects(out)] == [None] * 4


@pytest.mark.parametrize("flags", [["--max_tokens", "3", "--top_k", "1"], ["-t", "3", "-k", "1"]])
def test_generate_takes_the_originals_spelling(cli, flags: list[str]) -> None:
    _, out, _ = cli("generate", "-p", "the", "--json", *flags)
    assert [token["kept_prob"] for token in objects(out)] == [1.0] * 3


def test_generate_says_how_much_of_a_long_prompt_was_dropped(cli, pico) -> None:
    count = len(pico.tokenizer.encode(TEXT))
    status, out, err = cli("generate", "-p", TEXT, "-t", "1")
    assert status == 0 and out.startswith(TEXT)
    assert err == (
        f"The prompt has {count} tokens and the context holds {BLOCK}: "
        f"the oldest {count - BLOCK} were dropped.\n"
    )


def test_generate_reads_stdin_less_the_newline_of_echo(cli) -> None:
    _, piped, _ = cli("generate", "-p", "-", "-t", "5", "--seed", "1", stdin="the cat\n")
    _, given, _ = cli("generate", "-p", "the cat", "-t", "5", "--seed", "1")
    assert piped == given


def test_generate_without_a_prompt_starts_a_new_text(cli) -> None:
    status, out, _ = cli("generate", "-t", "3", "--json", "--seed", "1")
    assert status == 0 and 1 <= len(objects(out)) <= 3


def test_generate_with_no_tokens_prints_the_prompt(cli) -> None:
    assert cli("generate", "-p", "the cat", "-t", "0") == (0, "the cat\n", "")


def test_half_a_surrogate_in_the_prompt_is_no_traceback(cli) -> None:
    status, out, _ = cli("generate", "-p", "caf\udce9", "-t", "0")
    assert (status, out) == (0, "caf\N{REPLACEMENT CHARACTER}\n")


# --- chat -------------------------------------------------------------------------------------


def test_chat_answers_one_message(cli, pico) -> None:
    status, out, err = cli("chat", "-p", "hello", "-T", "0", "-t", "10")
    assert (status, err) == (0, "")
    assert out == pico.chat(temperature=0, max_new_tokens=10).reply("hello") + "\n"


def test_piped_chat_keeps_its_context_until_reset(cli, pico) -> None:
    lines = "the cat\n\n  \na dog\n/reset\na dog\n/quit\nnever read\n"
    status, out, err = cli("chat", "--seed", "4", "-t", "6", "--json", stdin=lines)
    session = pico.chat(seed=4, max_new_tokens=6)
    first, second = session.reply("the cat"), session.reply("a dog")
    session.reset()
    third = session.reply("a dog")
    assert status == 0 and err == "The conversation starts anew.\n"
    found = objects(out)
    assert [line["reply"] for line in found] == [first, second, third]
    assert [line["message"] for line in found] == ["the cat", "a dog", "a dog"]
    assert second != third  # otherwise this test could not see the context


def test_chat_commands_go_to_stderr(cli) -> None:
    status, out, err = cli("chat", stdin="/help\n/what\n")
    assert (status, out) == (0, "")
    assert "/reset" in err and "no command /what" in err


def test_chat_with_a_model_not_made_for_it_completes_text(cli, checkpoints: Path) -> None:
    flags = ("-m", "writer", "-t", "5", "--seed", "2")
    status, out, err = cli("chat", *flags, stdin="the cat\n")
    writer = picogpt.load("writer", device="cpu", checkpoints=checkpoints)
    assert out == "the cat" + writer.complete("the cat", 5, seed=2) + "\n"
    assert (status, err) == (
        0, "writer was not made for chat, so it continues your text instead.\n"
    )  # fmt: skip


def test_a_line_that_cannot_be_answered_does_not_end_a_piped_chat(cli) -> None:
    status, out, err = cli("chat", "-m", "writer", "-t", "2", stdin="the €\nthe cat\n")
    assert status == 2
    assert out.startswith("the cat") and len(out.splitlines()) >= 1
    assert "'€'" in err and "Traceback" not in err


def test_chat_says_what_was_cut_from_a_long_message(cli) -> None:
    status, out, err = cli("chat", "-p", TEXT, "-t", "2", "--json")
    assert status == 0 and len(objects(out)) == 1
    assert f"the context of {BLOCK} tokens" in err and "were dropped" in err


# --- info and tokenize ------------------------------------------------------------------------


def test_info_json_adds_up(cli, pico) -> None:
    status, out, err = cli("info", "--json")
    (facts,) = objects(out)
    config = pico.engine.config
    assert (status, err) == (0, "")
    assert facts["parameters"] == sum(facts["parts"].values()) == config.parameters()
    assert facts["parts"]["token embedding"] == config.vocab_size * 32
    assert facts["parts"]["position embedding"] == BLOCK * 32
    assert facts["parts"]["layer norms"] == (2 * 2 + 1) * 2 * 32
    assert facts["memory"] == {
        "float32": 4 * facts["parameters"],
        "float16": 2 * facts["parameters"],
        "cache": sum(t.nbytes for t in _cache_tensors(config)),
    }
    assert (facts["verified"], facts["chat"], facts["tokenizer"]) == (True, True, "bpe")
    assert (facts["corpus"], facts["val_loss"], facts["bits_per_byte"]) == ("cats", 2.3456, 1.2345)


def _cache_tensors(config: GPTConfig) -> tuple[torch.Tensor, torch.Tensor]:
    from picogpt.cache import KVCache

    cache = KVCache(config)
    return cache.keys, cache.values


def test_info_as_text(cli) -> None:
    _, out, _ = cli("info")
    for fact in ("2.346 nats", "1.234", "cats", "1,200 steps", "every file matches", "280 tokens"):
        assert fact in out, fact


def test_info_of_a_folder_without_manifest(cli, checkpoints: Path, tmp_path: Path) -> None:
    foreign = tmp_path / "foreign"
    foreign.mkdir()
    for path in (checkpoints / "writer").iterdir():
        if path.name != "pico.json":
            (foreign / path.name).write_bytes(path.read_bytes())
    _, out, _ = cli("info", "-m", str(foreign))
    assert "no pico.json" in out and "not known" in out
    _, out, _ = cli("info", "-m", str(foreign), "--json")
    assert objects(out)[0]["verified"] is False


def test_a_manifest_cannot_steer_the_terminal(cli, checkpoints: Path, tmp_path: Path) -> None:
    loaded = picogpt.load_checkpoint(checkpoints / "writer")
    folder = save_checkpoint(
        tmp_path / "odd", loaded.model, loaded.tokenizer, {"corpus": "\x1b[2J\nx", "steps": "many"}
    )
    status, out, _ = cli("info", "-m", str(folder))
    assert status == 0 and "\x1b" not in out and "[2J x" in out


@pytest.mark.parametrize("text", ["", "the cat", "naïve 🐈 <|user|>\n", " "])
def test_tokenize_json_holds_every_byte(cli, pico, text: str) -> None:
    status, out, err = cli("tokenize", "--json", text)
    tokens = objects(out)
    assert (status, err) == (0, "")
    assert b"".join(bytes(token["bytes"]) for token in tokens) == text.encode()
    assert [token["id"] for token in tokens] == pico.tokenizer.encode(text)


def test_tokenize_table_and_ways_to_give_the_text(cli) -> None:
    _, table, _ = cli("tokenize", "é the")
    assert "'\N{REPLACEMENT CHARACTER}'" in table and "c3" in table
    assert table.splitlines()[-1].startswith("3 tokens, 6 bytes")
    assert cli("tokenize", "-p", "é the")[1] == table
    assert cli("tokenize", "-", stdin="é the")[1] == table
    assert cli("tokenize", "-", stdin="é the\n")[1] != table  # every character counts here


# --- bench ------------------------------------------------------------------------------------


@pytest.fixture
def quick_bench(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(measure, "PREFILL_ROUNDS", 1)
    memory = {"resident_bytes": 3_000_000, "resident_before_bytes": 1_000_000, "device_bytes": None}
    monkeypatch.setattr(measure, "measure_memory", lambda source, device: memory)


def test_bench_measures_all_checkpoints(cli, quick_bench: None) -> None:
    status, out, err = cli("bench", "--json", "-d", "cpu")
    assert status == 0 and err.startswith("Measuring talker, writer ...\n")
    found = objects(out)
    assert [result["model"] for result in found] == ["talker", "writer"]
    for result in found:
        assert result["device"] == "cpu" and result["threads"] == torch.get_num_threads()
        assert result["prefill_seconds"]["16"] > 0
        assert result["prefill_seconds"]["128"] is result["prefill_seconds"]["250"] is None
        assert result["decode_tokens_per_second"] > 0 and result["traced_tokens_per_second"] > 0
        assert result["spread"] >= 1


def test_bench_of_sizes_prints_a_table_and_a_picture(
    cli, quick_bench: None, tmp_path: Path
) -> None:
    picture = tmp_path / "speed.png"
    status, out, err = cli("bench", "--sizes", "small", "-d", "both", "--plot", str(picture))
    assert status == 0 and "small" in out and "3.0 MB" in out
    assert f"CPU threads: {torch.get_num_threads()}" in out
    assert picture.read_bytes().startswith(b"\x89PNG")
    if torch.cuda.is_available():
        assert "CUDA against CPU" in out
    else:
        assert "There is no CUDA device on this machine, so only the CPU is shown.\n" in err


def test_bench_compares_cpu_and_cuda() -> None:
    from picogpt.cli.bench import _report

    cpu = {
        "model": "fast", "device": "cpu", "device_name": "a CPU", "threads": 2, "parameters": 9,
        "prefill_seconds": {"16": 0.004, "128": 0.010, "250": None},
        "decode_tokens_per_second": 500.0, "traced_tokens_per_second": 400.0,
        "resident_bytes": 2_000_000, "resident_before_bytes": None, "device_bytes": None,
    }  # fmt: skip
    cuda = cpu | {
        "device": "cuda", "device_name": "a GPU", "traced_tokens_per_second": 200.0,
        "prefill_seconds": {"16": 0.002, "128": 0.002, "250": None},
    }  # fmt: skip
    lines = _report([cpu, cuda]).splitlines()
    (compared,) = [line for line in lines if line.startswith("fast") and "x " in line]
    assert compared.split("  ")[0] == "fast"
    assert [cell.strip() for cell in compared[4:].split("  ") if cell.strip()] == [
        "x 2.00", "x 5.00", "-", "x 1.00", "x 0.50"
    ]  # fmt: skip
    assert "CUDA against CPU" not in _report([cpu])


def test_bench_with_nothing_to_measure(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["bench", "--checkpoints", str(tmp_path / "none")]) == 2
    out, err = capsys.readouterr()
    assert out == "" and "--sizes" in err


def test_memory_is_measured_in_a_process_of_its_own(checkpoints: Path) -> None:
    found = measure.measure_memory(measure.Source("talker", str(checkpoints / "talker")), "cpu")
    assert found.keys() == {"resident_bytes", "resident_before_bytes", "device_bytes"}
    if hardware.resident_bytes() is not None:
        assert found["resident_bytes"] >= found["resident_before_bytes"] > 1_000_000


def test_memory_that_cannot_be_measured_is_none(checkpoints: Path) -> None:
    found = measure.measure_memory(measure.Source("x", str(checkpoints / "missing")), "cpu")
    assert set(found.values()) == {None}


def test_plot_needs_matplotlib(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(plot.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(PicoGPTError, match="pip install matplotlib"):
        plot.check_plot(str(tmp_path / "a.png"))


# --- mistakes ---------------------------------------------------------------------------------

MISTAKES = [
    (["generate", "-T", "abc"], ["temperature", "'abc'", "0 to 10"]),
    (["generate", "-T", "-1"], ["temperature", "-1", "0 to 10"]),
    (["generate", "-T", "nan"], ["temperature", "nan"]),
    (["generate", "-T"], ["temperature", "needs a value"]),
    (["generate", "-k", "2.5"], ["top_k", "2.5", "whole number"]),
    (["generate", "--top_k", "-3"], ["top_k", "-3"]),
    (["generate", "--top-p", "0"], ["top_p", "0", "above 0"]),
    (["generate", "--min-p", "2"], ["min_p", "2"]),
    (["generate", "--repetition-penalty", "0.5"], ["repetition_penalty", "0.5"]),
    (["generate", "--seed", "-1"], ["seed", "-1"]),
    (["generate", "-t", "-5"], ["max_tokens", "-5", "1,000,000"]),
    (["generate", "-t", "many"], ["max_tokens", "'many'"]),
    (["generate", "--max_tokens", "1e9"], ["max_tokens", "1000000000"]),
    (["generate", "-d", "tpu"], ["device", "'tpu'", "cpu"]),
    (["generate", "-d", "cpu:x"], ["device", "'cpu:x'"]),
    (["generate", "-m", "nobody"], ["'nobody'", "talker, writer"]),
    (["generate", "-m", "./nobody"], ["'./nobody'"]),
    (["generate", "-m", "writer"], ["prompt", "empty"]),
    (["generate", "-m", "writer", "-p", "€"], ["'€'", "U+20AC"]),
    (["generate", "--temp", "1"], ["--temp", "--help"]),
    (["generate", "--json=1"], ["--json", "takes no value"]),
    (["chat", "-p", " "], ["message", "empty"]),
    (["chat", "-k", "x"], ["top_k", "'x'"]),
    (["info", "-m", "nobody"], ["'nobody'"]),
    (["info", "extra"], ["'extra'"]),
    (["tokenize"], ["-p", "standard input"]),
    (["tokenize", "a", "-p", "b"], ["one text"]),
    (["tokenize", "-m", "nobody", "a"], ["'nobody'"]),
    (["bench", "--sizes", "small,huge"], ["'huge'", "small, basic"]),
    (["bench", "nobody"], ["'nobody'"]),
    (["bench", "talker", "--sizes", "small"], ["one of the two"]),
    (["bench", "--plot", "a.doc"], [".png", "'a.doc'"]),
    (["bench", "--plot", "/no/such/folder/a.png"], ["'/no/such/folder'"]),
    (["bench", "-d", "gpu"], ["device", "'gpu'"]),
    (["bench", "talker", "-d", "meta"], ["device", "'meta'"]),
]


@pytest.mark.parametrize(("argv", "named"), MISTAKES, ids=[" ".join(a) for a, _ in MISTAKES])
def test_a_mistake_is_one_plain_line(cli, argv: list[str], named: list[str]) -> None:
    status, out, err = cli(*argv)
    assert (status, out) == (2, "")
    assert err.endswith("\n") and err.count("\n") == 1
    assert all(word in err for word in named), err
    assert not any(word in err for word in ("Traceback", "usage:", "argument -"))


@pytest.mark.parametrize("argv", [[], ["sing"]])
def test_a_command_that_is_missing_or_unknown(
    argv: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(argv) == 2
    out, err = capsys.readouterr()
    assert out == "" and err.count("\n") == 1 and "ommand" in err.replace("COMMAND", "command")


def test_a_damaged_checkpoint(cli, checkpoints: Path, tmp_path: Path) -> None:
    folder = tmp_path / "damaged"
    folder.mkdir()
    for path in (checkpoints / "talker").iterdir():
        (folder / path.name).write_bytes(path.read_bytes())
    weights = folder / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-1] + b"?")
    status, out, err = cli("generate", "-m", str(folder), "-p", "x")
    assert (status, out) == (2, "") and "model.safetensors is damaged" in err


@pytest.mark.parametrize("command", ["generate", "chat", "info", "tokenize", "bench"])
def test_help(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([command, "--help"]) == 0
    out, err = capsys.readouterr()
    assert err == "" and "Example: python -m picogpt" in out
    assert "--top_k" not in out and "==SUPPRESS==" not in out


def test_interrupt_and_closed_pipe_end_quietly(capsys: pytest.CaptureFixture[str]) -> None:
    def interrupted() -> int:
        raise KeyboardInterrupt

    assert common.guarded(interrupted) == 130
    assert capsys.readouterr() == ("", "")


def test_control_characters_do_not_reach_a_terminal() -> None:
    assert common.printable("a\x1b[2J\tb\n\r") == "a\ufffd[2J\tb\n\ufffd"


@pytest.mark.parametrize(
    ("count", "text"),
    [(999, "999 bytes"), (1000, "1.0 kB"), (999_949, "999.9 kB"), (999_950, "1.0 MB"),
     (2_621_440, "2.6 MB"), (1_500_000_000, "1.5 GB")],
)  # fmt: skip
def test_bytes_text(count: int, text: str) -> None:
    assert common.bytes_text(count) == text


# --- real processes ---------------------------------------------------------------------------


def start(checkpoints: Path, *argv: str, **settings: object) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-m", "picogpt", argv[0], "-m", str(checkpoints / "talker")]
    pipes = dict.fromkeys(("stdin", "stdout", "stderr"), subprocess.PIPE)
    return subprocess.Popen([*command, *argv[1:]], cwd=ROOT, **(pipes | settings))


def let_ctrl_c_through() -> None:
    """Undo what a shell does to what it runs in the background: SIGINT is ignored there."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


def test_exit_status_and_streams_of_a_process(checkpoints: Path) -> None:
    process = start(checkpoints, "generate", "-T", "abc")
    out, err = process.communicate(timeout=60)
    assert (process.returncode, out) == (2, b"")
    assert err.decode().splitlines() == [
        "temperature is a number from 0 to 10; 'abc' is not. Choose one in that range."
    ]


@posix_only
def test_broken_pipe_ends_quietly(checkpoints: Path) -> None:
    process = start(checkpoints, "generate", "-p", "the", "-t", "100000", "-T", "5", "--json")
    assert process.stdout.readline().startswith(b"{")
    process.stdout.close()
    assert process.wait(timeout=60) == 0
    assert process.stderr.read() == b""
    process.stdin.close()
    process.stderr.close()


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no /dev/full")
def test_a_full_disk_is_one_plain_line(checkpoints: Path) -> None:
    with open("/dev/full", "wb") as full:
        process = start(checkpoints, "tokenize", "the cat", stdout=full)
        _, err = process.communicate(timeout=60)
    assert process.returncode == 2
    assert err.decode().startswith("Reading or writing failed: ") and err.count(b"\n") == 1


@posix_only
def test_ctrl_c_ends_quietly(checkpoints: Path) -> None:
    process = start(
        checkpoints, "generate", "-p", "the", "-t", "100000", "-T", "5", "--json",
        preexec_fn=let_ctrl_c_through,
    )  # fmt: skip
    assert process.stdout.readline().startswith(b"{")
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=60)
    assert (process.returncode, err) == (130, b"")


@posix_only
def test_chat_on_a_terminal(checkpoints: Path) -> None:
    import pty

    ours, theirs = pty.openpty()
    streams = dict.fromkeys(("stdin", "stdout", "stderr"), theirs)
    process = start(checkpoints, "chat", "-t", "3", "-T", "0", **streams)
    os.close(theirs)
    try:
        shown = _read_until(ours, b"you> ")
        assert b"Talking to talker" in shown
        os.write(ours, b"hello\n")
        shown = _read_until(ours, b"you> ")
        assert b"talker> " in shown
        os.write(ours, b"/quit\n")
        assert process.wait(timeout=60) == 0
    finally:
        process.kill()
        os.close(ours)


def _read_until(handle: int, mark: bytes) -> bytes:
    seen = b""
    while not seen.endswith(mark):
        seen += os.read(handle, 4096)
    return seen
