"""Imitate a CUDA graph on a CPU: log what a work does once, and do that again without the work's own code.

As on a GPU, a replay reads the same memory and writes the same memory: it runs no line of Python of what was recorded but
operators of torch and, in Triton's interpreter, kernels. Unlike there, the work is done when it is recorded, too.
"""

from contextlib import ExitStack, contextmanager
from functools import partial
from unittest.mock import patch

import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from bart import dispatch
from bart.gpu_kernels.common import launcher


class Log(TorchDispatchMode):
    """Log the operators of torch and the starts of kernels, with their tensors."""

    def __init__(self):
        super().__init__()
        self.done = []

    def __enter__(self):
        self.launcher = patch.object(launcher, "launch", partial(self._launch, launcher.launch))
        self.launcher.start()
        return super().__enter__()

    def __exit__(self, *error):
        self.launcher.stop()
        return super().__exit__(*error)

    def _launch(self, launch, *arguments, **constants):
        with torch._C._DisableTorchDispatch():  # operators of the interpreter's own
            launch(*arguments, **constants)
        self.done.append(partial(launch, *arguments, **constants))

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        out = func(*args, **(kwargs or {}))
        kept = [t.detach() if isinstance(t, torch.Tensor) else t for t in tree_leaves(out)]

        def again():
            for mine, now in zip(kept, tree_leaves(func(*args, **(kwargs or {}))), strict=True):
                if isinstance(mine, torch.Tensor) and mine.numel() and mine.data_ptr() != now.data_ptr():
                    mine.copy_(now)

        view = any(r.alias_info is not None and not r.alias_info.is_write for r in func._schema.returns)
        if not view and "empty" not in func._schema.name:
            self.done.append(again)
        return out


@contextmanager
def recording():
    """Let tensors on a CPU be recorded; yield the list of what was recorded, to which each replay adds one."""
    replays = []

    def recorded(device, *works, memory=None):
        made = []
        for work in works:
            log = Log()
            with log:
                work()
            replays.append([])

            def replay(done=log.done, count=replays[-1]):
                count.append(1)
                with torch.no_grad(), torch._C._DisableTorchDispatch():  # no operator of the host's
                    for again in done:
                        again()

            made.append(replay)
        return made

    with ExitStack() as stack:
        stack.enter_context(patch("bart.recording.repeated.records", lambda x: True))
        stack.enter_context(patch("bart.recording.watch.records", lambda x: True))
        stack.enter_context(patch("bart.recording.repeated.recorded", recorded))
        try:
            yield replays
        finally:
            with patch("torch.cuda.empty_cache"):
                dispatch.release()
