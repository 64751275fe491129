"""Reporters of runs for tests."""

from contextlib import nullcontext


class KeptLines:
    """Keep the lines that a run says, in `said`; show nothing."""

    def __init__(self):
        self.said = []

    def watching(self, job, units, workers):
        return nullcontext()

    def say(self, text):
        self.said.append(text)

    def ended(self, units, said):
        pass

    def progress(self, event):
        pass

    def finished(self, event):
        pass

    def failed(self, event):
        pass
