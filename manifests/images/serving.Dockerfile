# The serving image: the data plane and nothing else. Build context: the repository's root.
# KubeRay gives the command (`ray start ...`, in bash), KServe starts the one below, stream workers run
# `python -m serving.launch.stream`. Nothing is installed or compiled at start-up.
# By digest or from another registry: --build-arg PYTHON=REGISTRY/python@sha256:...
ARG PYTHON=python:3.11-slim-bookworm

FROM ${PYTHON} AS build
WORKDIR /src
ARG PIP_INDEX_URL
ARG UV_DEFAULT_INDEX
COPY requirements/uv.txt requirements/serving.txt requirements/
RUN --mount=type=cache,target=/root/.cache/uv \
    python -m pip install --no-cache-dir --disable-pip-version-check --require-hashes -r requirements/uv.txt \
 && python -m venv --without-pip /opt/vedette \
 && uv pip sync --python /opt/vedette/bin/python --link-mode copy --compile-bytecode --require-hashes requirements/serving.txt
COPY serving /opt/vedette/app/serving
COPY feature_repo /opt/vedette/app/feature_repo
RUN python -m compileall -q --invalidation-mode unchecked-hash /opt/vedette/app

FROM ${PYTHON}
RUN useradd --uid 10001 --user-group --no-create-home --home-dir /tmp vedette \
 && install -d -o vedette -g vedette /var/lib/vedette
COPY --from=build /opt/vedette /opt/vedette
ENV PATH=/opt/vedette/bin:$PATH \
    PYTHONPATH=/opt/vedette/app \
    PYTHONDONTWRITEBYTECODE=1 \
    PYTHONUNBUFFERED=1 \
    HOME=/tmp \
    RAY_USAGE_STATS_ENABLED=0 \
    ORT_DISABLE_TELEMETRY=1 \
    RAY_worker_niceness=0 \
    VEDETTE_HOST=0.0.0.0 \
    VEDETTE_STORE_DIR=/var/lib/vedette
WORKDIR /opt/vedette/app
USER 10001:10001
EXPOSE 8080 8081
ARG PYTHON
ARG VERSION=0.1.0
ARG REVISION=unknown
LABEL org.opencontainers.image.title="Vedette serving" \
      org.opencontainers.image.description="Answers requests: models, features, rules, the prediction log" \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.version="$VERSION" \
      org.opencontainers.image.revision="$REVISION" \
      org.opencontainers.image.base.name="$PYTHON"
CMD ["python", "-m", "serving.launch.pod"]
