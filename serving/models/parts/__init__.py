"""Parts of bundle.json that have a file of their own. The whole is serving.models.manifest's."""
