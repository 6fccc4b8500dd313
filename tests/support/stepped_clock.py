"""A clock on the wall that a test sets, for Python programs that it starts; their monotonic clocks go on as ever."""

import os
from pathlib import Path

PATCH = '''"""Python looks for this module when it starts: the clock on the wall is what a file says it is off by."""
import os, time
def stepped(true=time.time):
    with open(os.environ["CLOCK_STEP"]) as file:
        return true() + float(file.read() or 0)
time.time = stepped
'''


class SteppedClock:
    """The clock of all programs that are started with its ``environment``; ``folder`` is nobody else's."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "sitecustomize.py").write_text(PATCH)
        self._step = folder / "step"
        path = os.pathsep.join([str(folder), *os.environ.get("PYTHONPATH", "").split(os.pathsep)])
        self.environment = {"PYTHONPATH": path, "CLOCK_STEP": str(self._step)}
        self.set(0.0)

    def set(self, seconds: float) -> None:
        """Have it go ``seconds`` ahead of the true one; negative: behind."""
        fresh = self._step.with_name("fresh step")
        fresh.write_text(str(seconds))
        fresh.replace(self._step)
