# The operator's image: the control plane that acts in a cluster, without models, Ray or a training stack. Build context: the root.
# By digest or from another registry: --build-arg PYTHON=REGISTRY/python@sha256:...
ARG PYTHON=python:3.11-slim-bookworm

FROM ${PYTHON} AS build
WORKDIR /src
ARG PIP_INDEX_URL
ARG UV_DEFAULT_INDEX
COPY requirements/uv.txt requirements/operator.txt requirements/
RUN --mount=type=cache,target=/root/.cache/uv \
    python -m pip install --no-cache-dir --disable-pip-version-check --require-hashes -r requirements/uv.txt \
 && python -m venv --without-pip /opt/vedette \
 && uv pip sync --python /opt/vedette/bin/python --link-mode copy --compile-bytecode --require-hashes requirements/operator.txt
COPY serving /opt/vedette/app/serving
COPY lifecycle /opt/vedette/app/lifecycle
COPY operators /opt/vedette/app/operators
RUN python -m compileall -q --invalidation-mode unchecked-hash /opt/vedette/app

FROM ${PYTHON}
RUN useradd --uid 10001 --user-group --no-create-home --home-dir /tmp vedette
COPY --from=build /opt/vedette /opt/vedette
ENV PATH=/opt/vedette/bin:$PATH \
    PYTHONPATH=/opt/vedette/app \
    PYTHONDONTWRITEBYTECODE=1 \
    PYTHONUNBUFFERED=1 \
    HOME=/tmp
WORKDIR /opt/vedette/app
USER 10001:10001
EXPOSE 8090 9443
ARG PYTHON
ARG VERSION=0.1.0
ARG REVISION=unknown
LABEL org.opencontainers.image.title="Vedette operator" \
      org.opencontainers.image.description="The control plane: rollouts, experiments and autoscaling of ModelServices" \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.version="$VERSION" \
      org.opencontainers.image.revision="$REVISION" \
      org.opencontainers.image.base.name="$PYTHON"
CMD ["python", "-m", "operators.handlers.main"]
