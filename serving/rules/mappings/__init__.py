"""Log sources and field names of public schemas, as data: one YAML file a source, in the form of `logsources` in a rules.yaml.

Each file says where its names come from (`schema`). Zeek, ECS, OCSF, web servers, Linux, AWS CloudTrail, Azure and Okta; Windows stands in
serving.rules.windows, because it is always known."""
