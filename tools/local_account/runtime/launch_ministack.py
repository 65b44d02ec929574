"""Runs MiniStack, in MiniStack's own interpreter, for as long as whoever started it lives.

Standard input is a pipe that nobody writes to. It ends when the starter closes it or dies, of kill -9 too; then this
process group (the emulator and the workers that run the Lambdas) goes at once. Nothing in it is worth keeping.
"""

import os
import runpy
import shutil
import signal
import sys
import threading

from ministack.services import scheduler  # type: ignore[import-not-found]  # it is in MiniStack's environment


def follow_the_starter(run_directory: str) -> None:
    """Wait for the pipe's end, then remove everything."""
    while sys.stdin.buffer.read(1):
        pass
    shutil.rmtree(run_directory, ignore_errors=True)
    os.killpg(0, signal.SIGKILL)


if __name__ == "__main__":
    threading.Thread(target=follow_the_starter, args=(os.environ["TIDEGATE_RUN_DIRECTORY"],), daemon=True).start()
    scheduler.start_scheduler = lambda: None  # schedules fire in simulated time, and whoever plays it fires them
    runpy.run_module("ministack", run_name="__main__", alter_sys=True)
