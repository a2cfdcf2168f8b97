"""`python -m trainers PRESET | list | resume NAME | bench`: training in a terminal."""

from __future__ import annotations

import os
import sys

from trainers.cli import main

if __name__ == "__main__":
    status = main()
    sys.stdout.flush()
    sys.stderr.flush()
    # A run that was left in the middle of a step has threads that nothing can unwind.
    os._exit(status)
