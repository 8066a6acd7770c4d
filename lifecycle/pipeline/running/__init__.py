"""Running the stages of a pipeline: one run at a time, commands in a group of their own, outputs taken only from stages that ended well."""
