# The lifecycle image: the command line with everything that makes, judges and watches models. The monitor, the label server and the sinks run it. Build context: the root.
FROM python:3.11-slim-bookworm AS build
WORKDIR /src
COPY requirements/uv.txt requirements/operators.txt requirements/
RUN python -m pip install --no-cache-dir --disable-pip-version-check --require-hashes -r requirements/uv.txt \
 && python -m venv --without-pip /opt/vedette \
 && uv pip sync --no-cache --python /opt/vedette/bin/python --compile-bytecode --require-hashes requirements/operators.txt
COPY serving /opt/vedette/app/serving
COPY feature_repo /opt/vedette/app/feature_repo
COPY lifecycle /opt/vedette/app/lifecycle
COPY operators /opt/vedette/app/operators
RUN /opt/vedette/bin/python -m compileall -q /opt/vedette/app

FROM python:3.11-slim-bookworm
RUN useradd --uid 10001 --user-group --no-create-home --home-dir /tmp vedette \
 && install -d -o vedette -g vedette /var/lib/vedette
COPY --from=build /opt/vedette /opt/vedette
ENV PATH=/opt/vedette/bin:$PATH \
    PYTHONPATH=/opt/vedette/app \
    PYTHONDONTWRITEBYTECODE=1 \
    PYTHONUNBUFFERED=1 \
    VEDETTE_STORE_DIR=/var/lib/vedette
WORKDIR /opt/vedette/app
USER 10001:10001
EXPOSE 9105
CMD ["python", "-m", "operators.cli.main", "monitor"]
