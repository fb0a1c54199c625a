# docker build -t tandem . && docker run -e ADMIN_TOKEN="$(openssl rand -hex 16)" -p 8110:8110 -p 8111:8111 -v tandem:/data --stop-timeout 60 tandem
#
# Not built by .ci/run, which has no Docker: try it when you change it.

FROM golang:1.26 AS build
WORKDIR /src
COPY go.mod go.sum ./
RUN go mod download
COPY . .
ARG VERSION=dev COMMIT= BUILD_DATE=
RUN CGO_ENABLED=0 go build -trimpath -buildvcs=false -ldflags "-s -w -X main.version=${VERSION} -X main.commit=${COMMIT} -X main.buildDate=${BUILD_DATE}" -o /out/tandem ./cmd/tandem
# A volume takes the owner of the folder that it covers.
RUN install -d -m 0700 /out/data

# Certificates, time zones and a user (65532), and no shell.
FROM gcr.io/distroless/static-debian12:nonroot
COPY --from=build /out/tandem /usr/local/bin/tandem
COPY --from=build --chown=65532:65532 /out/data /data
# Loopback inside a container reaches nobody. With another address the gateway starts only
# where ADMIN_TOKEN is set, too.
ENV LISTEN_ADDRESS=0.0.0.0 DATA_DIR=/data LOG_FORMAT=json
USER 65532:65532
VOLUME /data
EXPOSE 8110 8111
ENTRYPOINT ["/usr/local/bin/tandem"]
CMD ["serve"]
