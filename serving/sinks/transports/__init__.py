"""Adapters of `SinkTransport`: syslog over TCP and TLS, Splunk, Elasticsearch, webhooks."""
