# The serving image: the data plane and nothing else. Build context: the repository's root.
# KubeRay gives the command (`ray start ...`, in bash); nothing is installed or compiled at start-up.
FROM python:3.11-slim-bookworm AS build
WORKDIR /src
COPY requirements/uv.txt requirements/serving.txt requirements/
RUN python -m pip install --no-cache-dir --disable-pip-version-check --require-hashes -r requirements/uv.txt \
 && python -m venv --without-pip /opt/vedette \
 && uv pip sync --no-cache --python /opt/vedette/bin/python --compile-bytecode --require-hashes requirements/serving.txt
COPY serving /opt/vedette/app/serving
COPY feature_repo /opt/vedette/app/feature_repo
RUN /opt/vedette/bin/python -m compileall -q /opt/vedette/app

FROM python:3.11-slim-bookworm
RUN useradd --uid 10001 --user-group --no-create-home --home-dir /tmp vedette \
 && install -d -o vedette -g vedette /var/lib/vedette
COPY --from=build /opt/vedette /opt/vedette
ENV PATH=/opt/vedette/bin:$PATH \
    PYTHONPATH=/opt/vedette/app \
    PYTHONDONTWRITEBYTECODE=1 \
    PYTHONUNBUFFERED=1 \
    RAY_USAGE_STATS_ENABLED=0 \
    RAY_worker_niceness=0 \
    VEDETTE_HOST=0.0.0.0 \
    VEDETTE_STORE_DIR=/var/lib/vedette
WORKDIR /opt/vedette/app
USER 10001:10001
EXPOSE 8080 8081
