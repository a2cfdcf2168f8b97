"""What this machine is: names of devices, threads, memory in use."""

from __future__ import annotations

import os
import platform
import sys
from pathlib import Path


def threads() -> int:
    """Threads that PyTorch computes with on the CPU."""
    import torch

    return torch.get_num_threads()


def device_name(device: str) -> str:
    """The name its maker gave a device, where the system tells it."""
    import torch

    if device.startswith("cuda"):
        return torch.cuda.get_device_name(device)
    if device == "mps":
        return f"Apple GPU ({platform.machine()})"
    return _cpu_name()


def _cpu_name() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:  # not Linux
        lines = []
    names = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or platform.machine() or "CPU"


def resident_bytes() -> int | None:
    """Memory this process holds in RAM; on macOS its peak; None where nothing tells it."""
    try:
        pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1])
        return pages * os.sysconf("SC_PAGE_SIZE")
    except OSError:  # not Linux
        pass
    if sys.platform == "win32":
        return None
    import resource

    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024
