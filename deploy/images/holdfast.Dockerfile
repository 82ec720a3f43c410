# SPDX-License-Identifier: MIT
# The front end. Two images of one build: "slim" on Debian, with a shell to look around, and "minimal", which has
# the program, the libraries it needs and little else. Both run as uid 10001 on a read-only root.
#
# Made by deploy/images/build; or by hand, from the root of the project:
#   docker build --file deploy/images/holdfast.Dockerfile --target slim --tag holdfast:0.1.0 .
ARG BASE=docker.io/library/debian:bookworm-slim

FROM ${BASE} AS build
ARG SNAPSHOT=
ARG SOURCE_DATE_EPOCH
RUN --mount=type=bind,source=deploy/images/install-packages,target=/install-packages \
    /install-packages gcc libc6-dev cmake make pkg-config libhttp-parser-dev libjansson-dev
WORKDIR /src
COPY CMakeLists.txt ./
COPY cmake cmake/
COPY common common/
COPY healthd healthd/
COPY proxy proxy/
COPY deploy/images/health.c deploy/images/
RUN cmake -S . -B /build -DCMAKE_BUILD_TYPE=Release -DHOLDFAST_TESTS=OFF -DCMAKE_INSTALL_PREFIX=/usr \
    && cmake --build /build --target holdfast --parallel "$(nproc)" \
    && install -D --strip -m 755 /build/holdfast /programs/usr/sbin/holdfast \
    && mkdir -p /programs/usr/bin \
    && gcc -std=c17 -D_GNU_SOURCE -O2 -Wall -Wextra -fstack-protector-strong -Wl,-z,relro,-z,now -s -o /programs/usr/bin/holdfast-health \
        deploy/images/health.c
COPY deploy/images/minimal-root deploy/images/
COPY LICENSE ./
RUN deploy/images/minimal-root /programs /minimal

FROM ${BASE} AS runtime
ARG SNAPSHOT=
ARG SOURCE_DATE_EPOCH
RUN --mount=type=bind,source=deploy/images/install-packages,target=/install-packages \
    /install-packages libhttp-parser2.9 libjansson4

FROM runtime AS slim
COPY --from=build /programs /
COPY LICENSE /usr/share/doc/holdfast/copyright
ARG VERSION=unknown
ARG REVISION=unknown
ARG CREATED=1970-01-01T00:00:00Z
LABEL org.opencontainers.image.title="holdfast" \
      org.opencontainers.image.description="HTTP front end that goes on answering 200 while backends fail" \
      org.opencontainers.image.licenses="MIT" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${REVISION}" \
      org.opencontainers.image.created="${CREATED}"
USER 10001:10001
EXPOSE 8080
# SIGTERM, the default, is a drain. The admin endpoint has a thread of its own, so 3 s are long.
HEALTHCHECK --interval=10s --timeout=3s --start-period=5s --retries=3 \
    CMD ["/usr/bin/holdfast-health", "8081", "/admin/healthz"]
ENTRYPOINT ["/usr/sbin/holdfast"]
# Port 80 needs a privilege that nothing else needs; 8080 needs none. A later --listen replaces this one.
CMD ["--listen=:8080", "--config=/etc/holdfast/holdfast.json"]

FROM scratch AS minimal
COPY --from=build /minimal /
ARG VERSION=unknown
ARG REVISION=unknown
ARG CREATED=1970-01-01T00:00:00Z
LABEL org.opencontainers.image.title="holdfast (minimal)" \
      org.opencontainers.image.description="HTTP front end that goes on answering 200 while backends fail" \
      org.opencontainers.image.licenses="MIT" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${REVISION}" \
      org.opencontainers.image.created="${CREATED}"
USER 10001:10001
EXPOSE 8080
HEALTHCHECK --interval=10s --timeout=3s --start-period=5s --retries=3 \
    CMD ["/usr/bin/holdfast-health", "8081", "/admin/healthz"]
ENTRYPOINT ["/usr/sbin/holdfast"]
CMD ["--listen=:8080", "--config=/etc/holdfast/holdfast.json"]
