# The store as an image: bundles, their signatures, the models' names and the feature registry, as `vedette train` left them in .vedette.
# An init container copies /store into the pod, as the user that owns it here: feature_store.yaml is its owner's alone, for it may hold a
# password. Build context: the repository's root.
# By digest or from another registry: --build-arg BUSYBOX=REGISTRY/busybox@sha256:...
ARG BUSYBOX=busybox:1.37

FROM ${BUSYBOX}
COPY --chown=10001:10001 .vedette/bundles /store/bundles
COPY --chown=10001:10001 .vedette/signatures /store/signatures
COPY --chown=10001:10001 .vedette/models /store/models
COPY --chown=10001:10001 .vedette/feast /store/feast
USER 10001:10001
ARG BUSYBOX
ARG VERSION=0.1.0
ARG REVISION=unknown
LABEL org.opencontainers.image.title="Vedette bundles" \
      org.opencontainers.image.description="Models and their features' registry, which an init container copies into the pod" \
      org.opencontainers.image.version="$VERSION" \
      org.opencontainers.image.revision="$REVISION" \
      org.opencontainers.image.base.name="$BUSYBOX"
CMD ["cp", "-R", "/store/.", "/var/lib/vedette"]
