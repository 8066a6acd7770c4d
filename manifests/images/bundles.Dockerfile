# The store as an image: bundles, their signatures, the models' names and the feature registry, as `vedette train` left them in .vedette.
# An init container copies /store into the pod, as the user that owns it here: feature_store.yaml is its owner's alone, for it may hold a
# password. Build context: the repository's root.
FROM busybox:1.37
COPY --chown=10001:10001 .vedette/bundles /store/bundles
COPY --chown=10001:10001 .vedette/signatures /store/signatures
COPY --chown=10001:10001 .vedette/models /store/models
COPY --chown=10001:10001 .vedette/feast /store/feast
USER 10001:10001
CMD ["cp", "-R", "/store/.", "/var/lib/vedette"]
