# SPDX-License-Identifier: MIT
"""The submitter: a process of its own that sends code to be run through the front end, and checks every answer.

usage: python3 -m rehearsal.load HOST PORT WORKERS
Standard input: a line "RATE" sets how many requests begin each second; its end stops all. Standard output: a
line for each request, when it has ended; see Record.

The load is open: requests begin when their time has come, whether others have been answered or not. Only when
all workers wait for answers the next request waits too, and then counts as late. Every second worker keeps its
connection, the others open one for each request.
"""
import collections
import http.client
import json
import random
import sys
import threading
import time

TIMEOUT_S = 90  # above all deadlines of the front end
FIELDS = "begun late_s seconds status backend fault"


class Record(collections.namedtuple("Record", FIELDS)):
    """One request. begun: by the monotonic clock. late_s: how long it waited for a worker. status: 0 without an
    answer. backend: the X-Backend field, "CLOUD.POD". fault: "" when all was well, otherwise what was not."""

    def line(self):
        return f"{self.begun:.4f}\t{self.late_s:.4f}\t{self.seconds:.4f}\t{self.status}\t{self.backend}\t{self.fault}"

    @classmethod
    def of_line(cls, line):
        begun, late_s, seconds, status, backend, fault = line.rstrip("\n").split("\t")
        return cls(float(begun), float(late_s), float(seconds), int(status), backend, fault)

    @property
    def cloud(self):
        return self.backend.partition(".")[0]

    @property
    def ended(self):
        return self.begun + self.seconds


class Arrivals:
    """When requests begin: evenly, at a rate that may change at any time. Any thread may call."""

    def __init__(self, now):
        self._lock = threading.Lock()
        self._rate = 0.0
        self._next = now
        self._changed = threading.Condition(self._lock)
        self._stopped = False

    def set_rate(self, rate, now):
        with self._changed:
            if self._rate <= 0:
                self._next = now
            self._rate = rate
            self._next = min(self._next, now + (1 / rate if rate > 0 else 0))
            self._changed.notify_all()

    def stop(self):
        with self._changed:
            self._stopped = True
            self._changed.notify_all()

    def take(self, clock=time.monotonic):
        """Waits for the next arrival and returns its time; None after stop(). A backlog is not made up for: what
        could not begin within a second is left out, so that a pause is no burst."""
        with self._changed:
            while not self._stopped:
                now = clock()
                if self._rate <= 0:
                    self._changed.wait()
                elif self._next > now:
                    self._changed.wait(self._next - now)
                else:
                    due = max(self._next, now - 1)
                    self._next = due + 1 / self._rate
                    return due
        return None


def sum_of_squares(chance):
    count = chance.randrange(5000, 15000)
    return f"print(sum(i * i for i in range({count})))", f"{(count - 1) * count * (2 * count - 1) // 6}\n", 0


def words(chance):
    text = "".join(chance.choice("abcdeäöü✓ ") for _ in range(40))
    return f"import sys\nprint({text!r}[::-1], file=sys.stdout)", text[::-1] + "\n", 0


def failing(chance):
    status = chance.randrange(1, 100)
    return f"import sys\nprint('before the end')\nsys.exit({status})", "before the end\n", status


def question(chance):
    """(code, what it prints, its exit status). The answer is worked out here, without running the code."""
    return chance.choice((sum_of_squares, sum_of_squares, words, failing))(chance)


def fault_of(status, body, expected, exit_code):
    """What is wrong with an answer, or ""."""
    if status != 200:
        return f"status {status}: {body[:200]!r}"
    try:
        answer = json.loads(body)
    except ValueError:
        return f"not JSON: {body[:200]!r}"
    if not isinstance(answer, dict) or answer.get("stdout") != expected or answer.get("exit_code") != exit_code:
        return f"wrong answer: {body[:200]!r}"
    return ""


class Worker:
    def __init__(self, host, port, keeps, seed):
        self._host, self._port, self._keeps = host, port, keeps
        self._chance = random.Random(seed)
        self._connection = None

    def ask(self, due):
        """Sends one request and judges its answer."""
        code, expected, exit_code = question(self._chance)
        begun = time.monotonic()
        status, backend = 0, ""
        try:
            if self._connection is None:
                self._connection = http.client.HTTPConnection(self._host, self._port, timeout=TIMEOUT_S)
            fields = {"Content-Type": "application/json"}
            if not self._keeps:
                fields["Connection"] = "close"
            self._connection.request("POST", "/py/eval", json.dumps({"code": code}), fields)
            response = self._connection.getresponse()
            body = response.read()
            status, backend = response.status, response.headers.get("X-Backend", "")
            fault = fault_of(status, body, expected, exit_code)
        except (OSError, http.client.HTTPException) as error:
            fault = f"{type(error).__name__}: {error}"
        if fault or not self._keeps:
            self._connection.close()
            self._connection = None
        fault = fault.replace("\t", " ").replace("\n", " ")
        return Record(begun, max(0.0, begun - due), time.monotonic() - begun, status, backend, fault)


def main(host, port, workers):
    arrivals = Arrivals(time.monotonic())
    output = threading.Lock()

    def work(number):
        worker = Worker(host, int(port), number % 2 == 0, number)
        while (due := arrivals.take()) is not None:
            record = worker.ask(due)
            with output:
                print(record.line(), flush=True)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(int(workers))]
    for thread in threads:
        thread.start()
    for line in sys.stdin:
        arrivals.set_rate(float(line), time.monotonic())
    arrivals.stop()
    for thread in threads:
        thread.join()


if __name__ == "__main__":
    main(*sys.argv[1:])
