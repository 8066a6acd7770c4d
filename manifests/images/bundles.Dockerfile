# The store as an image: bundles, their signatures, the models' names and the feature registry, as `vedette train` left them in .vedette.
# An init container copies /store into the pod. Build context: the repository's root.
FROM busybox:1.37
COPY .vedette/bundles /store/bundles
COPY .vedette/signatures /store/signatures
COPY .vedette/models /store/models
COPY .vedette/feast /store/feast
USER 10001:10001
CMD ["cp", "-R", "/store/.", "/var/lib/vedette"]
