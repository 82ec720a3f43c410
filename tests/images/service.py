# SPDX-License-Identifier: MIT
"""A stand-in for a Kubernetes Service: connections to one address go to ready pods at random.

As with the real one, a pod that goes is still sent connections for a while, and connections that there are stay
where they are, whatever becomes of the pod.
"""
import contextlib
import random
import socket
import threading
import time

PROPAGATION_SECONDS = 1.0  # Until every node knows that a pod has left.


class Service:
    def __init__(self, address, port):
        self._listener = socket.create_server((address, port), backlog=1024)
        self._pods = []
        self._lock = threading.Lock()
        threading.Thread(target=self._accept, daemon=True).start()

    def add(self, *pods):
        with self._lock:
            self._pods += [(pod.address, pod.port) for pod in pods]

    def remove(self, pod):
        """The pod is going: soon, nothing new is sent to it."""
        def later():
            time.sleep(PROPAGATION_SECONDS)
            with self._lock:
                self._pods.remove((pod.address, pod.port))
        threading.Thread(target=later, daemon=True).start()

    def _accept(self):
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            threading.Thread(target=self._serve, args=(client,), daemon=True).start()

    def _serve(self, client):
        with self._lock:
            there = random.choice(self._pods) if self._pods else None
        try:
            pod = socket.create_connection(there, timeout=5) if there else None
        except OSError:
            pod = None
        if pod is None:
            client.close()
            return
        pod.settimeout(None)
        back = threading.Thread(target=_copy, args=(pod, client), daemon=True)
        back.start()
        _copy(client, pod)
        back.join()
        client.close()
        pod.close()

    def close(self):
        self._listener.close()


def _copy(source, target):
    with contextlib.suppress(OSError):
        while data := source.recv(65536):
            target.sendall(data)
    for end, how in ((source, socket.SHUT_RD), (target, socket.SHUT_WR)):
        with contextlib.suppress(OSError):
            end.shutdown(how)
