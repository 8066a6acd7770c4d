"""The resources of vedette.dev/v1alpha1: their types, what makes them valid, and the CRDs made from both.

ApiError: a document is not the resource it should be; `problems` says where, what and the way out, one line each."""
