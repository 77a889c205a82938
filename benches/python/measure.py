"""Runs a command and prints what it printed, then the cost of its process: `CPU-microseconds peak-KiB wall-microseconds`.

usage: python measure.py COMMAND [ARGUMENT...]

The peak is at least that of this process: the kernel counts the memory before `exec`.
"""

import os
import subprocess
import sys
import time

began = time.monotonic()
child = subprocess.Popen(sys.argv[1:])
_, status, usage = os.wait4(child.pid, 0)
took = time.monotonic() - began
cpu = usage.ru_utime + usage.ru_stime
print(f"{cpu * 1e6:.0f} {usage.ru_maxrss} {took * 1e6:.0f}")
sys.exit(os.waitstatus_to_exitcode(status))
