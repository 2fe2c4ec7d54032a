"""Preloaded by the workers of the tests' cluster: a stand-in for the network, and files that bring a worker down."""

import os
import signal

from dustd.cluster import tasks
from dustd.detector import model
from tests.dips import SURE, Dips

_see = getattr(tasks.see, "plain", tasks.see)  # it may be preloaded twice


def see(terms, known, task):
    if "POISON" in task.job.source.name:
        os.kill(os.getpid(), signal.SIGKILL)
    return _see(terms, known, task)


model.load_detector = lambda *_, **__: Dips(SURE)
see.plain, tasks.see = _see, see
