"""Pico-GPT Playground in the browser: flags -> services -> launch."""

from __future__ import annotations

import argparse
import os
import socket
import sys

from picogpt.errors import PicoGPTError


def parse_flags(argv: list[str] | None = None) -> argparse.Namespace:
    """The command line's flags."""
    parser = argparse.ArgumentParser(description="Talk to, look inside and train a small GPT.")
    add = parser.add_argument
    add("--model", default="", help="model to open with (default: pico-chat)")
    add("--device", default="auto", help="auto, cpu, cuda or mps")
    add("--host", default="0.0.0.0" if os.environ.get("SPACE_ID") else "127.0.0.1")
    add("--port", type=int, default=7860)
    add("--allow-host", action="append", default=[], metavar="NAME",
        help="a further host name under which people reach this server")  # fmt: skip
    add("--checkpoints", default="checkpoints", metavar="DIR")
    add("--corpora", default="corpora", metavar="DIR")
    add("--auth", default="", metavar="USER:PASS", help="ask every visitor for this")
    return parser.parse_args(argv)


def port_is_free(host: str, port: int) -> bool:
    """Whether nobody listens there."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError:
            return False
    return True


def main(argv: list[str] | None = None) -> int:
    """Serve until interrupted; returns the exit status."""
    flags = parse_flags(argv)
    user, _, password = flags.auth.partition(":")
    try:
        if flags.auth and not (user and password):
            raise PicoGPTError("--auth is USER:PASS; one of the two is empty. Give both.")
        if not port_is_free(flags.host, flags.port):
            raise PicoGPTError(
                f"Port {flags.port} on {flags.host} is taken. Choose another with --port."
            )
        from playground.build import build_app, launch
        from playground.services import make_services

        services = make_services(flags.checkpoints, flags.corpora, flags.device, flags.model)
        auth = (user, password) if flags.auth else None
        launch(build_app(services), flags.host, flags.port, flags.allow_host, auth)
    except PicoGPTError as error:
        print(error, file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
