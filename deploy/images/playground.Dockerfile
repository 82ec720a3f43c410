# SPDX-License-Identifier: MIT
# The Playground backend: Debian's Flask and gunicorn, uid 10002, read-only root, work folders in /tmp.
#
# Made by deploy/images/build; or by hand, from the root of the project:
#   docker build --file deploy/images/playground.Dockerfile --tag playground:0.1.0 .
ARG BASE=docker.io/library/debian:bookworm-slim

FROM ${BASE} AS runtime
ARG SNAPSHOT=
# Python compiles the packages' modules here. With SOURCE_DATE_EPOCH in its environment it marks them with hashes
# of their sources, not with times: those change when the layer is written, and all modules would be compiled
# anew at each start.
ARG SOURCE_DATE_EPOCH
RUN --mount=type=bind,source=deploy/images/install-packages,target=/install-packages \
    SOURCE_DATE_EPOCH="${SOURCE_DATE_EPOCH:-0}" /install-packages python3-flask gunicorn python3-seccomp

FROM runtime AS playground
COPY deploy/backend /opt/playground
RUN /usr/bin/python3 -m compileall -q --invalidation-mode unchecked-hash /opt/playground
COPY LICENSE /usr/share/doc/playground/copyright
ARG VERSION=unknown
ARG REVISION=unknown
ARG CREATED=1970-01-01T00:00:00Z
LABEL org.opencontainers.image.title="playground" \
      org.opencontainers.image.description="Runs a piece of Python and returns what it printed" \
      org.opencontainers.image.licenses="MIT" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${REVISION}" \
      org.opencontainers.image.created="${CREATED}"
ENV PLAYGROUND_BIND=0.0.0.0:8000
USER 10002:10002
EXPOSE 8000
HEALTHCHECK --interval=10s --timeout=5s --start-period=10s --retries=3 \
    CMD ["/usr/bin/python3", "-I", "-S", "-c", "import http.client as h; c = h.HTTPConnection('127.0.0.1', 8000, timeout=4); c.request('GET', '/healthz'); raise SystemExit(c.getresponse().status != 200)"]
ENTRYPOINT ["/opt/playground/run"]
