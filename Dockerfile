# Orrery in a container: the steps of scripts/run on Debian 12, then the program and the libraries it needs.
#
#     docker build -t orrery .
#     docker run -p 8081:8081 -p 8181:8181 orrery serve --database postgresql://… --listen 0.0.0.0
#
# compose.yaml brings up a whole account, and with it the etcd that the tests run, from Debian too.
FROM debian:12 AS build
WORKDIR /src
COPY scripts/lib.sh scripts/lib.sh
RUN bash -c '. scripts/lib.sh && packages_need "${build_packages[@]}"'
COPY . .
RUN bash -c '. scripts/lib.sh && build "$root/build" orrery -- --buildtype=release'

FROM debian:12-slim AS etcd
RUN apt-get update \
 && DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends etcd-server etcd-client \
 && rm -rf /var/lib/apt/lists/* \
 && install -d -o etcd -g etcd -m 700 /var/lib/etcd
USER etcd
VOLUME /var/lib/etcd
EXPOSE 2379

FROM debian:12-slim
RUN apt-get update \
 && DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends \
        ca-certificates libmicrohttpd12 libcjson1 libcurl3-gnutls libpq5 libgnutls30 libnettle8 \
        libpcre2-8-0 libstemmer0d libzstd1 \
 && rm -rf /var/lib/apt/lists/* \
 && useradd --system --create-home --home-dir /var/lib/orrery orrery
COPY --from=build /src/build/orrery /usr/local/bin/orrery
USER orrery
WORKDIR /var/lib/orrery
VOLUME /var/lib/orrery
EXPOSE 8081 8082 8083 8181 8182 8183
STOPSIGNAL SIGTERM
ENTRYPOINT ["orrery"]
