# SPDX-License-Identifier: MIT
"""How gunicorn serves the Playground. Settings come from the environment; README.md lists them."""

import os
import pathlib
import resource

from playground import kernel, metrics
from playground.app import Settings

# In a pod the runs have the service's user. Where the kernel has no Landlock, this alone keeps them from the
# memory, the environment and the descriptors of gunicorn's processes.
kernel.prctl(kernel.PR_SET_DUMPABLE, 0)

_settings = Settings(os.environ)
_board = metrics.Board()  # Made here, before the workers are forked, so that they share it.

wsgi_app = "playground.app:create_app()"
chdir = str(pathlib.Path(__file__).parent)
bind = os.environ.get("PLAYGROUND_BIND") or "127.0.0.1:8001"
proc_name = "playground"

# The sync worker closes each connection after one answer. The gthread worker keeps them, and an idle one
# holds no thread, so a front end's pool of connections lives. Such a pool seldom keeps one idle for 75 s.
# Ours is gthread with bounds on how long a client may hold a thread.
worker_class = "playground.worker.Worker"
keepalive = 75
workers = int(os.environ.get("WEB_CONCURRENCY") or 2)
# A thread for each run and each waiting request, and some that stay free to say "healthy" or "busy" at once.
threads = _settings.runs + _settings.queue + 8

# Of a worker's descriptors each run needs some, the worker itself some, each connection one. Nobody's share may be
# taken by connections that are idle.
_others = 64 + 8 * _settings.runs
_descriptors, _most = resource.getrlimit(resource.RLIMIT_NOFILE)
_descriptors = max(_descriptors, min(_most, _others + threads + 1000))
resource.setrlimit(resource.RLIMIT_NOFILE, (_descriptors, _most))
worker_connections = threads + max(1, min(1000, _descriptors - _others - threads))

timeout = 30
graceful_timeout = 15  # A run and its wait in the queue fit, with the default limits.
worker_tmp_dir = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None


def pre_fork(_, worker):
    metrics.shared = metrics.Metrics(_board, worker.age)


def child_exit(_, worker):
    _board.forget_in_flight(worker.age)
