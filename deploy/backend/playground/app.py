# SPDX-License-Identifier: MIT
"""The HTTP side of the Playground: POST /py/eval, GET /healthz, GET /metrics and the page at GET /."""

import base64
import hashlib
import json
import logging
import math
import os
import pathlib
import re
import socket
import time

import flask
from werkzeug.exceptions import HTTPException, ServiceUnavailable

from playground import metrics as counts
from playground.gate import Full, Gate
from playground.runner import LAYERS, Exhausted, Limits, Runner

MAX_BODY_BYTES = 256 * 1024
PAGE = pathlib.Path(__file__).with_name("page.html")


log = logging.getLogger("playground")


def create_app(environment=None):
    """Makes the application. All settings come from the environment; README.md lists them."""
    settings = Settings(os.environ if environment is None else environment)
    metrics = counts.shared or counts.Metrics()
    runner = Runner(settings.limits, settings.runs, settings.require, zygote_runs=settings.zygote_runs)
    runner.check()
    layers = " ".join(f"{layer}={runner.layers.get(layer, 'none')}" for layer in LAYERS)
    logging.getLogger("gunicorn.error").info("Layers of the sandbox: %s", layers)
    gate = Gate(settings.runs, settings.queue, settings.queue_seconds)
    page = PAGE.read_text(encoding="utf-8")
    page_policy = _page_policy(page)
    app = flask.Flask("playground", static_folder=None)
    app.json.sort_keys = False

    @app.post("/py/eval")
    def evaluate():
        code = _code_of(flask.request)
        try:
            with gate:
                result = measured(code)
        except Full:
            metrics.rejected()
            raise ServiceUnavailable("too many runs at once, try again soon", retry_after=1)
        except Exhausted as problem:
            metrics.rejected()
            log.warning("A run could not be started: %s", problem)
            raise ServiceUnavailable("no run can be started now, try again soon", retry_after=1)
        return flask.jsonify(
            stdout=result.stdout,
            stderr=result.stderr,
            exit_code=result.exit_code,
            timed_out=result.timed_out,
        )

    def measured(code):
        metrics.began()
        since = time.monotonic()
        ending = "failed"
        try:
            result = runner.run(code)
            ending = counts.outcome(result)
            return result
        finally:
            metrics.ended(ending, time.monotonic() - since)

    @app.get("/metrics")
    def tell_metrics():
        metrics.zygotes(runner.zygotes_started)
        return metrics.text(runner.layers), {"Content-Type": "text/plain; version=0.0.4; charset=utf-8"}

    @app.get("/healthz")
    def healthz():
        return flask.jsonify(status="ok")

    @app.get("/")
    def index():
        return page, {"Content-Type": "text/html; charset=utf-8", "Content-Security-Policy": page_policy}

    @app.errorhandler(HTTPException)
    def error(problem):
        # The exception's own response has the fields that belong to the status, such as Allow. Only the body
        # is ours.
        response = problem.get_response()
        response.data = json.dumps({"error": problem.description})
        response.content_type = "application/json"
        return response

    @app.after_request
    def stamp(response):
        response.headers["X-Backend"] = settings.name
        response.headers["Cache-Control"] = "no-store"
        response.headers["X-Content-Type-Options"] = "nosniff"
        return response

    return app


class Settings:
    """The settings, from environment variables. A wrong one stops the start with a line that names it."""

    def __init__(self, environment):
        def number(name, default, least, kind=int):
            text = environment.get(name, "")
            try:
                value = kind(text) if text else default
            except ValueError:
                value = None
            if value is None or not math.isfinite(value) or value < least:
                raise SystemExit(f"{name}={text}: expected a number, at least {least}")
            return value

        self.name = environment.get("PLAYGROUND_NAME") or socket.gethostname()
        if not re.fullmatch(r"[A-Za-z0-9._-]{1,63}", self.name):
            raise SystemExit(f"PLAYGROUND_NAME={self.name}: expected 1 to 63 of letters, digits, and ._-")
        self.runs = number("PLAYGROUND_RUNS", 16, 1)
        self.queue = number("PLAYGROUND_QUEUE", 48, 0)
        self.queue_seconds = number("PLAYGROUND_QUEUE_SECONDS", 5.0, 0, float)
        self.zygote_runs = number("PLAYGROUND_ZYGOTE_RUNS", 5000, 1)
        self.require = (environment.get("PLAYGROUND_REQUIRE") or "").replace(",", " ").split()
        for layer in self.require:
            if layer not in LAYERS:
                raise SystemExit(f"PLAYGROUND_REQUIRE: {layer} is no layer; there are {' '.join(LAYERS)}")
        self.limits = Limits(
            wall_seconds=number("PLAYGROUND_WALL_SECONDS", Limits.wall_seconds, 0.1, float),
            cpu_seconds=number("PLAYGROUND_CPU_SECONDS", Limits.cpu_seconds, 1),
            memory_bytes=number("PLAYGROUND_MEMORY_MB", Limits.memory_bytes >> 20, 32) << 20,
            processes=number("PLAYGROUND_PROCESSES", Limits.processes, 0),
            file_bytes=number("PLAYGROUND_FILE_KB", Limits.file_bytes >> 10, 1) << 10,
            files=number("PLAYGROUND_FILES", Limits.files, 0),
            open_files=number("PLAYGROUND_OPEN_FILES", Limits.open_files, 16),
            output_bytes=number("PLAYGROUND_OUTPUT_KB", Limits.output_bytes >> 10, 1) << 10,
        )


def _code_of(request):
    """The code in a request. Aborts with 400, 413 or 415 and the reason."""
    # Insisting on the type is also a guard: a page of another site can't send it without asking first (CORS).
    if not request.is_json:
        flask.abort(415, "expected Content-Type: application/json")
    too_large = f"the body is larger than {MAX_BODY_BYTES} bytes"
    if (request.content_length or 0) > MAX_BODY_BYTES:
        flask.abort(413, too_large)
    # A chunked body has no length; Flask's own limit would let it pass.
    body = request.stream.read(MAX_BODY_BYTES + 1)
    if len(body) > MAX_BODY_BYTES:
        flask.abort(413, too_large)
    try:
        message = json.loads(body)
    except (ValueError, RecursionError) as problem:
        # Besides malformed JSON: not UTF-8, a number beyond all measure, nested too deep.
        flask.abort(400, f"the body is not valid JSON: {problem}")
    if not isinstance(message, dict):
        flask.abort(400, 'expected a JSON object such as {"code": "print(1+1)"}')
    if "code" not in message:
        flask.abort(400, 'the field "code" is missing')
    code = message["code"]
    if not isinstance(code, str):
        flask.abort(400, 'the field "code" must be a string')
    try:
        code.encode()
    except UnicodeEncodeError:
        flask.abort(400, 'the field "code" has half of a surrogate pair in it')
    return code


def _page_policy(page):
    """A policy that allows the page its own script and style, known by their hashes, and its own origin."""

    def hashes(tag):
        parts = re.findall(rf"<{tag}>(.*?)</{tag}>", page, re.DOTALL)
        digests = (base64.b64encode(hashlib.sha256(part.encode()).digest()).decode() for part in parts)
        return " ".join(f"'sha256-{digest}'" for digest in digests)

    return (
        f"default-src 'none'; script-src {hashes('script')}; style-src {hashes('style')}; img-src data:; "
        "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    )
