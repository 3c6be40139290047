# One image a service: the library and one folder.   docker build --build-arg SERVICE=serving .
# --target platform: the library and all folders, for what needs every manifest (provisioning) and for MLflow.
FROM python:3.11-slim-bookworm AS library
WORKDIR /app
COPY requirements.lock docker/postgresql.lock ./
RUN pip install --no-cache-dir --no-deps --require-hashes -r requirements.lock -r postgresql.lock
COPY schemas/ schemas/
COPY libs/ libs/
COPY services/__init__.py services/
# Pipelines are the users' own: their files describe topics, and training imports their estimators.
COPY pipelines/ pipelines/
ENV PYTHONPATH=/app/libs:/app PYTHONUNBUFFERED=1 HEADRACE_ROOT=/app HEADRACE_HOME=/data
RUN useradd --system --uid 10001 headrace && install -d -o headrace /data
USER 10001
VOLUME /data

FROM library AS platform
COPY services/ services/
CMD ["python", "-c", "from headrace.bus.provision import provision; from headrace.local.settings import Settings; provision(Settings())"]

FROM library AS service
ARG SERVICE
COPY services/${SERVICE}/ services/${SERVICE}/
ENV SERVICE=${SERVICE}
CMD ["sh", "-c", "exec python -m services.$SERVICE"]
