"""What a run or a measurement ran on. Needs nothing but the standard library."""

import contextlib
import os
import platform
from pathlib import Path


def machine() -> dict:
    """What a run ran on: processor (x86's with family and model: one name stands for several generations), cores this
    process may use, memory in GiB, system."""
    processor, info = platform.processor() or platform.machine(), {}
    with contextlib.suppress(OSError):
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            name, _, value = line.partition(":")
            info.setdefault(name.strip(), value.strip())
    processor = info.get("model name", processor)
    if "cpu family" in info:
        processor += f" (family {info['cpu family']}, model {info['model']})"
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    return {"processor": processor, "cores": cores, "memory_gib": round(memory), "system": platform.system()}


def multiplies_bfloat16(cpuinfo: Path = Path("/proc/cpuinfo")) -> bool:
    """Whether TensorFlow has fast operations for bfloat16 on this processor; False where that is not known.

    oneDNN has them for AVX-512 and AVX-NE-CONVERT, and for ARM's bf16. Elsewhere a convolution of bfloat16 takes about
    ten times as long as one of float32.
    """
    try:
        lines = cpuinfo.read_text().splitlines()
    except OSError:
        return False
    flags = {flag for line in lines if line.lower().startswith(("flags", "features")) for flag in line.split()}
    return bool(flags & {"avx512f", "avx_ne_convert", "bf16"})
