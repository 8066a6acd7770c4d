# The lifecycle image: the command line with everything that makes, judges and watches models. The monitor, the label server, the sinks
# and batch jobs run it. Build context: the repository's root.
# By digest or from another registry: --build-arg PYTHON=REGISTRY/python@sha256:...
ARG PYTHON=python:3.11-slim-bookworm

FROM ${PYTHON} AS build
WORKDIR /src
ARG PIP_INDEX_URL
ARG UV_DEFAULT_INDEX
COPY requirements/uv.txt requirements/operators.txt requirements/
RUN --mount=type=cache,target=/root/.cache/uv \
    python -m pip install --no-cache-dir --disable-pip-version-check --require-hashes -r requirements/uv.txt \
 && python -m venv --without-pip /opt/vedette \
 && uv pip sync --python /opt/vedette/bin/python --link-mode copy --compile-bytecode --require-hashes requirements/operators.txt
COPY serving /opt/vedette/app/serving
COPY feature_repo /opt/vedette/app/feature_repo
COPY lifecycle /opt/vedette/app/lifecycle
COPY operators /opt/vedette/app/operators
RUN python -m compileall -q --invalidation-mode unchecked-hash /opt/vedette/app

FROM ${PYTHON}
# LightGBM's wheel lacks the OpenMP runtime, and so does the base. Debian keeps one version of it: none is named.
# hadolint ignore=DL3008
RUN apt-get update \
 && apt-get install --no-install-recommends --yes libgomp1 \
 && rm -rf /var/lib/apt/lists/* \
 && useradd --uid 10001 --user-group --no-create-home --home-dir /tmp vedette \
 && install -d -o vedette -g vedette /var/lib/vedette
COPY --from=build /opt/vedette /opt/vedette
ENV PATH=/opt/vedette/bin:$PATH \
    PYTHONPATH=/opt/vedette/app \
    PYTHONDONTWRITEBYTECODE=1 \
    PYTHONUNBUFFERED=1 \
    HOME=/tmp \
    RAY_USAGE_STATS_ENABLED=0 \
    ORT_DISABLE_TELEMETRY=1 \
    VEDETTE_STORE_DIR=/var/lib/vedette
WORKDIR /opt/vedette/app
USER 10001:10001
EXPOSE 9105
ARG PYTHON
ARG VERSION=0.1.0
ARG REVISION=unknown
LABEL org.opencontainers.image.title="Vedette lifecycle" \
      org.opencontainers.image.description="The vedette command: training, evaluation, drift, labels, sinks, batch jobs" \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.version="$VERSION" \
      org.opencontainers.image.revision="$REVISION" \
      org.opencontainers.image.base.name="$PYTHON"
CMD ["python", "-m", "operators.cli.main", "monitor"]
