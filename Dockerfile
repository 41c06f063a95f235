# docker build -t sedge . && docker run --rm -v "$PWD:/data" sedge --help
FROM debian:bookworm-slim AS build
WORKDIR /src
COPY . .
RUN tools/setup build && make -j"$(nproc)" && make install DESTDIR=/out

FROM debian:bookworm-slim
RUN apt-get update -qq \
    && DEBIAN_FRONTEND=noninteractive apt-get install -qq -y --no-install-recommends \
        libblis4-openmp libyaml-0-2 libjansson4 libpcre2-8-0 libutf8proc2 libminizip1 zlib1g libgomp1 \
    && rm -rf /var/lib/apt/lists/*
COPY --from=build /out/ /
WORKDIR /data
ENTRYPOINT ["sedge"]
