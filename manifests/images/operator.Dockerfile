# The operator's image: the control plane that acts in a cluster, without models, Ray or a training stack. Build context: the root.
FROM python:3.11-slim-bookworm AS build
WORKDIR /src
COPY requirements/uv.txt requirements/operator.txt requirements/
RUN python -m pip install --no-cache-dir --disable-pip-version-check --require-hashes -r requirements/uv.txt \
 && python -m venv --without-pip /opt/vedette \
 && uv pip sync --no-cache --python /opt/vedette/bin/python --compile-bytecode --require-hashes requirements/operator.txt
COPY operators /opt/vedette/app/operators
COPY serving /opt/vedette/app/serving
COPY lifecycle /opt/vedette/app/lifecycle
RUN /opt/vedette/bin/python -m compileall -q /opt/vedette/app

FROM python:3.11-slim-bookworm
RUN useradd --uid 10001 --user-group --no-create-home --home-dir /tmp vedette
COPY --from=build /opt/vedette /opt/vedette
ENV PATH=/opt/vedette/bin:$PATH \
    PYTHONPATH=/opt/vedette/app \
    PYTHONDONTWRITEBYTECODE=1 \
    PYTHONUNBUFFERED=1
WORKDIR /opt/vedette/app
USER 10001:10001
EXPOSE 8090 9443
CMD ["python", "-m", "operators.handlers.main"]
